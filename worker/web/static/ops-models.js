// @ts-check
/** The models, with where each of their capabilities is known from. */

import { nameOf, valueOf } from "./changes.js";
import { ApiError, ask } from "./api.js";
import { byId, el, show } from "./dom.js";
import { marks, providerName } from "./llm-model-select.js";
import { editModel } from "./ops-edit.js";
import { cause } from "./words.js";

const FOLDED = 30, NARROW = 700;

/** @type {any[]} */ let models = [];
let unfolded = false;
const more = byId("models-more"), filter = byId("models-filter"), states = byId("models-state"), answer = byId("models-answer");
/** @type {() => void} */ let edited = () => {};

/** @param {() => void} take called when a model was edited here */
export function onModelEdit(take) {
  edited = take;
}

/** @param {any[]} latest */
export function showModels(latest) {
  models = latest;
  draw();
}

function draw() {
  const wanted = filter.value.trim().toLowerCase();
  const state = states.value;
  const chosen = models.filter((model) => state === "all" || (state === "active") === model.is_active);
  const found = chosen.filter((model) =>
    `${model.model_name} ${model.model_key} ${model.provider} ${model.matcha_llm_id}`.toLowerCase().includes(wanted));
  show(byId("models-rows"), ...(unfolded ? found : found.slice(0, FOLDED)).map(row));
  more.hidden = unfolded || found.length <= FOLDED;
  more.textContent = `Show all ${found.length}`;
  byId("models-count").textContent = wanted ? `${found.length} of ${chosen.length}` : String(chosen.length);
}

/** @param {any} model */
function row(model) {
  const mark = marks(model.capabilities);
  return el("tr", {},
    el("th", { scope: "row" }, el("span", { dir: "auto" }, model.model_name), mark && ` ${mark}`,
      model.is_default && el("span", { class: "chip default" }, "default"),
      model.is_active === false && el("span", { class: "chip" }, "inactive"),
      model.why && whyInactive(model)),
    el("td", { class: "key" }, el("code", {}, model.model_key)),
    el("td", { "data-label": "Id", class: "number" }, model.matcha_llm_id),
    el("td", { "data-label": "Maker" }, providerName(model.provider)),
    el("td", {}, el("div", { class: "beside" }, capabilityCell(model), el("button", { type: "button", class: "quiet small acts", "data-key": `edit-${model.model_key}`,
      "aria-label": `Edit ${model.model_name}`, onclick: () => editModel(model, models) }, "Edit…"))));
}

/** Why a model is inactive, and the way to show one that was hidden. @param {any} model */
function whyInactive(model) {
  return el("div", { class: "why" }, model.why.text,
    model.why.reason === "hidden" && el("button", { type: "button", class: "small acts", "data-key": `show-${model.model_key}`,
      "aria-label": `Show ${model.model_name} again`, onclick: () => showAgain(model) }, "Show again"));
}

/** @param {any} model */
async function showAgain(model) {
  try {
    const { data } = await ask(`/api/llms/${encodeURIComponent(model.model_key)}`, { method: "PATCH", body: { is_active: null } });
    showAnswer(data.why ? `${model.model_name} stays inactive: ${data.why.text}.` : `${model.model_name} is active again.`);
  } catch (error) {
    showAnswer(error instanceof ApiError ? cause(error) : String(error));
  }
  edited();
}

/** @param {string} text */
export function showAnswer(text) {
  answer.textContent = text;
  answer.hidden = !text;
}

const ORDER = ["supports_vision", "supports_files", "supports_tools", "supports_reasoning", "supports_websearch",
  "supports_audio", "context_window", "max_output"];

/** @param {string} one @param {string} other */
function byOrder(one, other) {
  return ORDER.indexOf(one) - ORDER.indexOf(other);
}

/** Capabilities by the source that states them. @param {any} model */
function capabilityCell(model) {
  /** @type {Map<string, string[]>} */
  const bySource = new Map();
  for (const name of Object.keys(model.capabilities ?? {}).sort(byOrder)) {
    const value = model.capabilities[name];
    const note = model.provenance?.[name];
    const source = note ? [note.source, note.detail, note.date].filter(Boolean).join(", ") : "";
    const below = note?.below ? ` (below: ${valueOf(note.below.value)}, ${note.below.source})` : "";
    bySource.set(source, [...(bySource.get(source) ?? []), `${nameOf(name)} ${valueOf(value)}${below}`]);
  }
  for (const name of ["model_name", "model_key", "display_order"]) {
    const below = model.provenance?.[name]?.below;
    if (below) bySource.set("override", [...(bySource.get("override") ?? []), `${nameOf(name)} (below: ${valueOf(below.value)})`]);
  }
  if (!bySource.size) return el("small", {}, "nothing is known");
  return el("details", { open: innerWidth >= NARROW }, el("summary", {}, "What is known"), el("ul", { class: "known" }, ...[...bySource].map(([source, values]) =>
    el("li", {}, values.join(" · "), source && el("small", {}, ` from ${source}`)))));
}

more.addEventListener("click", () => { unfolded = true; draw(); });
filter.addEventListener("input", draw);
states.addEventListener("change", () => { showAnswer(""); draw(); });
