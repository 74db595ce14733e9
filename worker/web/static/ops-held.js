// @ts-check
/** Held lists: what they would take away, in words and by name, and the two ways to decide. */

import { ApiError, ask } from "./api.js";
import { el, show } from "./dom.js";
import { askAll } from "./poll.js";
import { cause, exact, plural } from "./words.js";

/**
 * @typedef {{matcha_llm_id: number, model_key: string, name: string, kind: string, becomes?: string | null,
 *   requests: number | null, callers: number | null}} HeldModel
 * @typedef {{absent: number, active: number, repointed: number, sha256: string, models?: HeldModel[]}} Held
 */

const NAMED = 5;
/** @type {(run: any) => void} */ let applyAnyway = () => {};

/** @param {(run: any) => void} apply called when someone wants a held list applied */
export function onApplyAnyway(apply) {
  applyAnyway = apply;
}

/** What is wrong with a list, as a clause. @param {Held} held */
function lossWords({ absent, active, repointed }) {
  const taken = [absent && `${absent} of ${plural(active, "active model")} ${absent === 1 ? "is" : "are"} missing from it`,
    repointed && `${plural(repointed, "id")} would mean another model`].filter(Boolean);
  return taken.join(", ") || "it is empty";
}

/** @param {Held} held */
export function heldWords(held) {
  return `The list was held: ${lossWords(held)}. Nothing was changed.`;
}

/** The same before a refresh. @param {Held} held */
export function wouldBeHeldWords(held) {
  return `This list would be held: ${lossWords(held)}.`;
}

/** How much a model was used; a count that took too long is not known. @param {HeldModel} model */
function usedBy({ requests, callers }) {
  const by = callers === null ? "an unknown number of callers" : plural(callers, "caller");
  return requests === null ? "use not counted" : `${plural(requests, "request")} by ${by}`;
}

/** Who would miss the models, the most used by name. @param {Held} held */
function useWords({ models = [] }) {
  const used = models.filter((model) => model.requests);
  if (!models.length) return "";
  if (models.some((model) => model.requests === null)) return "Their use could not be counted.";
  if (!used.length) return "None of them was asked in the last 30 days.";
  const named = used.slice(0, NAMED)
    .map((model) => `${model.model_key} (${usedBy(model)})`);
  if (used.length > NAMED) named.push(`${used.length - NAMED} more`);
  return `Asked in the last 30 days: ${named.join(", ")}.`;
}

/**
 * What applying a list by force does, as a preview tells it.
 * @param {Record<string, number>} counts @param {any[]} changes @param {Held | null} held
 */
export function effectWords(counts, changes, held) {
  const gone = counts.deactivated ?? 0, stay = (counts.unchanged ?? 0) + (counts.updated ?? 0) + (counts.added ?? 0) + (counts.reactivated ?? 0);
  const said = [gone ? `Applying it makes ${plural(gone, "model")} inactive at once.` : "Applying it makes no model inactive."];
  if (!stay) said.push("No model is left then: every chat fails until a refresh brings one back.");
  const next = changes.find((change) => change.kind === "default" && change.after?.is_default);
  if (next) said.push(`The default is ${next.model_key} then.`);
  if (held) said.push(useWords(held));
  return said.filter(Boolean).join(" ");
}

/** The models that would go, folded. @param {Held} held */
export function heldModels({ models = [], absent, repointed }) {
  if (!models.length) return null;
  const all = absent + repointed;
  return el("details", { class: "held-models" },
    el("summary", {}, models.length < all ? `The ${models.length} most used of these ${all} models` : plural(all, "model that would go", "models that would go")),
    el("ul", { class: "changes" }, ...models.map((model) => el("li", {},
      el("code", {}, model.model_key), ` ${model.name} (ID ${model.matcha_llm_id}), `,
      model.becomes ? `becomes ${model.becomes}` : model.kind,
      el("small", {}, ` ${usedBy(model)}`)))));
}

/** What was held, and, while it waits for a decision, the ways to decide. @param {any} run @param {boolean} waits */
export function heldNote(run, waits) {
  const before = run.dismissed_before, trouble = el("p", { role: "alert" });
  return el("div", { class: `note ${waits ? "warn" : ""}` },
    el("p", {}, `${heldWords(run.held)} ${useWords(run.held)}`),
    before && el("p", {}, `This very list was dismissed before, by ${before.by} on ${exact(before.at)}.`),
    run.dismissed && el("p", {}, `Dismissed by ${run.dismissed.by} on ${exact(run.dismissed.at)}.`),
    heldModels(run.held),
    waits && el("div", { class: "row acts" },
      el("button", { type: "button", class: "small", "data-key": `apply-${run.id}`, onclick: () => applyAnyway(run) }, "Apply anyway…"),
      el("button", { type: "button", class: "small", "data-key": `dismiss-${run.id}`, onclick: () => dismiss(run, trouble) }, "Dismiss"),
      el("small", {}, "Dismiss: nothing changes, and the same list is held again if it comes again.")),
    waits && trouble);
}

/** @param {any} run @param {HTMLElement} trouble */
async function dismiss(run, trouble) {
  try {
    await ask(`/api/llms/runs/${run.id}/dismiss`, { method: "POST" });
  } catch (error) {
    show(trouble, error instanceof ApiError ? cause(error) : String(error));
  } finally {
    askAll();
  }
}
