// @ts-check
/** What needs a person, worst first: found in what the page knows already. */

import { byId, el, show } from "./dom.js";
import { ago, cause, exact, plural } from "./words.js";

/**
 * @typedef {{key: string, level: "bad" | "warn", text: string, next: string, run?: string}} Alert
 * @typedef {{runs: any[], listing: any, ready: any, models: any[], changes: any[]}} OpsState
 */

const GOOD = new Set(["succeeded", "partial"]);
const PROMOTED_DAYS = 7;

/** Whether this attempt failed: also a night's that is going to be tried again. @param {any} run */
export function hasFailed(run) {
  return run.status === "failed" || run.status === "abandoned" || (run.status === "queued" && run.attempt > 0 && Boolean(run.error));
}

/** Runs that failed since the last good one, newest first. @param {any[]} runs */
export function failedRuns(runs) {
  const good = runs.findIndex((run) => GOOD.has(run.status));
  return (good < 0 ? runs : runs.slice(0, good)).filter(hasFailed);
}

/** Alerts that are worse than a held list, and those that are not. Pure. @param {OpsState} state @returns {[Alert[], Alert[]]} */
export function findAlerts({ runs, listing, ready, models, changes }) {
  const parts = ready?.parts ?? {};
  /** @type {Alert[]} */ const first = [];
  /** @type {Alert[]} */ const rest = [];
  if (parts.postgresql?.ok === false) {
    first.push({ key: "postgresql", level: "bad", text: "PostgreSQL does not answer: the last good list is served, and no question is taken.",
      next: "Look at the database server; llm-refresh doctor says what it meets." });
  } else if (parts.migrations?.ok === false) {
    first.push({ key: "migrations", level: "bad", text: `The database's schema does not fit: ${parts.migrations.detail ?? "not migrated"}.`, next: "Run llm-refresh migrate." });
  }
  if (parts.redis?.ok === false) first.push(ofRedis(parts.redis.detail ?? ""));
  const upstream = ofUpstream(parts.matchaai);
  if (upstream?.level === "bad") first.push(upstream); // it is why refreshes fail: the cause stands first
  const failed = failedRuns(runs);
  if (failed.length) first.push(ofFailures(failed, listing));
  else if (listing?.stale && parts.postgresql?.ok !== false) { // without PostgreSQL nobody knows whether a sync is overdue
    first.push({ key: "stale", level: "bad", text: `The list is stale: the last good sync was ${listing.lastSynced ? ago(listing.lastSynced) : "never"}.`,
      next: "See whether the refresh worker and beat run, then refresh." });
  }
  if (upstream?.level === "warn") rest.push(upstream);
  if (parts.redis?.ok && parts.postgresql?.ok !== false && parts.workers) rest.push(...ofWorkers(parts.workers));
  const promoted = ofDefault(models, changes);
  if (promoted) rest.push(promoted);
  return [first, rest];
}

const NO_WRITES = "takes no writes"; // as /readyz says it, with the reason behind a colon

/** Redis is away, or it answers and takes no writes. @param {string} detail of `/readyz` @returns {Alert} */
function ofRedis(detail) {
  const meanwhile = "questions are kept and wait, refreshes do not start.";
  if (!detail.startsWith(NO_WRITES)) {
    return { key: "redis", level: "bad", text: `Redis does not answer: ${meanwhile}`, next: "Look at the Redis server; what waits goes on by itself." };
  }
  const reason = detail.slice(NO_WRITES.length).replace(/^: /, "");
  const next = reason.includes("disk") ? "Make room on the disk of the Redis server."
    : reason.includes("memory") ? "Raise maxmemory of the Redis server, or find what fills it." : "Repair the Redis server.";
  return { key: "redis", level: "bad", text: `Redis ${NO_WRITES}${reason && ` (${reason})`}: ${meanwhile}`, next: `${next} What waits goes on by itself.` };
}

const REFUSED = "unauthorised", RENEW_KEY = "Put a valid key into MATCHAAI_API_KEY and restart web, worker and chat";

/** @param {any[]} failed @param {any} listing @returns {Alert} */
function ofFailures(failed, listing) {
  const last = failed[0], since = failed[failed.length - 1];
  const served = listing?.lastSynced ? `The list of ${exact(listing.lastSynced)} is served meanwhile.` : "";
  const begun = failed.length > 1 ? `The last ${failed.length} refreshes failed, since ${exact(since.created_at)}.` : `The last refresh failed, ${ago(last.finished_at ?? last.created_at)}.`;
  const refused = last.error?.code === REFUSED;
  const why = refused ? "The gateway refused our key." : last.error ? cause(last.error) : "It was abandoned.";
  const act = refused ? `${RENEW_KEY}; then refresh.` : last.status === "queued" ? "It is tried again by itself." : "When the cause is gone, refresh.";
  return { key: "failed", level: "bad", text: last.error ? `${why} ${begun}` : `${begun} ${why}`, next: `${served} ${act}`.trim(), run: last.id };
}

/** @param {any} part @returns {Alert | null} */
function ofUpstream(part) {
  if (!part || (part.state !== "down" && part.state !== "degraded")) return null;
  const since = part.since ? ` since ${exact(part.since)}` : "";
  const why = part.last_failure ? ` (${[part.last_failure.status, part.last_failure.code].filter(Boolean).join(" ")})` : "";
  const wait = part.chats_waiting ? ` ${plural(part.chats_waiting, "chat waits", "chats wait")} for it.` : "";
  if (part.last_failure?.code === REFUSED) {
    return { key: "upstream", level: "bad", text: `MatchaAI refuses our key${since}${why}.${wait}`, next: `${RENEW_KEY}.` };
  }
  const what = part.state === "down" ? "MatchaAI does not answer" : `${plural(part.models_down, "model")} of MatchaAI ${part.models_down === 1 ? "does" : "do"} not answer`;
  return { key: "upstream", level: part.state === "down" ? "bad" : "warn", text: `${what}${since}${why}.${wait}`,
    next: "Nothing to do here: what waits goes on by itself when it answers. Ask its operators." };
}

/** @param {Record<string, number>} workers @returns {Alert[]} */
function ofWorkers(workers) {
  /** @type {Alert[]} */ const alerts = [];
  if (!workers.chat) alerts.push({ key: "chat", level: "bad", text: "No chat worker is heard: questions are taken and wait.", next: "Start the process chat." });
  if (!workers.refresh) alerts.push({ key: "refresh", level: "bad", text: "No refresh worker is heard: refreshes are taken and wait.", next: "Start the process worker." });
  if (!workers.beat) alerts.push({ key: "beat", level: "warn", text: "Beat is not heard: the next night does not start by it.", next: "Start the process beat." });
  return alerts;
}

/** A default that a sync chose because the one before was lost, and that nobody has confirmed. @param {any[]} models @param {any[]} changes newest first @returns {Alert | null} */
function ofDefault(models, changes) {
  const now = models.find((model) => model.is_default);
  if (!now || now.overrides?.is_default) return null;
  const line = changes.find((change) => change.after?.is_default === true);
  if (!line?.run_id || line.model_key !== now.model_key || Date.now() - Date.parse(line.at) > PROMOTED_DAYS * 86400000) return null;
  const lost = changes.find((change) => change.run_id === line.run_id && change.before?.is_default === true);
  if (!lost) return null;
  return { key: "promoted", level: "warn", text: `The default ${lost.before.model_key ?? lost.model_key} was lost ${ago(line.at)}; a sync put ${now.model_key} in its place.`,
    next: "Choose the default yourself: Edit… at the model that it shall be." };
}

let before = "";

/** Show them around the held list. @param {OpsState} state @param {boolean} held @param {(id: string) => void} openRun */
export function showAlerts(state, held, openRun) {
  const [first, rest] = findAlerts(state), key = JSON.stringify([first, rest]);
  if (key !== before) {
    before = key;
    for (const [id, alerts] of /** @type {[string, Alert[]][]} */ ([["alerts-first", first], ["alerts-rest", rest]])) {
      byId(id).hidden = !alerts.length;
      show(byId(id), ...alerts.map((alert) => note(alert, openRun)));
    }
  }
  const count = first.length + rest.length + (held ? 1 : 0);
  document.title = `${count ? `(${count}) ` : ""}Operations · LLM Refresh`;
}

/** @param {Alert} alert @param {(id: string) => void} openRun */
function note({ key, level, text, next, run }, openRun) {
  return el("div", { class: `note ${level}`, "data-alert": key },
    el("p", {}, el("strong", {}, text), " ", next),
    run && el("button", { type: "button", class: "small", "data-key": `alert-${key}`, onclick: () => openRun(run) }, "Show the run"));
}
