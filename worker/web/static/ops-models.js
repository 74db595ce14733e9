// @ts-check
/** The models, with where each of their capabilities is known from. */

import { nameOf, valueOf } from "./changes.js";
import { byId, el, show } from "./dom.js";
import { marks, providerName } from "./llm-model-select.js";

/** @type {any[]} */ let models = [];
const filter = byId("models-filter");

/** @param {any[]} latest */
export function showModels(latest) {
  models = latest;
  draw();
}

function draw() {
  const wanted = filter.value.trim().toLowerCase();
  const found = models.filter((model) =>
    `${model.model_name} ${model.model_key} ${model.provider} ${model.matcha_llm_id}`.toLowerCase().includes(wanted));
  show(byId("models-rows"), ...found.map(row));
  byId("models-count").textContent = wanted ? `${found.length} of ${models.length}` : String(models.length);
}

/** @param {any} model */
function row(model) {
  const mark = marks(model.capabilities);
  return el("tr", {},
    el("th", { scope: "row" }, el("span", { dir: "auto" }, model.model_name), mark && ` ${mark}`,
      model.is_default && el("span", { class: "chip default" }, "default"),
      model.is_active === false && el("span", { class: "chip" }, "inactive")),
    el("td", {}, el("code", {}, model.model_key)),
    el("td", { "data-label": "Id", class: "number" }, model.matcha_llm_id),
    el("td", { "data-label": "Maker" }, providerName(model.provider)),
    el("td", {}, known(model)));
}

const ORDER = ["supports_vision", "supports_files", "supports_tools", "supports_reasoning", "supports_websearch",
  "supports_audio", "context_window", "max_output"];

/** @param {string} one @param {string} other */
function byOrder(one, other) {
  return ORDER.indexOf(one) - ORDER.indexOf(other);
}

/** Capabilities by the source that states them. @param {any} model */
function known(model) {
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
  return el("ul", { class: "known" }, ...[...bySource].map(([source, said]) =>
    el("li", {}, said.join(" · "), source && el("small", {}, ` from ${source}`))));
}

filter.addEventListener("input", draw);
