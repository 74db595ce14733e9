// @ts-check
/** What the API's codes mean, said to people. */

/** @type {Record<string, string>} */
const CAUSES = {
  unauthorised: "The gateway refused our key. An operator has to look at it.",
  unknown_model: "The gateway does not know this model.",
  prompt_too_long: "The question is too long for this model. Shorten it, or choose a model with a larger context.",
  rate_limited: "The gateway takes no more requests at the moment.",
  upstream_unavailable: "The gateway could not be reached, or answered with an error of its own.",
  upstream_rejected: "The gateway refused this request.",
  upstream_not_json: "The gateway answered with a web page instead of an answer: it may be down, or ask for a sign-in.",
  upstream_shape: "The gateway's answer could not be read.",
  timeout: "The model took too long to answer.",
  cancelled: "Cancelled.",
  expired: "No answer came within the time that a question may wait.",
  attempts_exhausted: "The question was tried several times and failed each time.",
  // and of the API itself
  unreachable: "The server cannot be reached. Check the connection.",
  not_found: "This question is no longer kept on the server.",
  too_many_chats: "Too many questions are waiting. Try again in a moment.",
  no_model: "No model can answer: none is active, or the gateway knows none of them. An operator has to look at the catalogue.",
  database_unavailable: "The database cannot be reached at the moment.",
  redis_unavailable: "The queue cannot be reached at the moment.",
  body_too_large: "The question is too long.",
  unauthenticated: "A token is needed.",
};

/** Why a question failed. @param {{code?: string, detail?: string}} error */
export function cause(error) {
  return CAUSES[error.code ?? ""] ?? sentence(error.detail || "Something went wrong.");
}

/** @type {Record<string, string>} */
const REASONS = {
  unknown_key: "no model has this key",
  retired_key: "its key was retired",
  inactive_key: "it is no longer active",
  unknown_upstream: "the gateway does not know it any more",
};

/**
 * Why another model answers than the one that was asked for.
 * @param {{reason?: string | null, story?: {model_name?: string, model_key?: string, matcha_llm_id?: number, at?: string}}} used
 */
export function fallbackReason({ reason, story }) {
  const why = reason ? REASONS[reason] ?? reason.replaceAll("_", " ") : "it could not be used";
  if (!story) return why;
  const now = story.model_name && ` its id ${story.matcha_llm_id} means ${story.model_name} now`;
  return `${why}${story.at ? ` (${exact(story.at)})` : ""}${now ? `,${now}` : ""}`;
}

/** With a capital letter and a full stop. @param {string} text */
export function sentence(text) {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(whole) ? whole : `${whole}.`;
}

/** A count with its noun. @param {number} count @param {string} one @param {string} [many] */
export function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

/** Milliseconds as people say them. @param {number} ms */
export function duration(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 10000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 60000) return `${Math.round(ms / 1000)} s`;
  const minutes = Math.floor(ms / 60000);
  return minutes < 60 ? `${minutes} min ${Math.round((ms % 60000) / 1000)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
/** @type {[Intl.RelativeTimeFormatUnit, number][]} */
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];

/** "5 minutes ago", "in 3 hours". @param {string} moment @param {number} [now] */
export function ago(moment, now = Date.now()) {
  const seconds = (Date.parse(moment) - now) / 1000;
  for (const [unit, size] of UNITS) if (Math.abs(seconds) >= size) return RELATIVE.format(Math.round(seconds / size), unit);
  return Math.abs(seconds) < 5 ? "just now" : RELATIVE.format(Math.round(seconds), "second");
}

const MOMENT = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const SHORT = new Intl.DateTimeFormat("en-GB", { day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit" });

/** Day and time, where the reader is. @param {string} moment */
export function exact(moment) {
  return MOMENT.format(new Date(moment));
}

/** The same without year and seconds. @param {string} moment */
export function brief(moment) {
  return SHORT.format(new Date(moment));
}
