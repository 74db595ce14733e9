// @ts-check
/** The ledger, newest first: who changed what, from what, to what. */

import { ask } from "./api.js";
import { comparison, kindLabel } from "./changes.js";
import { byId, el, show } from "./dom.js";
import { brief, exact } from "./words.js";

const KEPT = 200, FIRST_SHOWN = 12, PAGE = 1000;

/** @type {any[]} newest first */ let changes = [];
/** @type {number | null} */ let cursor = null;
let shown = FIRST_SHOWN;

/** @param {number} since @param {number} limit */
async function page(since, limit) {
  return (await ask(`/api/llms/changes?since=${since}&limit=${limit}`)).data;
}

/** Where the last KEPT changes begin. The ledger is read from its oldest line, so its end is looked for by halving. */
async function begin() {
  let low = 0, high = KEPT;
  for (let next; (next = (await page(high, 1)).changes[0]); high *= 2) low = next.id;
  while (high - low > KEPT) {
    const middle = Math.floor((low + high) / 2), [next] = (await page(middle, 1)).changes;
    if (next) low = next.id;
    else high = middle;
  }
  let back = KEPT;
  while (low > back && (await page(low - back, KEPT)).changes.length < KEPT) back *= 2; // ids have gaps
  return Math.max(0, low - back);
}

/** Bring what is new, for a Watch: its text is another when something is. @returns {Promise<string>} */
export async function bringChanges() {
  cursor ??= await begin();
  for (;;) {
    const latest = await page(cursor, PAGE);
    changes = [...latest.changes.reverse(), ...changes].slice(0, KEPT);
    cursor = /** @type {number} */ (latest.next);
    if (latest.changes.length < PAGE) return String(cursor);
  }
}

export function showChanges() {
  show(byId("ledger-rows"), ...changes.slice(0, shown).map(row));
  byId("ledger-none").hidden = changes.length > 0;
  byId("ledger-more").hidden = changes.length <= shown;
}

/** @param {any} change */
function row(change) {
  return el("tr", {},
    el("td", {}, el("time", { datetime: change.at, title: exact(change.at) }, brief(change.at))),
    el("td", { "data-label": "Who" }, change.actor),
    el("td", {}, kindLabel(change.kind)),
    el("td", {}, el("code", {}, change.model_key)),
    el("td", {}, comparison(change)));
}

byId("ledger-more").addEventListener("click", () => { shown = KEPT; showChanges(); });
