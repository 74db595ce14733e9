// @ts-check
/** A change of the ledger, or of a preview, as people read it. */

import { abilities, providerName } from "./llm-model-select.js";
import { el } from "./dom.js";

/**
 * @typedef {{kind: string, model_key: string | null, matcha_llm_id?: number, before: Record<string, any> | null,
 *   after: Record<string, any> | null}} Change
 */

/** @type {Record<string, string>} */
const NAMES = {
  model_name: "name", model_key: "key", provider: "maker", is_active: "active", is_default: "default",
  display_order: "order", matcha_llm_id: "id", upstream_name: "name upstream",
  supports_vision: "vision", supports_files: "files", supports_tools: "tools", supports_websearch: "web search",
  supports_reasoning: "reasoning", supports_audio: "audio", context_window: "context", max_output: "longest answer",
};
const INSIDE = ["capabilities", "overrides"];
const USED = "used_30_days"; // a count that stands beside a change
/** @type {Record<string, string>} */
const PREFIXES = { overrides: "override of ", provenance: "source of " };

/** What a column or a capability is called. @param {string} name */
export function nameOf(name) {
  return NAMES[name] ?? name.replaceAll("_", " ");
}

/** A value as people read it; what is absent is unknown, which is not "no". @param {unknown} value */
export function valueOf(value) {
  if (value === undefined || value === null) return "unknown";
  if (value === true) return "yes";
  if (value === false) return "no";
  if (typeof value === "number") return value.toLocaleString("en");
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** What differs: pairs of values by name. @param {Change} change @returns {{what: string, before: unknown, after: unknown}[]} */
export function differences(change) {
  const before = change.before ?? {}, after = change.after ?? {}, /** @type {any[]} */ differing = [];
  for (const name of new Set([...Object.keys(before), ...Object.keys(after)])) {
    if (name === "provenance" || name === USED) continue; // follows from the others; no change
    if (INSIDE.includes(name)) differing.push(...inside(name, before[name] ?? {}, after[name] ?? {}));
    else if (!same(before[name], after[name])) differing.push({ what: nameOf(name), before: before[name], after: after[name] });
  }
  // The source of a value is shown by itself only if the value stayed.
  return differing.length ? differing : inside("provenance", sources(before.provenance), sources(after.provenance));
}

/** @param {Record<string, {source?: string}>} [provenance] */
function sources(provenance = {}) {
  return Object.fromEntries(Object.entries(provenance).map(([name, note]) => [name, note?.source]));
}

/** @param {string} column @param {Record<string, any>} before @param {Record<string, any>} after */
function inside(column, before, after) {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  const prefix = PREFIXES[column] ?? "";
  return names
    .filter((name) => !same(before[name], after[name]))
    .map((name) => ({
      what: prefix + nameOf(name),
      before: before[name] ?? (prefix ? "none" : undefined),
      after: after[name] ?? (prefix ? "none" : undefined),
    }));
}

/** @param {unknown} one @param {unknown} other */
function same(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** A change's before and after, as an element. @param {Change} change */
export function comparison(change) {
  if (change.kind === "erased") return el("div", { class: "diff" }, erased(change.after ?? {}));
  if (change.before === null && change.after) return el("div", { class: "diff" }, newModel(change.after));
  const lines = differences(change), used = change.after?.[USED];
  return el("div", { class: "diff" }, ...lines.map(({ what, before, after }) =>
    el("div", {}, `${what}: `, el("del", {}, valueOf(before)), " → ", el("ins", {}, valueOf(after)))),
    used == null ? null : el("div", {}, `requests in 30 days: ${valueOf(used)}`));
}

/** @param {Record<string, any>} after */
function erased({ subject, chats, cancelled }) {
  const open = cancelled ? `, ${cancelled} of them cancelled first` : "";
  return `what ${chats} ${chats === 1 ? "chat" : "chats"} of ${subject} held${open}`;
}

/** @param {Record<string, any>} row */
function newModel(row) {
  const facts = [providerName(row.provider ?? "other"), ...abilities(row.capabilities)];
  return el("div", {}, "— → ", el("ins", {}, row.model_name ?? ""), `, ${facts.join(", ")}`);
}

/** The kind of a change, as a label. @param {string} kind */
export function kindLabel(kind) {
  return el("span", { class: `chip kind-${kind}` }, kind);
}
