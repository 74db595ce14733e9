// @ts-check
/** How many chats there are by state, and how much each model is used. */

import { byId, el, show, svg } from "./dom.js";
import { duration, plural } from "./words.js";

export const DAYS = 30;
/** @type {[string, string][]} a column of the usage and its word */
const OUTCOMES = [["successes", "succeeded"], ["failures", "failed"], ["cancelled", "cancelled"], ["expired", "expired"]];

/** @type {any[] | null} not known before it was read once */ let usage = null;
/** @type {Record<string, number> | null} */ let open = null;

/** @param {any[]} latest */
export function showUsage(latest) {
  usage = latest;
  const most = Math.max(1, ...latest.map((row) => row.request_count));
  show(byId("usage-rows"), ...latest.map((row) => usageRow(row, most)));
  byId("usage-none").hidden = latest.length > 0;
  showStates();
}

/** How many are open, out of the text of /metrics. @param {string} metrics */
export function showOpen(metrics) {
  const matches = [...metrics.matchAll(/^llm_refresh_chats_open\{status="(\w+)"\} ([\d.e+]+)$/gm)];
  open = matches.length ? Object.fromEntries(matches.map(([, status, count]) => [status, Number(count)])) : null;
  const waits = Number(/^llm_refresh_chat_oldest_queued_seconds ([\d.e+-]+)$/m.exec(metrics)?.[1] ?? 0);
  const forUpstream = Number(/^llm_refresh_chats_waiting\{reason="upstream"\} ([\d.e+]+)$/m.exec(metrics)?.[1] ?? 0);
  const parts = [];
  if (waits > 0) parts.push(`The oldest that waits for its turn has waited ${duration(waits * 1000)}.`);
  if (open && forUpstream) parts.push(`${plural(forUpstream, "chat")} ${forUpstream === 1 ? "waits" : "wait"} for MatchaAI.`);
  byId("chats-oldest").textContent = parts.join(" ");
  showStates();
}

function showStates() {
  const states = open ? Object.entries(open).map(([status, count]) => [status, count.toLocaleString("en")]) : [];
  for (const [column, status] of OUTCOMES) {
    const count = usage?.reduce((sum, row) => sum + (row[column] ?? 0), 0);
    states.push([status, count?.toLocaleString("en") ?? "unknown:"]); // nothing was read, which is not 0
  }
  show(byId("chats-states"), ...states.map(([status, count]) =>
    el("li", { class: `chat-${status}` }, el("strong", {}, count), ` ${status}`)));
}

/** @param {any} row @param {number} most */
function usageRow(row, most) {
  const fallbacks = Object.values(row.fallbacks ?? {}).reduce((sum, count) => sum + count, 0);
  const parts = OUTCOMES.filter(([column], index) => index > 0 && row[column]).map(([column, word]) => `${row[column]} ${word}`);
  if (fallbacks) parts.push(`${fallbacks} in place of another`);
  if (row.latency?.mean_ms != null) parts.push(`${duration(row.latency.mean_ms)} on average`);
  return el("li", {},
    el("span", { class: "usage-name" }, el("code", {}, row.model_key), " ", el("strong", {}, plural(row.request_count, "request"))),
    svg("svg", { class: "usage-bar", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("rect", { class: "track", width: 100, height: 8 }),
      svg("rect", { class: "value", width: Math.max(1, (100 * row.request_count) / most), height: 8 })),
    parts.length > 0 && el("small", {}, parts.join(" · ")));
}
