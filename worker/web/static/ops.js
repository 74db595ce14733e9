// @ts-check
/** The page `/ops`: what keeps each of its sections up to date. */

import { ApiError, access, currentToken, open } from "./api.js";
import { byId, el, show } from "./dom.js";
import { failedRuns, showAlerts } from "./ops-alerts.js";
import "./ops-callers.js";
import { DAYS, showOpen, showUsage } from "./ops-chats.js";
import { knowUsage, onSaved } from "./ops-edit.js";
import "./ops-find.js";
import { bringChanges, knowModels, newestChanges, showChanges } from "./ops-ledger.js";
import { heldNote, onApplyAnyway } from "./ops-held.js";
import { onModelEdit, showAnswer, showModels } from "./ops-models.js";
import { MARKS, partStates } from "./ops-parts.js";
import { previewHeld } from "./ops-refresh.js";
import { watchRole } from "./ops-role.js";
import { SHOWN, openRun, showRuns, underWay } from "./ops-runs.js";
import { Watch } from "./poll.js";
import { offerToken } from "./token.js";
import { ago, exact } from "./words.js";

const PACE = { busy: 1000, runs: 3000, listing: 3000, ready: 10000, ledger: 5000, chats: 5000, usage: 15000 };

/** @type {any} */ let listing = null;
/** @type {any} */ let ready = null;
/** @type {any[]} */ let runs = [];
/** @type {any} */ let undecided = null;
/** @type {any[]} */ let catalogue = [];

offerToken();
onApplyAnyway(previewHeld);
onModelEdit(() => { models.now(); ledger.now(); });
onSaved((words) => { showAnswer(words); models.now(); ledger.now(); });
watchRole(alarm);

const ledger = new Watch(bringChanges, { every: PACE.ledger, note: byId("ledger-note"), take: () => { showChanges(); alarm(); } });

// The listing carries an ETag, so asking costs a 304; provenance is fetched when the listing has changed.
const models = new Watch(async () => (await open("/api/llms?provenance=1&all=1")).text(), {
  every: 10 * 60000, note: byId("models-note"), take: (text) => {
    catalogue = JSON.parse(text).models;
    showModels(catalogue);
    knowModels(catalogue);
    alarm();
  },
});
new Watch("/api/llms", { every: PACE.listing, note: byId("fresh-note"), take: (text) => {
  listing = JSON.parse(text);
  showFreshness();
  models.now();
  ledger.now();
} });

new Watch(readiness, { every: PACE.ready, note: byId("ready-note"), take: (text) => { ready = JSON.parse(text); showFreshness(); } });

const watchRuns = new Watch(`/api/llms/runs?limit=${SHOWN}`, { every: PACE.runs, note: byId("runs-note"), take: (text) => {
  ({ runs, undecided } = JSON.parse(text));
  watchRuns.every = underWay(runs) ? PACE.busy : PACE.runs;
  showRuns(runs, undecided);
  showHeld();
  showFreshness();
  ledger.now();
} });

new Watch(`/api/llms/usage?days=${DAYS}`, { every: PACE.usage, note: byId("usage-note"), take: (text) => {
  const { usage } = JSON.parse(text);
  showUsage(usage);
  knowUsage(usage);
} });
new Watch("/metrics", { every: PACE.chats, note: byId("states-note"), take: showOpen });

/** `/readyz`, also when it says that the server is not ready. */
async function readiness() {
  try {
    return await (await open("/readyz")).text();
  } catch (error) {
    if (error instanceof ApiError && error.body?.parts) return JSON.stringify(error.body);
    throw error;
  }
}

/** Say what needs a person. */
function alarm() {
  showAlerts({ runs, listing, ready, models: catalogue, changes: newestChanges() }, Boolean(undecided), openRun);
}

function showFreshness() {
  alarm();
  if (listing) {
    const label = byId("fresh-state");
    const [word, status] = freshness();
    label.textContent = word;
    label.className = `chip big ${status}`;
    moment("fresh-last", listing.lastSynced, "never");
    byId("fresh-source").textContent = listing.source ?? "–";
    byId("fresh-count").textContent = String(listing.count);
    byId("fresh-default").textContent = listing.defaultModel ?? "none";
  }
  const parts = ready?.parts;
  if (!parts) return;
  moment("fresh-next", parts.schedule?.next, "unknown");
  byId("fresh-cron").textContent = parts.schedule ? `${parts.schedule.cron} (${parts.schedule.timezone})` : "";
  show(byId("parts"), ...partStates(parts).map(([name, state, detail]) =>
    el("li", { class: `part-${state}` }, el("span", { "aria-hidden": "true" }, MARKS[state]), `${name}: ${detail}`)));
}

/** @param {string} id @param {string | null | undefined} at @param {string} otherwise */
function moment(id, at, otherwise) {
  show(byId(id), at ? el("time", { datetime: at, title: exact(at) }, ago(at)) : otherwise);
}

/** A list that waits for a decision stands at the top, whatever has failed since. */
function showHeld() {
  const place = byId("held");
  place.hidden = !undecided;
  show(place, undecided ? heldNote(undecided, true) : null);
}

/** How the catalogue is, as a word and a colour. @returns {[string, string]} */
function freshness() {
  if (listing.stale) return ["Stale", "status-failed"];
  if (failedRuns(runs).length) return ["Failing", "status-failed"];
  return undecided ? ["Held", "status-held"] : ["Fresh", "status-succeeded"];
}

setInterval(showFreshness, 15000); // "5 minutes ago" grows older by itself

const flower = byId("flower");
flower.href = `${location.protocol}//${location.hostname}:${flower.dataset.port}/`;
// A link cannot carry the token: with one, the figures are fetched and shown from here.
byId("metrics").addEventListener("click", async (/** @type {Event} */ event) => {
  if (!currentToken()) return;
  event.preventDefault();
  try {
    const figures = await (await open("/metrics")).blob();
    window.open(URL.createObjectURL(new Blob([figures], { type: "text/plain" })), "_blank");
  } catch (error) {
    if (!(error instanceof ApiError)) throw error; // what is wrong stands in the section of the chats already
  }
});
access.addEventListener("token", showFreshness);
