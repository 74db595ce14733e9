// @ts-check
/** One question and its answer as the conversation shows them. */

import { copyButton } from "./copy.js";
import { el } from "./dom.js";
import { elementsOf } from "./markdown.js";
import { cause, duration, fallbackReason, sentence } from "./words.js";

const SHOWN_CHARS = 1500; // of a question; the rest on request

export class TurnView {
  constructor() {
    this.asked = el("div", { class: "asked", dir: "auto" });
    this.who = el("h2", { class: "who" }, "Answer");
    this.notice = el("p", { class: "note warn", hidden: true });
    this.answer = el("div", { class: "answer", dir: "auto", hidden: true });
    this.foot = el("div", { class: "row foot" });
    this.theirs = el("section", { class: "theirs", hidden: true }, this.who, this.notice, this.answer, this.foot);
    const mine = el("section", { class: "mine" }, el("h2", { class: "who" }, "You"), this.asked);
    this.element = el("article", { class: "turn", "aria-label": "Question and answer" }, mine, this.theirs);
  }

  /** Take what a former try has left. */
  clear() {
    this.theirs.hidden = this.notice.hidden = this.answer.hidden = true;
    this.who.textContent = "Answer";
    this.notice.textContent = "";
    this.answer.replaceChildren();
    this.foot.replaceChildren();
    this.theirs.querySelector(".note.bad")?.remove();
  }

  /** @param {string} text */
  question(text) {
    this.asked.textContent = text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}…` : text;
    if (text.length <= SHOWN_CHARS) return;
    const more = el("button", { type: "button", class: "small", onclick: () => { this.asked.textContent = text; } }, "Show all of it");
    this.asked.append(" ", more);
  }

  /** Which model answers, and why another one than was asked for. @param {any} used */
  model(used) {
    this.who.textContent = used.name ?? used.key;
    const words = used.fallback === true
      ? `${used.name ?? used.key} answers instead of ${used.requested ?? "the model that was asked for"}: ${fallbackReason(used)}.`
      : "";
    if (this.notice.textContent !== words) this.notice.textContent = words; // a repeated text would be read out again
    this.notice.hidden = !words;
    if (words) this.theirs.hidden = false;
  }

  /**
   * The answer, formatted; or as it is, where there is no tree of it.
   * @param {any} chat @param {import("./markdown.js").MarkdownNode[] | null} blocks
   */
  answered(chat, blocks) {
    const text = chat.answer ?? "";
    this.answer.classList.toggle("plain", blocks === null);
    this.answer.replaceChildren(...(blocks === null ? [text] : elementsOf(blocks)));
    this.foot.replaceChildren(el("small", {}, factsOf(chat)), copyButton(text, "Copy answer"));
    this.answer.hidden = this.theirs.hidden = false;
  }

  /** What went wrong; `now`: it is announced. @param {{code?: string, detail?: string}} error @param {boolean} now */
  trouble(error, now) {
    const words = cause(error);
    const detail = error.detail && sentence(error.detail) !== words ? error.detail : "";
    const more = detail ? [el("br"), el("small", {}, detail)] : [];
    this.theirs.querySelector(".note.bad")?.remove();
    this.foot.before(el("p", { class: "note bad", role: now ? "alert" : undefined }, words, ...more));
    this.theirs.hidden = false;
  }

  /** What there is to say in place of an answer. @param {string} text */
  note(text) {
    this.foot.replaceChildren(el("small", {}, text));
    this.theirs.hidden = false;
  }
}

/** @param {any} chat */
function factsOf(chat) {
  const facts = [`${chat.model.name ?? chat.model.key} (id ${chat.model.matcha_llm_id})`];
  if (chat.timings?.upstream_ms != null) facts.push(`the model took ${duration(chat.timings.upstream_ms)}`);
  if (chat.timings?.queued_ms > 500) facts.push(`waited ${duration(chat.timings.queued_ms)}`);
  if (chat.attempts > 1) facts.push(`attempt ${chat.attempts}`);
  return facts.join(" · ");
}
