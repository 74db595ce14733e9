// @ts-check
/** Who looks at the page, and what they may do: the API says which role a token has. */

import { ApiError, access, ask, currentToken } from "./api.js";
import { byId } from "./dom.js";

/** @type {Record<string, string>} */
const MAY = {
  service_role: "may do everything",
  operator: "reads and previews, changes nothing",
  authenticated: "is for asking questions: this page needs operator or service_role",
};

let role = "";

/** Whether the caller may change something. Until the API has said so, they may not. */
export function mayAct() {
  return role === "service_role";
}

/** Ask who is calling, now and after each change of the token. @param {() => void} changed called with every new role */
export function watchRole(changed) {
  const learn = async () => {
    /** @type {any} */ let me = null;
    try {
      me = (await ask("/api/me")).data;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 0 || error.status >= 500) return void setTimeout(learn, 5000);
    }
    role = me?.role ?? "";
    document.body.dataset.role = role;
    byId("who").textContent = !me ? "" : me.auth ? `${me.subject}: ${role}, ${MAY[role]}` : "Local mode: no token needed";
    byId("refresh").textContent = role === "operator" ? "Preview refresh…" : "Refresh now…";
    changed();
  };
  access.addEventListener("token", learn);
  access.addEventListener("unauthenticated", () => { if (role && !currentToken()) learn(); });
  learn();
}
