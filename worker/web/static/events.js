// @ts-check
/** Events of a chat, read from a streamed answer: a fetch can carry the token in a header, an EventSource cannot. */

import { ApiError, ask, open, pause } from "./api.js";

const SILENCE_MS = 16000; // the server says something every 5 s
const FIRST_PAUSE_MS = 400;
const LONGEST_PAUSE_MS = 10000;
export const ENDED = new Set(["succeeded", "failed", "cancelled", "expired"]);

/**
 * Whole events of a stream, however its bytes are cut: inside a character, a line or an event. An event that the
 * stream's end cuts off is none (HTML standard, 9.2.6).
 * @param {ReadableStream<Uint8Array>} stream @param {() => void} [heard] called for every piece, comments too
 * @returns {AsyncGenerator<{event: string, data: string, id: string}>}
 */
export async function* readEvents(stream, heard = () => {}) {
  const reader = stream.getReader(), decoder = new TextDecoder();
  let rest = "", id = "", event = "", /** @type {string[]} */ data = [];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      heard();
      rest += decoder.decode(value, { stream: true });
      // A carriage return at the very end may be half of a line's end.
      const held = rest.endsWith("\r") ? "\r" : "";
      const lines = rest.slice(0, rest.length - held.length).split(/\r\n|\n|\r/);
      rest = (lines.pop() ?? "") + held;
      for (const line of lines) {
        if (line === "") {
          if (data.length) yield { event: event || "message", data: data.join("\n"), id };
          event = "";
          data = [];
          continue;
        }
        const [, name, text] = /** @type {RegExpExecArray} */ (/^([^:]*):? ?([^]*)$/.exec(line));
        if (name === "event") event = text;
        else if (name === "data") data.push(text);
        else if (name === "id") id = text;
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/**
 * Follow a chat to its end, over lost connections. Returns its last snapshot; raises ApiError when the API refuses.
 * @param {string} id
 * @param {{snapshot: (chat: any) => void, connected: (yes: boolean) => void, signal: AbortSignal}} told
 */
export async function follow(id, { snapshot, connected, signal }) {
  const path = `/api/chats/${encodeURIComponent(id)}`;
  let last = "", wait = FIRST_PAUSE_MS;
  /** @type {any} */
  let chat = null;
  const take = (/** @type {any} */ latest) => { chat = latest; snapshot(chat); return ENDED.has(chat.status); };
  for (;;) {
    signal.throwIfAborted();
    try {
      if (take((await ask(path, { signal })).data)) return chat;
      const ended = await stream(`${path}/events`, last, signal, (event) => {
        wait = FIRST_PAUSE_MS;
        connected(true);
        if (event === null) return false;
        last = event.id || last;
        return take(JSON.parse(event.data));
      });
      if (ended) return chat;
    } catch (error) {
      if (signal.aborted || !canPass(error)) throw error;
      connected(false);
      if (error instanceof ApiError && error.retryAfter) wait = Math.max(wait, error.retryAfter * 1000);
    }
    await pause(wait * (0.75 + Math.random() / 2), signal);
    wait = Math.min(wait * 2, LONGEST_PAUSE_MS);
  }
}

/** Whether trying again may help. @param {unknown} error */
function canPass(error) {
  if (!(error instanceof ApiError)) return true; // the stream broke
  return error.status === 0 || error.status === 429 || error.status >= 500;
}

/**
 * One connection. `take` gets every event, and null for any sign of life; true from it ends the reading.
 * @param {string} path @param {string} last @param {AbortSignal} signal
 * @param {(event: {event: string, data: string, id: string} | null) => boolean} take
 */
async function stream(path, last, signal, take) {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(), SILENCE_MS);
    take(null);
  };
  const stop = () => silence.abort();
  signal.addEventListener("abort", stop);
  try {
    const headers = { Accept: "text/event-stream", ...(last ? { "Last-Event-ID": last } : {}) };
    const answer = await open(path, { headers, signal: silence.signal });
    if (answer.status === 204 || !answer.body) return false; // it has ended: the snapshot tells how
    for await (const event of readEvents(answer.body, alive)) if (take(event)) return true;
    return false;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
  }
}
