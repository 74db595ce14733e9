// @ts-check
/** The page `/`: choose a model, ask, watch. What is under way survives a reload: its id stands in the tab's storage. */

import { ApiError, access, ask, currentToken, pause, store, stored } from "./api.js";
import { byId } from "./dom.js";
import { ENDED, follow } from "./events.js";
import "./llm-model-select.js";
import { offerToken } from "./token.js";
import { brief, cause, duration, fallbackReason, sentence } from "./words.js";

const PLACE = "llm-refresh.chat";
const POST_TRIES = 5;
const SHOWN_CHARS = 300; // of the question, above its answer

/**
 * A question of this tab. `key` is its Idempotency-Key: sent again after a lost answer or a reload, it is the same chat.
 * @typedef {{key: string, body: {question: string, model?: string}, askedAt: number, id?: string}} Asked
 */

const form = byId("ask"), question = byId("question"), send = byId("send"), cancel = byId("cancel"), again = byId("again");
const result = byId("result"), state = byId("state"), clock = byId("clock"), notice = byId("notice"), answer = byId("answer");
const trouble = byId("trouble"), asked = byId("asked"), model = byId("model"), facts = byId("facts");

/** @type {Asked | null} */ let current = null;
/** @type {any} */ let latest = null;
/** @type {AbortController | null} */ let watching = null;
/** @type {AbortController | null} for a token */ let waiting = null;
let cancelling = false, ticking = 0;

function say(/** @type {string} */ text) {
  if (state.textContent !== text) state.textContent = text; // a repeated text would be read out again
}

function keep(/** @type {Asked | null} */ chat) {
  current = chat;
  store(PLACE, chat && JSON.stringify(chat));
}

function submit() {
  const text = question.value;
  if (!text.trim()) return question.focus();
  begin({ key: newKey(), body: { question: text, ...(model.value ? { model: model.value } : {}) }, askedAt: Date.now() });
}

function begin(/** @type {Asked} */ chat) {
  keep(chat);
  run(chat);
}

/** From a question, asked now or before a reload, to its end. */
async function run(/** @type {Asked} */ chat) {
  watching?.abort();
  const signal = (watching = new AbortController()).signal;
  latest = waiting = null;
  cancelling = false;
  showBegun(chat);
  try {
    if (!chat.id) {
      const accepted = await post(chat, signal);
      if (signal.aborted) return;
      keep((chat = { ...chat, id: accepted.id }));
      showChat(accepted);
      if (cancelling) await askToCancel(accepted.id);
    }
    await follow(/** @type {string} */ (chat.id), {
      signal,
      snapshot: showChat,
      connected: (yes) => say(yes ? stateOf(latest) : "Connection lost, connecting again…"),
    });
  } catch (error) {
    if (signal.aborted) return;
    if (error instanceof ApiError && error.status === 401) return waitForToken();
    if (error instanceof ApiError && error.status === 404) keep(null); // nothing to come back to
    showTrouble(error instanceof ApiError ? error : { code: "", detail: String(error) });
  }
  ended();
}

/** Send the question; after a lost answer again, with the same key. */
async function post(/** @type {Asked} */ chat, /** @type {AbortSignal} */ signal) {
  const headers = { "Idempotency-Key": chat.key, Prefer: "respond-async, wait=0" };
  for (let tries = 1; ; tries++) {
    try {
      return (await ask("/api/chasen/chat", { method: "POST", body: chat.body, headers, signal, timeout: 15000 })).data;
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 0 || signal.aborted || tries === POST_TRIES) throw error;
      say("Connection lost, sending again…");
      await pause(500 * 2 ** tries, signal);
    }
  }
}

async function askToCancel(/** @type {string} */ id) {
  try {
    const { data } = await ask(`/api/chats/${encodeURIComponent(id)}`, { method: "DELETE" });
    if (data?.status) showChat(data);
  } catch (error) {
    cancelling = false;
    if (!(error instanceof ApiError && error.status === 404)) say("It could not be cancelled; try again.");
  }
}

function waitForToken() {
  stopClock();
  say("A token is needed.");
  waiting = new AbortController();
  access.addEventListener("token", () => current && currentToken() && run(current), { once: true, signal: waiting.signal });
}

function showBegun(/** @type {Asked} */ chat) {
  result.hidden = false;
  const text = chat.body.question;
  asked.textContent = text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}…` : text;
  answer.textContent = notice.textContent = trouble.textContent = facts.textContent = "";
  answer.hidden = notice.hidden = trouble.hidden = again.hidden = true;
  cancel.hidden = false;
  send.disabled = true;
  say("Sending…");
  tick();
  ticking ||= window.setInterval(tick, 250);
}

function tick() {
  if (current) clock.textContent = `${Math.max(0, Math.floor((Date.now() - current.askedAt) / 1000))} s`;
}

function stopClock() {
  clearInterval(ticking);
  ticking = 0;
}

function stateOf(/** @type {any} */ chat) {
  const name = chat?.model?.name || chat?.model?.key || "The model";
  switch (chat?.status) {
    case "queued": return waitingText(chat);
    case "running": return `${name} is answering…`;
    case "succeeded": return `${name} answered.`;
    case "cancelled": return "Cancelled.";
    case "expired": return "Expired.";
    case "failed": return "Failed.";
    default: return "Sending…";
  }
}

/** What a queued chat waits for, and since when. @param {any} chat */
function waitingText(chat) {
  if (chat.waiting_for !== "upstream") return "Waiting for its turn…";
  const since = chat.waiting_since ? ` since ${brief(chat.waiting_since)}` : "";
  const why = chat.last_failure ? ` Its last failure: ${cause(chat.last_failure)}` : "";
  return `Waiting for the gateway, which does not answer${since}. The question is kept.${why}`;
}

function showChat(/** @type {any} */ chat) {
  latest = chat;
  say(stateOf(chat));
  showFallback(chat.model);
  if (chat.status === "succeeded") {
    answer.textContent = chat.answer ?? "";
    answer.hidden = false;
    facts.textContent = factsOf(chat);
  } else if (ENDED.has(chat.status) && chat.status !== "cancelled") {
    showTrouble(chat.error ?? { code: chat.status });
  }
}

function showFallback(/** @type {any} */ used) {
  const given = used?.fallback === true;
  const words = given
    ? `${used.name ?? used.key} answers instead of ${used.requested ?? "the model that was asked for"}: ${fallbackReason(used)}.`
    : "";
  if (notice.textContent !== words) notice.textContent = words;
  notice.hidden = !given;
}

function showTrouble(/** @type {{code?: string, detail?: string}} */ error) {
  const words = cause(error);
  const detail = error.detail && sentence(error.detail) !== words ? error.detail : "";
  trouble.replaceChildren(words, ...(detail ? [document.createElement("br"), small(detail)] : []));
  trouble.hidden = false;
  if (latest === null) say("Not sent.");
}

function small(/** @type {string} */ text) {
  const element = document.createElement("small");
  element.textContent = text;
  return element;
}

function factsOf(/** @type {any} */ chat) {
  const facts = [`${chat.model.name ?? chat.model.key} (id ${chat.model.matcha_llm_id})`];
  if (chat.timings?.upstream_ms != null) facts.push(`the model took ${duration(chat.timings.upstream_ms)}`);
  if (chat.timings?.queued_ms > 500) facts.push(`waited ${duration(chat.timings.queued_ms)}`);
  if (chat.attempts > 1) facts.push(`attempt ${chat.attempts}`);
  return facts.join(" · ");
}

function ended() {
  stopClock();
  tick();
  if (latest?.timings?.total_ms != null) clock.textContent = duration(latest.timings.total_ms);
  const hadFocus = document.activeElement === cancel;
  cancel.hidden = true;
  send.disabled = false;
  again.hidden = latest?.status === "succeeded";
  if (hadFocus) (again.hidden ? question : again).focus();
}

/** A random key; randomUUID is there only over https and on this very machine. */
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

form.addEventListener("submit", (/** @type {Event} */ event) => {
  event.preventDefault();
  if (!send.disabled) submit();
});
question.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
cancel.addEventListener("click", () => {
  if (waiting) {
    waiting.abort(); // what has been sent ends by itself
    waiting = null;
    say("Cancelled.");
    return ended();
  }
  if (cancelling) return; // not disabled meanwhile: the focus would be lost with it
  cancelling = true;
  say("Cancelling…");
  if (current?.id) askToCancel(current.id);
});
again.addEventListener("click", () => {
  if (current) begin({ key: newKey(), body: current.body, askedAt: Date.now() });
});

offerToken();
model.token = currentToken();
access.addEventListener("token", () => { model.token = currentToken(); });
model.addEventListener("models", (/** @type {CustomEvent} */ event) => {
  const { error } = event.detail;
  if (error?.status === 401) access.dispatchEvent(new CustomEvent("unauthenticated", { detail: error.message }));
});

const unfinished = stored(PLACE);
if (unfinished) {
  try {
    current = JSON.parse(unfinished);
    if (current) run(current);
  } catch {
    keep(null); // not ours
  }
}
