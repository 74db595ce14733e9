// @ts-check
/** Keeping a section of a page up to date without reloading it: quietly, and not while nobody looks. */

import { ApiError, access, open } from "./api.js";
import { show } from "./dom.js";
import { cause } from "./words.js";

const ABSENT_MS = 60000; // a route that this server does not have may come with an update
const TROUBLE_MS = 5000;

/** @type {Set<Watch>} */
const watches = new Set();

/** One address, asked again and again; `take` gets its text when it is another than before. */
export class Watch {
  #last = "";
  #timer = 0;
  #asking = false;
  #again = false;

  /**
   * @param {string | (() => Promise<string>)} source an address, or a function that brings the text
   * @param {{every: number, note: HTMLElement, take: (text: string) => void}} options `note` tells what is wrong
   */
  constructor(source, { every, note, take }) {
    this.every = every;
    this.note = note;
    this.#take = take;
    this.#bring = typeof source === "function" ? source : async () => (await open(source)).text();
    watches.add(this);
    this.now();
  }

  /** @type {(text: string) => void} */ #take;
  /** @type {() => Promise<string>} */ #bring;

  /** Ask now, and then again at the usual pace. @returns {Promise<void>} */
  async now() {
    if (this.#asking) {
      this.#again = true; // what is being asked may be older than what the caller wants to see
      return;
    }
    clearTimeout(this.#timer);
    if (document.hidden) return; // it goes on when the page is looked at again
    this.#asking = true;
    let wait = this.every;
    try {
      const text = await this.#bring();
      this.#showNote("");
      if (text !== this.#last) this.#take(text);
      this.#last = text;
      wait = this.every; // `take` may have changed it
    } catch (error) {
      wait = this.#refused(error);
    }
    this.#asking = false;
    if (this.#again) {
      this.#again = false;
      return this.now();
    }
    if (wait) this.#timer = window.setTimeout(() => this.now(), wait);
  }

  /** What is wrong is said in the section; returns when to ask again. @param {unknown} error */
  #refused(error) {
    if (!(error instanceof ApiError)) {
      console.error(error);
      this.#showNote("This could not be read.");
      return TROUBLE_MS;
    }
    if (error.status === 404) this.#showNote("Not offered by this server.");
    else if (error.status === 401) this.#showNote("Needs a token.");
    else if (error.status === 0) this.#showNote("Not up to date: the server cannot be reached.");
    else this.#showNote(cause(error));
    if (error.status === 401 || error.status === 403) return 0; // until another token is given
    return error.status === 404 ? ABSENT_MS : TROUBLE_MS;
  }

  #showNote(/** @type {string} */ text) {
    if (this.note.textContent === text) return;
    show(this.note, text);
    this.note.hidden = !text;
  }
}

/** Ask for everything now. */
export function askAll() {
  for (const watch of watches) watch.now();
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) askAll(); });
window.addEventListener("online", askAll);
access.addEventListener("token", askAll);
