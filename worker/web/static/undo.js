// @ts-check
/** What takes a line of the ledger back: an edit of its model, or why there is none. Pure. */

import { nameOf, valueOf } from "./changes.js";

const FIELDS = ["model_name", "model_key", "display_order", "is_active", "is_default"];
/** @type {Record<string, string>} */
const WHY_NOT = {
  repointed: "The list of MatchaAI says that this id means another model: an edit here does not change that. Hide the model if nobody shall ask it.",
  moved: "The model has another id upstream now, and its key has followed it: there is nothing to put back.",
  erased: "What was erased is gone: nobody can put it back.",
  deactivated: "MatchaAI no longer lists this model. It comes back by itself, with its key, when it is listed again.",
};

/**
 * @param {any} change a line @param {any[]} models all models
 * @returns {{key: string, name: string, body: Record<string, any>, effects: string[]} | {why: string}}
 */
export function undo(change, models) {
  if (change.kind !== "operator" && WHY_NOT[change.kind]) return { why: WHY_NOT[change.kind] };
  const model = models.find((each) => each.matcha_llm_id === change.matcha_llm_id);
  if (!model) return { why: "This model is not in the catalogue any more." };
  const body = change.kind === "operator" ? ofOverrides(change) : ofSync(change);
  if (!Object.keys(body).length) return { why: "An operator's edit has nothing to put back here: only values that follow from others have changed." };
  if (body.is_default === true && !model.is_active) return { why: "The model is inactive, and the default must be active. Show it first." };
  const effects = Object.entries(body).flatMap(([name, value]) =>
    name === "capabilities" ? Object.entries(value).map(([inner, one]) => effect(inner, one)) : [effect(name, value)]);
  if (stillAsWritten(change, model) === false) effects.push("It was changed again since this line: that later value is replaced.");
  return { key: model.model_key, name: model.model_name, body, effects };
}

/** The overrides as they were before an operator's edit. @param {any} change */
function ofOverrides(change) {
  const before = change.before?.overrides ?? {}, after = change.after?.overrides ?? {};
  /** @type {Record<string, any>} */ const body = {};
  for (const name of FIELDS) if (!same(before[name], after[name])) body[name] = before[name] ?? null;
  const old = before.capabilities ?? {}, latest = after.capabilities ?? {};
  const names = [...new Set([...Object.keys(old), ...Object.keys(latest)])].filter((name) => !same(old[name], latest[name]));
  if (names.length) body.capabilities = Object.fromEntries(names.map((name) => [name, old[name] ?? null]));
  return body;
}

/** What keeps a value that a sync has replaced: an override. @param {any} change */
function ofSync(change) {
  const before = change.before ?? {}, after = change.after ?? {};
  /** @type {Record<string, any>} */ const body = {};
  if (change.kind === "added" || change.kind === "reactivated") return { is_active: false };
  if (change.kind === "default") return before.is_default ? { is_default: true } : {};
  if (before.model_name !== undefined && before.model_name !== after.model_name) body.model_name = before.model_name;
  if (before.model_key !== undefined && before.model_key !== after.model_key) body.model_key = before.model_key;
  const old = before.capabilities ?? {}, latest = after.capabilities ?? {};
  const names = Object.keys(old).filter((name) => old[name] !== null && !same(old[name], latest[name]));
  if (change.kind === "capability" && names.length) body.capabilities = Object.fromEntries(names.map((name) => [name, old[name]]));
  return body;
}

/** @param {string} name @param {any} value */
function effect(name, value) {
  if (name === "is_active") return value === false ? "It is hidden: callers who ask for it get the default, with the reason inactive_key." : "It is shown while MatchaAI lists it.";
  if (name === "is_default") return value ? "It becomes the default." : "Nobody's choice of a default holds for it any more: the rule decides.";
  if (value === null) return `Its ${nameOf(name)} is again what MatchaAI and the public data say.`;
  return `Its ${nameOf(name)} is ${valueOf(value)}, whatever MatchaAI says.`;
}

/** Whether what the line wrote still stands; null where that cannot be seen. @param {any} change @param {any} model */
function stillAsWritten(change, model) {
  if (change.kind !== "operator") return null;
  return same(sorted(change.after?.overrides ?? model.overrides), sorted(model.overrides));
}

/** @param {any} value @returns {any} */
function sorted(value) {
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.keys(value).sort().map((name) => [name, sorted(value[name])]));
}

/** @param {unknown} one @param {unknown} other */
function same(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}
