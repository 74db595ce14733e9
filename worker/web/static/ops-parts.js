// @ts-check
/** How each part of the system is, by `/readyz`: good, bad, or unknown while the part that would say is away. */

import { ago, exact, plural } from "./words.js";

/** @typedef {"ok" | "bad" | "unknown"} State */

/** @type {Record<State, string>} */
export const MARKS = { ok: "✓ ", bad: "✕ ", unknown: "? " };

/** Name, state and words of each part. Pure. @param {Record<string, any>} parts @returns {[string, State, string][]} */
export function partStates(parts) {
  const away = { postgresql: parts.postgresql?.ok === false, redis: parts.redis?.ok === false };
  const withoutDatabase = "unknown while PostgreSQL is away";
  /** @type {[string, State, string][]} */
  const states = [];
  for (const [name, words] of [["postgresql", "PostgreSQL"], ["migrations", "migrations"], ["redis", "Redis"]]) {
    const part = parts[name];
    if (!part) continue;
    if (name === "migrations" && away.postgresql) states.push([words, "unknown", withoutDatabase]);
    else states.push([words, part.ok ? "ok" : "bad", part.ok ? "good" : part.detail ?? "not good"]);
  }
  if (parts.matchaai) {
    if (away.postgresql) states.push(["MatchaAI", "unknown", withoutDatabase]); // its health is kept there
    else states.push(["MatchaAI", parts.matchaai.ok === false ? "bad" : parts.matchaai.ok ? "ok" : "unknown", upstreamText(parts.matchaai)]);
  }
  for (const name of ["refresh", "chat", "beat"]) {
    const count = parts.workers?.[name] ?? 0, words = name === "beat" ? "beat" : `${name} workers`;
    if (away.redis) states.push([words, "unknown", "unknown while Redis is away or takes no writes"]);
    else if (!count && away.postgresql) states.push([words, "unknown", withoutDatabase]); // no worker can give its sign of life
    else states.push([words, count ? "ok" : "bad", count ? String(count) : "none heard"]);
  }
  return states;
}

/** MatchaAI's state, by what calls experience. @param {any} part */
function upstreamText(part) {
  const waiting = part.chats_waiting ? `; ${plural(part.chats_waiting, "chat waits", "chats wait")}` : "";
  const failure = part.last_failure ? ` (${[part.last_failure.status, part.last_failure.code].filter(Boolean).join(" ")})` : "";
  const since = part.since ? ` since ${exact(part.since)}` : "";
  switch (part.state) {
    case "up": return part.last_success_at ? `good, answered ${ago(part.last_success_at)}${waiting}` : `good${waiting}`;
    case "degraded": return `${plural(part.models_down, "model does", "models do")} not answer${since}${failure}${waiting}`;
    case "down": return part.last_failure?.code === "unauthorised"
      ? `refuses the key${since}${failure}` : `does not answer${since}${failure}${waiting}`;
    default: return part.ok == null ? "unknown: its record cannot be read" : "not called yet";
  }
}
