// @ts-check
/** "Refresh now" and "Apply anyway": first what would change, then the change. */

import { ApiError, ask, pause } from "./api.js";
import { byId, el, show } from "./dom.js";
import { effectWords, heldModels, heldWords, wouldBeHeldWords } from "./ops-held.js";
import { mayAct } from "./ops-role.js";
import { changeList, rejected } from "./ops-runs.js";
import { askAll } from "./poll.js";
import { cause, plural, sentence } from "./words.js";

const dialog = byId("refresh-dialog"), title = byId("refresh-title"), body = byId("refresh-body");
const state = byId("refresh-state"), apply = byId("refresh-apply"), close = byId("refresh-close");

/** @type {string | null} the held list's sha256 that is to be applied */ let force = null;
/** @type {import("./ops-held.js").Held | null} what the held run keeps */ let wanted = null;
let round = 0;

/** Preview a refresh. */
export function previewRefresh() {
  begin("Refresh now", null, null);
}

/** Preview what applying a held list would do. @param {any} run */
export function previewHeld(run) {
  begin("Apply the held list", run.held.sha256, run.held);
}

/** @param {string} heading @param {string | null} sha256 @param {import("./ops-held.js").Held | null} held @param {string} [note] */
async function begin(heading, sha256, held, note) {
  const mine = ++round;
  force = sha256;
  wanted = held;
  title.textContent = heading;
  apply.hidden = true;
  if (!dialog.open) dialog.showModal();
  say("Asking for the list, to see what would change…");
  try {
    const plan = await outcome({ dryRun: true, ...(force ? { force } : {}) }, () => mine !== round);
    if (mine !== round) return;
    // What was held is not listed any more, and what is listed instead needs no force.
    if (plan?.code === "force_refused") begin("Refresh now", null, null, "The held list is gone: what is listed now is not held.");
    else showPlan(plan, note);
  } catch (error) {
    if (mine === round) fail(error);
  }
}

/**
 * How a refresh ends, however long it takes. Raises ApiError when it cannot be asked for.
 * @param {Record<string, unknown>} request @param {() => boolean} forgotten
 */
async function outcome(request, forgotten) {
  let answer;
  try {
    answer = await ask("/api/llms/refresh", { method: "POST", body: request });
  } catch (error) {
    if (error instanceof ApiError && error.body?.syncResults) return error.body; // held or failed: told in the body
    throw error;
  }
  if (answer.status !== 202) return answer.data;
  const { links } = answer.data;
  for (;;) {
    await pause(1000);
    if (forgotten()) return null;
    const { data } = await ask(links.run ?? links.task);
    if (links.run) {
      if (data.finished_at) return { status: data.status, syncResults: { ...data.counts, errors: data.errors }, held: data.held, ...data.error };
    } else if (data.result) {
      return { ...data.result, syncResults: { ...data.result.counts, errors: data.result.errors }, dryRun: true, ...data.result.error };
    }
  }
}

/** @param {any} plan @param {string} [note] */
function showPlan(plan, note) {
  if (plan.status === "failed") return showOutcome(plan);
  const { held, plan: changes = [], syncResults } = plan;
  const parts = [note && el("p", { class: "note" }, note)];
  if (held || force) {
    const lost = held ?? wanted;
    parts.push(el("p", { class: "note warn" },
      held && force ? `The list is not the one that was held any more. ${wouldBeHeldWords(held)} ` : held ? `${wouldBeHeldWords(held)} ` : "",
      effectWords(syncResults ?? {}, changes, lost)), lost && heldModels(lost));
    if (held) force = held.sha256;
  }
  say(`${countsOf(syncResults)}. Nothing has been changed yet.`);
  if (syncResults?.errors?.length) parts.push(rejected(syncResults.errors));
  if (changes.length) parts.push(changeList(changes));
  show(body, ...parts);
  apply.textContent = force ? "Apply anyway" : changes.length ? `Apply ${plural(changes.length, "change")}` : "Refresh all the same";
  apply.classList.toggle("danger", Boolean(force));
  apply.hidden = !mayAct();
  (force || apply.hidden ? close : apply).focus(); // what takes models away is not one key press away
}

apply.addEventListener("click", async () => {
  const mine = ++round;
  apply.hidden = true;
  close.focus();
  say("Refreshing…");
  try {
    const done = await outcome(force ? { force } : {}, () => mine !== round);
    if (mine === round) showOutcome(done);
  } catch (error) {
    if (mine === round) fail(error);
  } finally {
    askAll();
  }
});

/** @param {any} done */
function showOutcome(done) {
  const good = done.status === "succeeded" || done.status === "partial";
  const words = good ? `Refreshed: ${countsOf(done.syncResults)}.`
    : done.status === "held" ? heldWords(done.held)
      : `Failed: ${cause(done)} Nothing was changed.`;
  say("");
  show(body,
    el("p", { role: "status", class: `note ${good ? "good" : done.status === "held" ? "warn" : "bad"}` }, words,
      !good && done.detail && sentence(done.detail) !== cause(done) ? el("small", {}, el("br"), done.detail) : null),
    done.syncResults?.errors?.length ? rejected(done.syncResults.errors) : null);
}

/** @param {Record<string, any>} [counts] */
function countsOf(counts = {}) {
  const told = ["added", "updated", "deactivated", "reactivated", "failed", "unchanged"]
    .filter((name) => counts[name]).map((name) => `${counts[name]} ${name}`);
  return told.join(", ") || "no entries";
}

/** @param {unknown} error */
function fail(error) {
  const told = error instanceof ApiError ? cause(error) : String(error);
  say("");
  show(body, el("p", { role: "alert", class: "note bad" }, told,
    error instanceof ApiError && sentence(error.detail) !== told ? el("small", {}, el("br"), error.detail) : null));
}

/** What happens, which is read out; the long list of changes is not. @param {string} text */
function say(text) {
  state.textContent = text;
  state.hidden = !text;
  show(body);
}

close.addEventListener("click", () => dialog.close());
dialog.addEventListener("close", () => { round++; });
byId("refresh").addEventListener("click", previewRefresh);
