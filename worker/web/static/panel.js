// @ts-check
/** The page `/`: a conversation with models. What was asked survives a reload: ids stand in the tab's storage. */

import { ApiError, access, ask, currentToken, pause } from "./api.js";
import { historyOf, keepTurns, keptTurns, newKey } from "./conversation.js";
import { byId, el } from "./dom.js";
import { ENDED, follow } from "./events.js";
import "./llm-model-select.js";
import { offerToken } from "./token.js";
import { TurnView } from "./turn.js";
import { brief, cause, duration } from "./words.js";

const TRIES = 5;
const NEAR_PX = 160; // from the page's end: whoever is there follows the conversation

/** @typedef {import("./conversation.js").Turn & {view?: TurnView}} Turn */

const form = byId("ask"), question = byId("question"), send = byId("send"), model = byId("model"), fresh = byId("fresh");
const log = byId("log"), progress = byId("progress"), state = byId("state"), clock = byId("clock"), cancel = byId("cancel");
const maxChars = Number(form.dataset.maxChars);
const again = el("button", { type: "button", id: "again" }, "Try again");
const cut = el("p", { class: "cut" }, "Nothing above this line goes along any more: a question may hold "
  + `${maxChars.toLocaleString("en")} characters, with all that goes along.`);

/** @type {Turn[]} */ let turns = [];
/** @type {any} of the last turn */ let latest = null;
/** @type {AbortController | null} */ let watching = null;
/** @type {AbortController | null} for a token */ let waiting = null;
let cancelling = false, ticking = 0;

function say(/** @type {string} */ text) {
  if (state.textContent !== text) state.textContent = text; // a repeated text would be read out again
}

/** @returns {Turn | undefined} */
function last() {
  return turns[turns.length - 1];
}

function submit() {
  const text = question.value, former = last();
  if (!text.trim()) return question.focus();
  if (former?.body?.question === text) return retry(former); // it was not accepted
  const turn = shown({ key: newKey(), askedAt: Date.now(), question: text });
  turns.push(turn);
  begin(turn);
}

/** The same question once more, in its place. @param {Turn} turn */
function retry(turn) {
  Object.assign(turn, { key: newKey(), askedAt: Date.now(), id: undefined });
  begin(turn);
}

function begin(/** @type {Turn} */ turn) {
  const text = String(turn.question), { history, first, left } = historyOf(text, turns.slice(0, -1), maxChars);
  turn.body = { question: text, ...(model.value ? { model: model.value } : {}), ...(history.length ? { history } : {}) };
  showCut(left, first);
  keepTurns(turns);
  run(turn);
  turn.view?.element.scrollIntoView({ block: "start" });
}

/** A line above the first turn that goes along, if any do not. @param {number} left @param {Turn | null} first */
function showCut(left, first) {
  if (left) (first ?? last())?.view?.element.before(cut);
  else cut.remove();
}

/** With a place in the log. @param {Turn} turn */
function shown(turn) {
  turn.view = new TurnView();
  if (turn.question !== undefined) turn.view.question(turn.question);
  log.append(turn.view.element);
  fresh.hidden = log.hidden = false;
  return turn;
}

/** From a question, asked now or before a reload, to its end. @param {Turn} turn */
async function run(turn) {
  const signal = startWatching("Sending…");
  turn.view?.clear();
  try {
    if (!turn.id) {
      const accepted = await post(turn, signal);
      if (signal.aborted) return;
      turn.id = accepted.id;
      delete turn.body;
      keepTurns(turns);
      if (question.value === turn.question) question.value = "";
      showChat(accepted);
      if (cancelling) await askToCancel(accepted.id);
    }
    const chat = await follow(String(turn.id), {
      signal,
      snapshot: showChat,
      connected: (yes) => say(yes ? stateOf(latest) : "Connection lost, connecting again…"),
    });
    await showEnd(turn, chat, signal);
  } catch (error) {
    if (signal.aborted) return;
    if (error instanceof ApiError && error.status === 401) return waitForToken(() => run(turn));
    turn.view?.trouble(error instanceof ApiError ? error : { code: "", detail: String(error) }, true);
    say(turn.id ? "Failed." : "Not sent.");
  }
  if (!signal.aborted) ended();
}

/** What is done from now on, until something else is. @param {string} words @returns {AbortSignal} */
function startWatching(words) {
  watching?.abort();
  watching = new AbortController();
  latest = waiting = null;
  cancelling = false;
  again.remove();
  progress.classList.remove("unseen");
  cancel.hidden = false;
  send.disabled = true;
  say(words);
  tick();
  ticking ||= window.setInterval(tick, 250);
  return watching.signal;
}

/** Send the question; after a lost answer again, with the same key. @param {Turn} turn @param {AbortSignal} signal */
async function post(turn, signal) {
  const headers = { "Idempotency-Key": turn.key, Prefer: "respond-async, wait=0" };
  const sent = { method: "POST", body: turn.body, headers, signal, timeout: 15000 };
  return persistently(() => ask("/api/chasen/chat", sent), signal, "Connection lost, sending again…");
}

/** The data of a request that is made again when no answer to it comes. @param {() => Promise<{data: any}>} request @param {AbortSignal} signal @param {string} words */
async function persistently(request, signal, words) {
  for (let tries = 1; ; tries++) {
    try {
      return (await request()).data;
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 0 || signal.aborted || tries === TRIES) throw error;
      say(words);
      await pause(500 * 2 ** tries, signal);
    }
  }
}

async function askToCancel(/** @type {string} */ id) {
  try {
    const { data } = await ask(`/api/chats/${encodeURIComponent(id)}`, { method: "DELETE" });
    if (data?.status && id === last()?.id) showChat(data);
  } catch (error) {
    cancelling = false;
    if (!(error instanceof ApiError && error.status === 404)) say("It could not be cancelled; try again.");
  }
}

/** Go on with `task` once there is a token. @param {() => void} task */
function waitForToken(task) {
  stopClock();
  say("A token is needed.");
  waiting = new AbortController();
  access.addEventListener("token", () => currentToken() && task(), { once: true, signal: waiting.signal });
}

function tick() {
  const turn = last();
  if (turn) clock.textContent = `${Math.max(0, Math.floor((Date.now() - turn.askedAt) / 1000))} s`;
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
  const ahead = chat.position > 1 ? `: about ${(chat.position - 1).toLocaleString("en")} before it` : "";
  if (chat.waiting_for === "limit") return `Waiting, because as many run as may at the same time${ahead}…`;
  if (chat.waiting_for !== "upstream") return `Waiting for its turn${ahead}…`;
  const since = chat.waiting_since ? ` since ${brief(chat.waiting_since)}` : "";
  const why = chat.last_failure ? ` Its last failure: ${cause(chat.last_failure)}` : "";
  return `Waiting for the gateway, which does not answer${since}. The question is kept.${why}`;
}

function showChat(/** @type {any} */ chat) {
  latest = chat;
  say(stateOf(chat));
  last()?.view?.model(chat.model);
}

/** The end of a chat, with its answer formatted where that can be had. @param {Turn} turn @param {any} chat @param {AbortSignal} signal */
async function showEnd(turn, chat, signal) {
  if (chat.status !== "succeeded") return showOutcome(turn, chat, true);
  const formatted = await ask(markdownOf(turn), { signal, timeout: 10000 }).catch(() => null);
  if (signal.aborted) return;
  const follows = window.innerHeight + window.scrollY > document.documentElement.scrollHeight - NEAR_PX;
  showOutcome(turn, formatted?.data ?? chat, true);
  if (follows) turn.view?.element.scrollIntoView({ block: "start" });
}

/** How a chat ended. @param {Turn} turn @param {any} chat @param {boolean} now and not before a reload */
function showOutcome(turn, chat, now) {
  turn.view?.model(chat.model);
  if (chat.erased_at) return turn.view?.note("Its content was erased.");
  if (chat.status === "succeeded") {
    turn.answer = chat.answer ?? "";
    turn.view?.answered(chat, chat.markdown ?? null);
  } else if (chat.status === "cancelled") turn.view?.note("Cancelled.");
  else if (ENDED.has(chat.status)) turn.view?.trouble(chat.error ?? { code: chat.status }, now);
}

function markdownOf(/** @type {Turn} */ turn) {
  return `/api/chats/${encodeURIComponent(String(turn.id))}/markdown`;
}

function ended() {
  stopClock();
  tick();
  if (latest?.timings?.total_ms != null) clock.textContent = duration(latest.timings.total_ms);
  const hadFocus = document.activeElement === cancel, turn = last();
  cancel.hidden = true;
  progress.classList.add("unseen"); // read out; to be seen it stands at the answer
  send.disabled = false;
  if (turn?.question !== undefined && turn.answer === undefined) turn.view?.foot.prepend(again);
  if (hadFocus) (again.isConnected ? again : question).focus();
}

/** The turns of this tab, as the server has them. */
async function restore() {
  log.replaceChildren();
  turns = keptTurns();
  if (!turns.length) return;
  const signal = startWatching("Loading the conversation…");
  cancel.hidden = true;
  turns.forEach(shown);
  try {
    await Promise.all(turns.map((turn) => load(turn, signal)));
  } catch (error) {
    if (signal.aborted) return;
    if (error instanceof ApiError && error.status === 401) return waitForToken(restore);
    throw error;
  }
  if (signal.aborted) return;
  const turn = /** @type {Turn} */ (last());
  const { left, first } = historyOf(turn.question ?? "", turns.slice(0, -1), maxChars);
  showCut(left, first);
  if (turn.body || (latest && !ENDED.has(latest.status))) run(turn);
  else {
    say(latest ? stateOf(latest) : "");
    ended();
  }
  turn.view?.element.scrollIntoView({ block: "start" });
}

async function load(/** @type {Turn} */ turn, /** @type {AbortSignal} */ signal) {
  if (!turn.id) {
    turn.question = turn.body?.question ?? "";
    turn.view?.question(turn.question);
    if (turn !== last()) turn.view?.note("Not sent.");
    return;
  }
  try {
    const chat = await persistently(() => ask(markdownOf(turn), { signal }), signal, "Connection lost, trying again…");
    if (chat.question != null) turn.question = chat.question;
    turn.view?.question(chat.question ?? "");
    if (turn === last()) latest = chat;
    showOutcome(turn, chat, false);
  } catch (error) {
    if (signal.aborted || !(error instanceof ApiError) || error.status === 401) throw error;
    turn.view?.trouble(error, false);
  }
}

/** Begin anew. What is under way is cancelled; the chats stay on the server for as long as it keeps them. */
function startAnew() {
  const open = send.disabled && last()?.id;
  watching?.abort();
  waiting?.abort();
  if (open) askToCancel(open);
  turns = [];
  latest = null;
  keepTurns(turns);
  log.replaceChildren();
  stopClock();
  cut.remove();
  fresh.hidden = log.hidden = cancel.hidden = true;
  progress.classList.add("unseen");
  send.disabled = false;
  say("A new conversation.");
  question.focus();
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
  const id = last()?.id;
  if (id) askToCancel(id);
});
again.addEventListener("click", () => {
  const turn = last();
  if (turn) retry(turn);
});
fresh.addEventListener("click", startAnew);

offerToken();
model.token = currentToken();
access.addEventListener("token", () => {
  model.token = currentToken();
  if (!currentToken()) keepTurns([]); // whoever comes next in this tab is somebody else
});
model.addEventListener("models", (/** @type {CustomEvent} */ event) => {
  const { error } = event.detail;
  if (error?.status === 401) access.dispatchEvent(new CustomEvent("unauthenticated", { detail: error.message }));
});
restore();
