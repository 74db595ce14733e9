// @ts-check
/** Requests to the API, with the tab's token, and the one error that they end in. */

const TOKEN = "llm-refresh.token";
const TIMEOUT_MS = 45000;

/** @type {string | null} */
let token = stored(TOKEN);

/** "unauthenticated" when the API asks for a token, "token" when the page has been given one. */
export const access = new EventTarget();

export function currentToken() {
  return token;
}

/** Keep a token for this tab, or forget it. @param {string | null} given */
export function useToken(given) {
  token = given || null;
  store(TOKEN, token);
  access.dispatchEvent(new Event("token"));
}

/** What the API, or the way to it, says is wrong. `status` is 0 when no answer came. */
export class ApiError extends Error {
  /** @param {number} status @param {string} code @param {string} detail @param {any} [body] @param {number} [retryAfter] */
  constructor(status, code, detail, body = null, retryAfter = 0) {
    super(detail);
    this.status = status;
    this.code = code;
    this.detail = detail;
    this.body = body;
    this.retryAfter = retryAfter;
  }
}

/**
 * An answer of the API. Raises ApiError for every status from 400 on and when no answer comes.
 * @param {string} path
 * @param {{method?: string, body?: unknown, headers?: Record<string, string>, signal?: AbortSignal, timeout?: number}} [options]
 * @returns {Promise<Response>}
 */
export async function open(path, { method = "GET", body, headers = {}, signal, timeout = TIMEOUT_MS } = {}) {
  const giveUp = new AbortController();
  const stop = () => giveUp.abort(signal?.reason);
  const timer = setTimeout(() => giveUp.abort(), timeout);
  signal?.addEventListener("abort", stop);
  if (signal?.aborted) stop();
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers: {
        Accept: "application/json",
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        ...(token ? { Authorization: `Bearer ${token}` } : {}),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-cache",
      signal: giveUp.signal,
    });
  } catch {
    throw new ApiError(0, signal?.aborted ? "aborted" : "unreachable", "The server cannot be reached.");
  } finally {
    clearTimeout(timer); // a stream that is read afterwards still ends with `signal`
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  if (answer.status === 401) access.dispatchEvent(new CustomEvent("unauthenticated", { detail: problem.detail }));
  const detail = problem.detail || `The server answered ${answer.status}.`;
  const retryAfter = Number(answer.headers.get("Retry-After")) || 0;
  throw new ApiError(answer.status, problem.code || `http_${answer.status}`, detail, problem, retryAfter);
}

/**
 * The JSON of an answer, and its status. Raises ApiError.
 * @param {string} path @param {Parameters<typeof open>[1]} [options]
 * @returns {Promise<{status: number, data: any}>}
 */
export async function ask(path, options) {
  const answer = await open(path, options);
  try {
    return { status: answer.status, data: answer.status === 204 ? null : await answer.json() };
  } catch {
    throw new ApiError(0, "unreachable", "The server's answer was cut off.");
  }
}

/** A value of this tab, null where there is none or storage is forbidden. @param {string} name */
export function stored(name) {
  try {
    return sessionStorage.getItem(name);
  } catch {
    return null;
  }
}

/** Keep a value for this tab; null removes it. @param {string} name @param {string | null} value */
export function store(name, value) {
  try {
    if (value === null) sessionStorage.removeItem(name);
    else sessionStorage.setItem(name, value);
  } catch {
    // then it lasts as long as the page
  }
}

/** Wait, or less long when `signal` says so. @param {number} ms @param {AbortSignal} [signal] @returns {Promise<void>} */
export function pause(ms, signal) {
  return new Promise((resolve) => {
    const end = () => { clearTimeout(timer); signal?.removeEventListener("abort", end); resolve(); };
    const timer = setTimeout(end, ms);
    signal?.addEventListener("abort", end);
    if (signal?.aborted) end();
  });
}
