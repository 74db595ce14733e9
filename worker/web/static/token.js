// @ts-check
/** The field for a token: shown when the API asks for one. */

import { access, currentToken, useToken } from "./api.js";
import { byId } from "./dom.js";

/** Wire up the page's token form. */
export function offerToken() {
  const form = byId("token-form"), field = byId("token"), note = byId("token-note"), forget = byId("token-forget");
  const showForget = () => { forget.hidden = !currentToken(); };

  access.addEventListener("unauthenticated", (event) => {
    const detail = /** @type {CustomEvent} */ (event).detail;
    // A token that was sent and refused: say why. None was sent: the field says enough.
    note.textContent = currentToken() && detail ? `Refused: ${detail}.` : "";
    if (!form.hidden) return;
    form.hidden = false;
    if (document.activeElement === document.body) field.focus();
  });
  form.addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    const token = field.value.trim().replace(/^Bearer\s+/i, "");
    if (!token) return;
    field.value = "";
    form.hidden = true;
    useToken(token);
  });
  forget.addEventListener("click", () => { useToken(null); location.reload(); });
  access.addEventListener("token", showForget);
  showForget();
}
