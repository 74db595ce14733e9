// @ts-check
/** Sync runs: as a chart, as a table, and each in detail. */

import { ApiError, ask } from "./api.js";
import { comparison, kindLabel } from "./changes.js";
import { byId, el, show, svg } from "./dom.js";
import { heldNote } from "./ops-held.js";
import { brief, cause, duration, exact, plural } from "./words.js";

/** @type {Record<string, string>} a shape for each, beside its colour and its word */
const SHAPES = { queued: "…", running: "▸", succeeded: "✓", partial: "!", held: "‖", failed: "✕", abandoned: "∅" };
const ENDED = new Set(["succeeded", "partial", "held", "failed", "abandoned"]);
const BAR = 20, HEIGHT = 72, LEAST = 4;
const ROWS = 10;
/** How many runs are in the chart. */
export const SHOWN = 30;

/** @type {Set<string>} */ const opened = new Set();
/** @type {Map<string, any[]>} the changes of ended runs, which never change */ const changesOf = new Map();
/** @type {any[]} */ let runs = [];
let rows = ROWS;
/** @type {string | null} the run whose list waits for a decision */ let waiting = null;

/** Show these runs, newest first. @param {any[]} latest @param {any} undecided the held run that waits for a decision */
export function showRuns(latest, undecided) {
  runs = latest;
  waiting = undecided?.id ?? null;
  draw();
}

/** Whether a run is under way. @param {any[]} latest */
export function underWay(latest) {
  return latest.some((run) => !ENDED.has(run.status));
}

/** A run's status as a label: word, shape and colour. @param {string} status */
export function statusLabel(status) {
  return el("span", { class: `chip status-${status}` }, el("span", { "aria-hidden": "true" }, `${SHAPES[status] ?? "?"} `), status);
}

function draw() {
  show(byId("runs-chart"), runs.length ? chart(runs.slice(0, SHOWN).reverse()) : null);
  show(byId("runs-rows"), ...runs.slice(0, rows).flatMap((run) => (opened.has(run.id) ? [row(run), details(run)] : [row(run)])));
  byId("runs-none").hidden = runs.length > 0;
  byId("runs-more").hidden = runs.length <= rows;
}

/** @param {any} run milliseconds from start to end, or until now */
function took(run) {
  if (!run.started_at) return null;
  return (run.finished_at ? Date.parse(run.finished_at) : Date.now()) - Date.parse(run.started_at);
}

/** @param {any[]} shown oldest first */
function chart(shown) {
  const longest = Math.max(1, ...shown.map((run) => took(run) ?? 0));
  const summary = Object.entries(Object.groupBy(shown, (run) => run.status))
    .map(([status, of]) => `${of?.length} ${status}`).join(", ");
  const width = SHOWN * BAR, first = SHOWN - shown.length;
  return svg("svg", { viewBox: `0 0 ${width} ${HEIGHT + 22}`, class: "chart", role: "img",
    "aria-label": `The last ${plural(shown.length, "run")}: ${summary}. The longest took ${duration(longest)}.` },
    svg("line", { x1: 0, x2: width, y1: HEIGHT, y2: HEIGHT, class: "axis" }),
    svg("line", { x1: 0, x2: width, y1: 4, y2: 4, class: "axis faint" }),
    svg("text", { x: 0, y: 15, class: "scale" }, duration(longest)),
    ...shown.map((run, index) => bar(run, first + index, longest)));
}

/** @param {any} run @param {number} index @param {number} longest */
function bar(run, index, longest) {
  const height = LEAST + ((took(run) ?? 0) / longest) * (HEIGHT - LEAST - 4);
  const x = index * BAR + 3;
  return svg("g", { class: `bar status-${run.status}`, onclick: () => openRun(run.id) },
    svg("title", {}, `${exact(run.created_at)}: ${run.status}, ${duration(took(run) ?? 0)}`),
    svg("rect", { x: index * BAR, y: 0, width: BAR, height: HEIGHT + 20, class: "area" }),
    svg("rect", { x, y: HEIGHT - height, width: BAR - 6, height, rx: 2 }),
    svg("text", { x: x + (BAR - 6) / 2, y: HEIGHT + 16, "text-anchor": "middle" }, SHAPES[run.status] ?? "?"));
}

/** @param {string} id */
export function openRun(id) {
  opened.add(id);
  if (runs.findIndex((run) => run.id === id) >= rows) rows = SHOWN;
  draw();
  document.querySelector(`[data-key="run-${CSS.escape(id)}"]`)?.scrollIntoView({ block: "center" });
}

/** @param {any} run */
function row(run) {
  const isOpen = opened.has(run.id);
  const toggle = el("button", {
    type: "button", class: "quiet small toggle", "aria-expanded": String(isOpen), "data-key": `run-${run.id}`,
    onclick: () => { if (!opened.delete(run.id)) opened.add(run.id); draw(); },
  }, brief(run.created_at));
  const ms = took(run);
  return el("tr", {},
    el("td", {}, toggle),
    el("td", {}, statusLabel(run.status)),
    el("td", { "data-label": "Begun by", class: "key" }, `${run.trigger}, ${run.actor}`),
    el("td", { "data-label": "Result", class: "key" }, resultOf(run)),
    el("td", { "data-label": "Took", class: "number" }, ms === null ? "–" : duration(ms)));
}

/** @param {any} run */
function resultOf(run) {
  if (run.error) return run.error.code;
  if (run.held) return `${run.held.absent} of ${run.held.active} absent${run.held.repointed ? `, ${run.held.repointed} repointed` : ""}`;
  const counts = Object.entries(run.counts ?? {}).filter(([, count]) => count > 0);
  return counts.map(([name, count]) => `${count} ${name}`).join(", ") || "–";
}

/** @param {any} run */
function details(run) {
  const facts = [
    ["Run", el("code", {}, run.id)],
    ["Due at", run.scheduled_for],
    ["Started", run.started_at && exact(run.started_at)],
    ["Ended", run.finished_at && exact(run.finished_at)],
    ["Source", run.source],
    ["Asked for", Object.keys(run.options ?? {}).length ? el("code", {}, JSON.stringify(run.options)) : null],
    ["Attempt", run.attempt > 1 ? run.attempt : null],
    ["Spent", [["fetch", run.fetch_ms], ["plan", run.plan_ms], ["apply", run.apply_ms]]
      .filter(([, ms]) => ms !== null && ms !== undefined).map(([name, ms]) => `${name} ${duration(ms)}`).join(", ")],
    ["List (sha256)", run.upstream_sha256 && el("code", {}, run.upstream_sha256)],
    ["Task", run.task_id && el("code", {}, run.task_id)],
    ["Request", run.request_id && el("code", {}, run.request_id)],
  ];
  const changes = el("div", {});
  showChanges(run, changes);
  return el("tr", { class: "details" }, el("td", { colspan: 5 },
    run.error && el("p", { class: "note bad" }, `${run.error.code}: ${run.error.detail ?? ""}`),
    run.held && heldNote(run, run.id === waiting),
    el("dl", {}, ...facts.filter(([, value]) => value).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
    run.errors?.length ? rejected(run.errors) : null,
    changes));
}

/** @param {any[]} errors */
export function rejected(errors) {
  return el("div", {}, el("h3", {}, plural(errors.length, "entry that could not be taken", "entries that could not be taken")),
    el("ul", {}, ...errors.map(({ id, name, reason }) => el("li", {}, `${[id, name].filter((part) => part !== null).join(" ") || "?"}: ${reason}`))));
}

/** @param {any} run @param {HTMLElement} place */
async function showChanges(run, place) {
  if (!run.links?.changes || !ENDED.has(run.status)) return;
  let found = changesOf.get(run.id);
  if (!found) {
    try {
      found = /** @type {any[]} */ ((await ask(`${run.links.changes}&limit=1000`)).data.changes);
      changesOf.set(run.id, found);
    } catch (error) {
      show(place, el("p", {}, error instanceof ApiError ? cause(error) : String(error)));
      return;
    }
  }
  show(place, found.length ? changeList(found) : el("p", {}, "Nothing changed."));
}

/** @param {any[]} changes */
export function changeList(changes) {
  return el("div", {}, el("h3", {}, plural(changes.length, "change")),
    el("ul", { class: "changes" }, ...changes.map((change) =>
      el("li", {}, kindLabel(change.kind), " ", el("code", {}, change.model_key), comparison(change)))));
}

byId("runs-more").addEventListener("click", () => { rows = SHOWN; draw(); });
