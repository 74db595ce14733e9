// @ts-check
/** A button that puts a text into the clipboard, exactly as it is. */

import { el } from "./dom.js";

const SAID_MS = 2000;

/** @param {string} text @param {string} label what it says it copies */
export function copyButton(text, label) {
  let timer = 0;
  const button = el("button", { type: "button", class: "small copy", onclick: async () => {
    button.textContent = (await copy(text)) ? "Copied" : "Not copied: select it";
    clearTimeout(timer);
    timer = window.setTimeout(() => { button.textContent = label; }, SAID_MS);
  } }, label);
  return button;
}

/** Whether it came into the clipboard. @param {string} text */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyByCommand(text); // over plain http from another machine there is no clipboard object
  }
}

/** @param {string} text */
function copyByCommand(text) {
  let done = false;
  const give = (/** @type {ClipboardEvent} */ event) => {
    event.clipboardData?.setData("text/plain", text);
    event.preventDefault();
    done = true;
  };
  document.addEventListener("copy", give);
  try {
    document.execCommand("copy");
  } finally {
    document.removeEventListener("copy", give);
  }
  return done;
}
