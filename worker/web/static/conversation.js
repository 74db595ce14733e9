// @ts-check
/** What was asked and answered in this tab. Storage keeps ids only: the texts stay on the server, which may erase them. */

import { store, stored } from "./api.js";

const PLACE = "llm-refresh.conversation";
const MAX_MESSAGES = 1000; // of a history, as the API takes it
const MAX_BYTES = 1000000; // of a body, a little under the API's 1 MiB

/**
 * One question. `key` is its Idempotency-Key: sent again after a lost answer or a reload, it is the same chat. `body` is
 * what was sent, until the server has accepted it; from then on `id` names it.
 * @typedef {{key: string, askedAt: number, id?: string, body?: Body, question?: string, answer?: string}} Turn
 * @typedef {{question: string, model?: string, history?: {role: string, content: string}[]}} Body
 */

/** The turns of this tab, also after a reload. @returns {Turn[]} */
export function keptTurns() {
  try {
    const turns = JSON.parse(stored(PLACE) ?? "[]");
    return Array.isArray(turns) ? turns.filter((turn) => turn && turn.key && (turn.id || turn.body?.question)) : [];
  } catch {
    return []; // not ours
  }
}

/** Keep these turns for a reload; none: forget them. @param {Turn[]} turns */
export function keepTurns(turns) {
  const kept = turns.map(({ key, askedAt, id, body }) => (id ? { key, askedAt, id } : { key, askedAt, body }));
  store(PLACE, kept.length ? JSON.stringify(kept) : null);
}

/**
 * The earlier turns that go along with a question, and how many do not: the oldest stay behind where all would be too
 * much. Turns without an answer are none.
 * @param {string} question @param {Turn[]} earlier @param {number} maxChars of question and history together
 * @returns {{history: {role: string, content: string}[], first: Turn | null, left: number}} `first` goes along, none before
 */
export function historyOf(question, earlier, maxChars) {
  const answered = earlier.filter((turn) => turn.question && turn.answer !== undefined);
  const history = [];
  let chars = maxChars - length(question), bytes = MAX_BYTES - size(question), first = null, left = answered.length;
  while (left > 0 && history.length + 2 <= MAX_MESSAGES) {
    const turn = answered[left - 1], prompt = String(turn.question), answer = String(turn.answer);
    chars -= length(prompt) + length(answer);
    bytes -= size(prompt) + size(answer) + 80; // names and brackets around them
    if (chars < 0 || bytes < 0) break;
    history.unshift({ role: "user", content: prompt }, { role: "assistant", content: answer });
    first = turn;
    left--;
  }
  return { history, first, left };
}

/** Characters as the server counts them: one for each code point. @param {string} text */
function length(text) {
  return text.length - (text.match(/[\uD800-\uDBFF][\uDC00-\uDFFF]/g)?.length ?? 0);
}

/** Bytes in a body. @param {string} text */
function size(text) {
  return new TextEncoder().encode(JSON.stringify(text)).length;
}

/** A random key; randomUUID is there only over https and on this machine. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
