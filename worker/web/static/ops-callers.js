// @ts-check
/** Callers: what each has open, running and waiting, its limits, and the dialog that changes them. */

import { ask } from "./api.js";
import { byId, el, show } from "./dom.js";
import { confirmFirst } from "./ops-confirm.js";
import { Watch } from "./poll.js";
import { duration } from "./words.js";

const SHOWN = 50;
/** @type {[string, string, string][]} a limit, its name, what it bounds */
const LIMITS = [
  ["max_open", "Open chats", "queued and running; a further question is refused"],
  ["max_running", "Running chats", "further ones wait"],
  ["per_minute", "Chats a minute", "a further question is refused"],
  ["weight", "Weight", "its share of the places while others wait"],
];

/** @type {Record<string, number | null>} */ let defaults = {};

const watch = new Watch(`/api/callers?limit=${SHOWN}`, { every: 5000, note: byId("callers-note"), take: (text) => {
  const { callers, total, ...rest } = JSON.parse(text);
  defaults = rest.defaults;
  show(byId("callers-rows"), ...callers.map(row));
  byId("callers-none").hidden = callers.length > 0;
  byId("callers-more").textContent = total > callers.length ? `${total - callers.length} more: \`llm-refresh callers list\` shows them.` : "";
} });

byId("callers-form").addEventListener("submit", async (/** @type {Event} */ event) => {
  event.preventDefault();
  const subject = byId("callers-subject").value;
  if (!subject) return;
  const { data } = await ask(`/api/callers?subject=${encodeURIComponent(subject)}`);
  edit(data.callers[0]);
});

/** @param {any} caller */
function row(caller) {
  return el("tr", {},
    el("th", { scope: "row", class: "key" }, caller.subject),
    el("td", { "data-label": "Open", class: "number" }, caller.open),
    el("td", { "data-label": "Running", class: "number" }, caller.running),
    el("td", { "data-label": "Longest wait", class: "number" }, caller.longest_wait_seconds == null ? "–" : duration(caller.longest_wait_seconds * 1000)),
    el("td", { "data-label": "Today", class: "number" }, caller.requests_today),
    el("td", {}, el("div", { class: "beside" }, limitWords(caller), el("button", { type: "button", class: "quiet small acts",
      "data-key": `limits-${caller.subject}`, "aria-label": `Change the limits of ${caller.subject}`, onclick: () => edit(caller) }, "Limits…"))));
}

/** The limits that count for a caller, those of its own first. @param {any} caller */
function limitWords(caller) {
  const own = LIMITS.filter(([name]) => caller[name] != null), rest = LIMITS.filter(([name]) => caller[name] == null && defaults[name] != null && name !== "weight");
  const words = (/** @type {[string, string, string][]} */ limits, /** @type {Record<string, number | null>} */ from) =>
    limits.map(([name, label]) => `${label.toLowerCase()} ${Number(from[name]).toLocaleString("en")}`).join(" · ");
  return el("span", {}, own.length > 0 && el("strong", {}, words(own, caller)), own.length > 0 && rest.length > 0 && " · ", rest.length > 0 && el("small", {}, words(rest, defaults)));
}

/** @param {any} caller */
function edit(caller) {
  const fields = new Map(LIMITS.map(([name]) => [name, el("input", { id: `limit-${name}`, type: "number", autocomplete: "off",
    min: name === "weight" ? "0.001" : "1", step: name === "weight" ? "any" : "1", value: caller[name] ?? "", "aria-describedby": `limit-${name}-note` })]));
  const lines = LIMITS.map(([name, label, words]) => el("div", { class: "field" },
    el("label", { for: `limit-${name}` }, label), fields.get(name),
    el("small", { id: `limit-${name}-note` }, `${words}. Empty: ${defaults[name] == null ? "no limit" : defaults[name]}`)));
  confirmFirst({
    heading: `Limits of ${caller.subject}`,
    effects: [el("div", { class: "grid" }, ...lines), "They hold from the next question on. What is open stays open."],
    button: "Save",
    run: async () => {
      /** @type {Record<string, number | null>} */ const body = {};
      for (const [name, field] of fields) {
        if (!field.reportValidity()) throw new Error("A number is not one that this limit takes.");
        body[name] = field.value === "" ? null : Number(field.value);
      }
      await ask(`/api/callers/${encodeURIComponent(caller.subject)}`, { method: "PATCH", body });
      watch.now();
    },
  });
}
