// @ts-check
/** A question before something is changed: what happens then, in words, and Cancel first. */

import { ApiError } from "./api.js";
import { byId, show } from "./dom.js";
import { cause, sentence } from "./words.js";

const dialog = byId("confirm-dialog"), title = byId("confirm-title"), body = byId("confirm-body");
const yes = byId("confirm-yes"), no = byId("confirm-no"), trouble = byId("confirm-trouble");

/** @type {(() => Promise<void>) | null} */ let action = null;

/**
 * Ask before `run`. The dialog stays open with the reason when it fails.
 * @param {{heading: string, effects: (string | Node)[], button: string, danger?: boolean, run: () => Promise<void>}} question
 */
export function confirmFirst({ heading, effects, button, danger = false, run }) {
  title.textContent = heading;
  show(body, ...effects.map((effect) => {
    if (typeof effect !== "string") return effect;
    const line = document.createElement("p");
    line.textContent = effect;
    return line;
  }));
  trouble.hidden = true;
  yes.textContent = button;
  yes.disabled = false;
  yes.hidden = false;
  no.textContent = "Cancel";
  yes.classList.toggle("danger", danger);
  action = run;
  dialog.showModal();
  no.focus(); // the key that opened the dialog changes nothing when it is pressed once more
}

/** Say why there is nothing to confirm. @param {string} why */
export function explainOnly(why) {
  confirmFirst({ heading: "This cannot be put back here", effects: [why], button: "", run: async () => {} });
  yes.hidden = true;
  no.textContent = "Close";
}

/** What was wrong, for people. @param {unknown} error */
export function troubleWords(error) {
  if (!(error instanceof ApiError)) return String(error);
  return error.status === 409 || error.status === 422 ? sentence(error.detail) : cause(error);
}

yes.addEventListener("click", async () => {
  if (!action) return;
  yes.disabled = true;
  try {
    await action();
    dialog.close();
  } catch (error) {
    trouble.textContent = troubleWords(error);
    trouble.hidden = false;
    yes.disabled = false;
    no.focus();
  }
});
no.addEventListener("click", () => dialog.close());
