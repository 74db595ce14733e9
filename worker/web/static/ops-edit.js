// @ts-check
/** The dialog that edits a model: each field with what upstream says beside it, and the effect in words before it is saved. */

import { ask } from "./api.js";
import { nameOf, valueOf } from "./changes.js";
import { byId, el, show } from "./dom.js";
import { troubleWords } from "./ops-confirm.js";
import { plural } from "./words.js";

const dialog = byId("edit-dialog"), title = byId("edit-title"), form = byId("edit-form"), fields = byId("edit-fields");
const effects = byId("edit-effects"), trouble = byId("edit-trouble"), save = byId("edit-save"), close = byId("edit-close");

const FLAGS = ["supports_vision", "supports_files", "supports_tools", "supports_reasoning", "supports_websearch", "supports_audio"];
const NUMBERS = ["context_window", "max_output"];

/** @type {any} */ let model = null;
/** @type {any[]} */ let all = [];
/** @type {Map<string, number>} */ let used = new Map();
/** @type {(words: string) => void} */ let saved = () => {};
/** @type {Map<string, () => any>} the wanted override of each field; undefined: not what the field takes */ const wishes = new Map();

/** @param {(words: string) => void} take called when an edit was saved, with what became of it */
export function onSaved(take) {
  saved = take;
}

/** @param {any[]} usage rows of the last days: for what an edit takes away */
export function knowUsage(usage) {
  used = new Map(usage.map((row) => [row.model_key, row.request_count]));
}

/** Open the dialog. @param {any} chosen @param {any[]} models */
export function editModel(chosen, models) {
  model = chosen;
  all = models;
  wishes.clear();
  title.textContent = `Edit ${model.model_name}`;
  trouble.hidden = true;
  const own = model.overrides ?? {}, below = (/** @type {string} */ name, /** @type {any} */ now) => model.provenance?.[name]?.below?.value ?? now;
  const upstreamName = own.model_name === undefined ? model.model_name : below("model_name", "unknown");
  const ruleKey = own.model_key === undefined ? model.model_key : below("model_key", "unknown");
  show(fields,
    text("model_name", "Name", own.model_name, upstreamName, `MatchaAI says: ${upstreamName}`),
    text("model_key", "Key", own.model_key, ruleKey, `From its name: ${ruleKey}`),
    number("display_order", "Order", own.display_order, own.display_order === undefined ? `Now: ${model.display_order}` : "Empty: as the mapping says"),
    choice("is_active", "Shown", own.is_active, [["", "while MatchaAI lists it"], ["false", "never: hidden"]], listedWords()),
    choice("is_default", "Default", own.is_default, [["", "as the rule decides"], ["true", "this model"]], model.is_default ? "It is the default now" : `Now: ${defaultNow()?.model_key ?? "none"}`),
    el("h3", {}, "Capabilities"),
    ...FLAGS.map((name) => choice(name, capital(nameOf(name)), own.capabilities?.[name], [["", "as known"], ["true", "yes"], ["false", "no"]], knownWords(name))),
    ...NUMBERS.map((name) => number(name, `${capital(nameOf(name))}, tokens`, own.capabilities?.[name], knownWords(name))));
  showEffects();
  dialog.showModal();
  fields.querySelector("input")?.focus();
}

function defaultNow() {
  return all.find((each) => each.is_default);
}

function listedWords() {
  if (model.why?.reason === "hidden") return model.why.listed ? "MatchaAI lists it" : "MatchaAI does not list it";
  return model.is_active ? "Active now" : model.why?.text ?? "Inactive now";
}

/** What is known of a capability without an operator's word. @param {string} name */
function knownWords(name) {
  const note = model.provenance?.[name];
  if (note?.source === "override") return note.below ? `Otherwise: ${valueOf(note.below.value)} (${note.below.source})` : "Otherwise: unknown";
  return note ? `Known: ${valueOf(model.capabilities?.[name])} (${note.source})` : "Known: nothing";
}

/** @param {string} name @param {string} label @param {HTMLElement} field @param {string} beside */
function line(name, label, field, beside) {
  field.id = `edit-${name}`;
  field.setAttribute("aria-describedby", `edit-${name}-note`);
  field.addEventListener("input", showEffects);
  return el("div", { class: "field" }, el("label", { for: field.id }, label), field, el("small", { id: `edit-${name}-note` }, beside));
}

/** @param {string} name @param {string} label @param {any} value @param {string} otherwise @param {string} beside */
function text(name, label, value, otherwise, beside) {
  const field = el("input", { type: "text", autocomplete: "off", spellcheck: "false", placeholder: otherwise, value: value ?? "" });
  wishes.set(name, () => field.value.trim() || null);
  return line(name, label, field, `${beside}. Empty: that`);
}

/** @param {string} name @param {string} label @param {any} value @param {string} beside */
function number(name, label, value, beside) {
  const field = el("input", { type: "number", step: "1", value: value ?? "" });
  wishes.set(name, () => (field.validity.badInput || !field.validity.valid ? undefined : field.value === "" ? null : Number(field.value)));
  return line(name, label, field, beside);
}

/** @param {string} name @param {string} label @param {any} value @param {string[][]} options @param {string} beside */
function choice(name, label, value, options, beside) {
  const field = el("select", {}, ...options.map(([key, words]) => el("option", { value: key, selected: key === String(value ?? "") }, words)));
  wishes.set(name, () => (field.value === "" ? null : field.value === "true"));
  return line(name, label, field, beside);
}

/** What differs from the overrides that there are. Null where a field holds no value that it takes. */
function edit() {
  const own = model.overrides ?? {};
  /** @type {Record<string, any>} */ const body = {}, /** @type {Record<string, any>} */ capabilities = {};
  for (const [name, wish] of wishes) {
    const value = wish(), inside = FLAGS.includes(name) || NUMBERS.includes(name);
    if (value === undefined) return null;
    const now = (inside ? own.capabilities : own)?.[name] ?? null;
    const shown = name === "is_active" && value === null && now === true; // which means the same
    if (value === now || shown) continue;
    (inside ? capabilities : body)[name] = value;
  }
  return Object.keys(capabilities).length ? { ...body, capabilities } : body;
}

function showEffects() {
  const body = edit(), sentences = body === null ? ["A number is not one."] : effectsOf(body);
  show(effects, ...(sentences.length ? sentences : ["Nothing is changed yet."]).map((words) => el("li", {}, words)));
  save.disabled = !body || !Object.keys(body).length;
  save.classList.toggle("danger", body?.is_active === false || body?.model_key !== undefined);
  save.textContent = body?.is_active === false ? "Hide it" : "Save";
}

/** What an edit does, in words. @param {Record<string, any>} body */
function effectsOf(body) {
  const sentences = [], requests = used.get(model.model_key) ?? 0;
  const often = requests ? ` It was asked ${plural(requests, "time")} in the last 30 days.` : " It was not asked in the last 30 days.";
  if (body.model_name !== undefined) sentences.push(body.model_name === null ? "Its name follows MatchaAI again." : `Everybody sees the name ${body.model_name}.`);
  if (body.model_key !== undefined) sentences.push(`Its key changes. Callers who ask for ${model.model_key} get the default, with the reason retired_key.${often}`);
  if (body.display_order !== undefined) sentences.push("Its place in every list changes.");
  if (body.is_active === false) {
    sentences.push(`It leaves every list at once. Callers who ask for ${model.model_key} get the default, with the reason inactive_key.${often}`);
    if (model.is_default) sentences.push("It is the default: another model becomes the default.");
  } else if (body.is_active !== undefined) {
    sentences.push("It is shown while MatchaAI lists it.");
  }
  if (body.is_default) sentences.push(`Questions without a model, and those whose model is gone, go to ${model.model_key}${defaultNow() && !model.is_default ? ` in place of ${defaultNow().model_key}` : ", whatever a sync would choose"}.`);
  else if (body.is_default === null) sentences.push("The rule decides about the default again.");
  for (const [name, value] of Object.entries(body.capabilities ?? {})) {
    sentences.push(value === null ? `${capital(nameOf(name))}: what is known counts again.` : `${capital(nameOf(name))}: ${valueOf(value)}, whatever MatchaAI and the public data say.`);
  }
  return sentences;
}

form.addEventListener("submit", async (/** @type {Event} */ event) => {
  event.preventDefault();
  const body = edit();
  if (!body || !Object.keys(body).length) return;
  save.disabled = true;
  try {
    const { data } = await ask(`/api/llms/${encodeURIComponent(model.model_key)}`, { method: "PATCH", body });
    dialog.close();
    saved(data.why ? `${data.model_name} is inactive: ${data.why.text}.` : `${data.model_name} is saved. The ledger has the line, with a way back.`);
  } catch (error) {
    trouble.textContent = troubleWords(error);
    trouble.hidden = false;
    save.disabled = false;
  }
});
close.addEventListener("click", () => dialog.close());

/** @param {string} words */
function capital(words) {
  return words.charAt(0).toUpperCase() + words.slice(1);
}
