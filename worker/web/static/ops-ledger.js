// @ts-check
/** The ledger, newest first: who changed what, from what, to what. */

import { ask } from "./api.js";
import { comparison, kindLabel } from "./changes.js";
import { byId, el, show } from "./dom.js";
import { confirmFirst, explainOnly } from "./ops-confirm.js";
import { askAll } from "./poll.js";
import { undo } from "./undo.js";
import { brief, exact } from "./words.js";

const KEPT = 200, FIRST_SHOWN = 12, PAGE = 1000;

/** @type {any[]} newest first */ let changes = [];
/** @type {number | null} */ let cursor = null;
let shown = FIRST_SHOWN;
/** @type {any[]} all models, for putting back */ let models = [];

/** The newest changes, newest first. */
export function newestChanges() {
  return changes;
}

/** @param {any[]} latest */
export function knowModels(latest) {
  models = latest;
}

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
    el("td", { class: "key" }, el("code", {}, change.model_key ?? "—")),
    el("td", {}, el("div", { class: "beside" }, comparison(change), el("button", { type: "button", class: "quiet small acts", "data-key": `undo-${change.id}`,
      "aria-label": `Put back: ${change.kind} of ${change.model_key ?? "chats"}`, onclick: () => putBack(change) }, "Put back…"))));
}

/** Ask, and then edit the model so that it is as before; or say why that cannot be. @param {any} change */
function putBack(change) {
  const found = undo(change, models);
  if ("why" in found) return explainOnly(found.why);
  confirmFirst({
    heading: `Put back: ${found.name}`,
    effects: [...found.effects, "It becomes a line of the ledger, and can be put back as well."],
    button: "Put back",
    danger: found.body.is_active === false || found.body.model_key !== undefined,
    run: async () => {
      await ask(`/api/llms/${encodeURIComponent(found.key)}`, { method: "PATCH", body: found.body });
      askAll();
    },
  });
}

byId("ledger-more").addEventListener("click", () => { shown = KEPT; showChanges(); });
