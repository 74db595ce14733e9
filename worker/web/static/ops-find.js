// @ts-check
/** Chats: found by id, status, model, caller and time; each opens without its content, which has to be asked for. */

import { ApiError, ask, open as request } from "./api.js";
import { byId, el, show } from "./dom.js";
import { confirmFirst, troubleWords } from "./ops-confirm.js";
import { Watch } from "./poll.js";
import { brief, cause, duration, exact, fallbackReason } from "./words.js";

const PAGE = 10, EVERY_MS = 5000;
const form = byId("find-form"), more = byId("chats-more"), note = byId("chats-note");
const inputs = { id: byId("find-id"), status: byId("find-status"), model: byId("find-model"), caller: byId("find-caller"), since: byId("find-since"), until: byId("find-until") };
const OPEN = new Set(["queued", "running"]);

/** @type {any[]} newest first */ let chats = [];
/** @type {any[]} older ones, brought on request */ let older = [];
/** @type {Set<string>} */ const opened = new Set();
/** @type {Map<string, any>} content that was asked for here */ const contents = new Map();
/** @type {Map<string, string>} why chats failed, as operators read it */ const causes = new Map();
let query = "", id = "";

const watch = new Watch(bring, { every: EVERY_MS, note, take: (text) => { chats = JSON.parse(text).chats; draw(); } });

/** The chats that are looked for, as text. */
async function bring() {
  if (!id) return (await request(`/api/chats?limit=${PAGE}${query}`)).text();
  try {
    const found = (await ask(`/api/chats/${encodeURIComponent(id)}?content=false`)).data;
    opened.add(found.id);
    return JSON.stringify({ chats: [found] });
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return JSON.stringify({ chats: [] });
    throw error;
  }
}

/** Take what the form holds. */
function search() {
  id = inputs.id.value.trim();
  const parameters = new URLSearchParams();
  for (const name of /** @type {const} */ (["status", "model", "caller"])) if (inputs[name].value.trim()) parameters.set(name, inputs[name].value.trim());
  for (const name of /** @type {const} */ (["since", "until"])) if (inputs[name].value) parameters.set(name, new Date(inputs[name].value).toISOString());
  query = parameters.size ? `&${parameters}` : "";
  chats = [];
  older = [];
  byId("chats-none").textContent = id || query ? "No chat fits. Those that ended are kept for some time only." : "No chat yet.";
  watch.now();
}

function draw() {
  const shown = [...chats, ...older.filter((chat) => !chats.some((each) => each.id === chat.id))];
  show(byId("chats-rows"), ...shown.flatMap((chat) => (opened.has(chat.id) ? [row(chat), details(chat)] : [row(chat)])));
  byId("chats-none").hidden = shown.length > 0;
  more.hidden = Boolean(id) || shown.length < PAGE || shown.length % PAGE !== 0;
}

/** @param {any} chat */
function row(chat) {
  const isOpen = opened.has(chat.id);
  return el("tr", {},
    el("td", {}, el("button", { type: "button", class: "quiet small toggle", "aria-expanded": String(isOpen), "data-key": `chat-${chat.id}`,
      "aria-label": `Chat of ${exact(chat.created_at)}`, title: exact(chat.created_at),
      onclick: () => { if (!opened.delete(chat.id)) opened.add(chat.id); draw(); } }, brief(chat.created_at))),
    el("td", {}, el("span", { class: `chip chat-${chat.status}` }, chat.status)),
    el("td", { class: "key" }, el("code", {}, chat.model?.key), chat.model?.fallback ? el("small", {}, ` for ${chat.model.requested ?? "the default"}`) : null),
    el("td", { "data-label": "Caller", class: "key" }, chat.caller ?? ""),
    el("td", { class: "key" }, chat.error?.code ?? (chat.waiting_for === "upstream" ? "waits for MatchaAI" : "")),
    el("td", { "data-label": "Took", class: "number" }, chat.timings?.total_ms == null ? "–" : duration(chat.timings.total_ms)));
}

/** @param {any} chat */
function details(chat) {
  const place = el("div", {}), chatContent = contents.get(chat.id);
  if (chatContent) show(place, content(chatContent));
  const facts = [
    ["Chat", el("code", {}, chat.id)],
    ["Caller", chat.caller],
    ["Asked for", chat.model.requested ?? "no model: the default"],
    [chat.status === "succeeded" ? "Answered by" : "Model", `${chat.model.name} (ID ${chat.model.matcha_llm_id})`],
    ["Instead, because", chat.model.fallback ? fallbackReason(chat.model) : null],
    ["Accepted", exact(chat.created_at)],
    ["Ended", chat.finished_at && exact(chat.finished_at)],
    ["Attempts", chat.attempts],
    ["Waited", chat.timings.queued_ms == null ? null : duration(chat.timings.queued_ms)],
    ["MatchaAI took", chat.timings.upstream_ms == null ? null : duration(chat.timings.upstream_ms)],
    ["Waits for", chat.waiting_for && `${chat.waiting_for}${chat.waiting_since ? `, since ${exact(chat.waiting_since)}` : ""}`],
    ["Last failure", chat.last_failure && `${chat.last_failure.code}, ${exact(chat.last_failure.at)}`],
    ["Content erased", chat.erased_at && exact(chat.erased_at)],
    ["Request", chat.request_id && el("code", {}, chat.request_id)],
  ];
  return el("tr", { class: "details" }, el("td", { colspan: 6 },
    chat.error && el("p", { class: "note bad" }, `${chat.error.code}: ${cause(chat.error)} `, el("small", {}, chat.error.detail)),
    (chat.error || chat.last_failure) && causeOf(chat),
    el("dl", {}, ...facts.filter(([, value]) => value || value === 0).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
    el("div", { class: "row acts" },
      !chatContent && !chat.erased_at && el("button", { type: "button", class: "small", "data-key": `content-${chat.id}`, onclick: () => readContent(chat) }, "Show question and answer…"),
      OPEN.has(chat.status) && el("button", { type: "button", class: "small", "data-key": `cancel-${chat.id}`, onclick: () => cancel(chat) }, "Cancel this chat…")),
    place));
}

/** Why it failed, in the words for operators: asked for once. @param {any} chat */
function causeOf(chat) {
  const key = `${chat.id} ${chat.finished_at ?? chat.last_failure?.at}`;
  const place = el("p", { class: "note" }, el("small", {}, causes.get(key) ?? "The cause is being asked for…"));
  if (!causes.has(key)) {
    ask(`/api/chats/${chat.id}?content=false&cause=true`).then(({ data }) => {
      causes.set(key, data.cause ? `Cause: ${data.cause}` : "No more is known of the cause.");
      show(place, el("small", {}, causes.get(key)));
    }).catch((error) => show(place, el("small", {}, `The cause cannot be read: ${troubleWords(error)}`)));
  }
  return place;
}

/** @param {any} chat */
function readContent(chat) {
  confirmFirst({
    heading: "Read this chat",
    effects: [`It is ${chat.caller ? `${chat.caller}'s` : "somebody's"}. What was asked and answered is shown here until the page is closed.`,
      "That you read another's chat is written into the log, with your name, theirs and the chat's id."],
    button: "Read it",
    run: async () => {
      contents.set(chat.id, (await ask(`/api/chats/${chat.id}?content=true`)).data);
      draw();
    },
  });
}

/** @param {any} chat */
function cancel(chat) {
  confirmFirst({
    heading: "Cancel this chat",
    effects: [`The caller ${chat.caller ?? ""} gets no answer: the chat ends at once as cancelled.`, "The question stays, and may be asked again."],
    button: "Cancel the chat",
    danger: true,
    run: async () => { await ask(`/api/chats/${chat.id}`, { method: "DELETE" }); watch.now(); },
  });
}

/** @param {any} chat */
function content(chat) {
  const parts = [["System prompt", chat.systemPrompt], ...(chat.history ?? []).map((/** @type {any} */ turn) => [turn.role === "user" ? "Earlier question" : "Earlier answer", turn.content]),
    ["Question", chat.question], ["Answer", chat.answer]];
  return el("div", { class: "content" }, ...parts.filter(([, text]) => text).flatMap(([name, text]) =>
    [el("h3", {}, name), el("p", { class: "said", dir: "auto" }, text)]));
}

form.addEventListener("submit", (/** @type {Event} */ event) => { event.preventDefault(); search(); });
form.addEventListener("reset", () => setTimeout(() => { opened.clear(); search(); }));
more.addEventListener("click", async () => {
  const last = [...chats, ...older].at(-1);
  try {
    older = [...older, ...(await ask(`/api/chats?limit=${PAGE}${query}&before=${last.id}`)).data.chats];
    draw();
  } catch (error) {
    note.textContent = troubleWords(error);
    note.hidden = false;
  }
});
