// @ts-check
/**
 * <llm-model-select>: a select that fills itself from GET /api/llms. One module, no dependencies.
 *
 *   <script type="module" src="/assets/llm-model-select.js"></script>
 *   <label for="model">Model</label> <llm-model-select id="model" name="model"></llm-model-select>
 *
 * Attributes: src, name, label, value, remember, disabled. Properties: token, value, model, models, defaultModel,
 * builtIn, texts. Method: reload(). Events: change {key, model}, models {models, defaultModel, builtIn, error}.
 *
 * @typedef {Record<string, number | boolean>} Capabilities
 * @typedef {{model_key: string, model_name: string, provider: string, capabilities: Capabilities,
 *   matcha_llm_id?: number, is_default?: boolean}} Model
 */

/** Shown only when the list cannot be had: the models of the catalogue's mapping. @type {Model[]} */
export const BUILT_IN = [
  { model_key: "claude-3-7-sonnet", model_name: "Claude 3.7 Sonnet", provider: "anthropic", is_default: true,
    capabilities: { context_window: 200000, supports_vision: false, supports_tools: true } },
  { model_key: "claude-3-5-sonnet", model_name: "Claude 3.5 Sonnet", provider: "anthropic", capabilities: {} },
  { model_key: "claude-3-opus-4-1", model_name: "Claude Opus 4.1", provider: "anthropic", capabilities: {} },
  { model_key: "gemini-2-5-flash-lite", model_name: "Gemini 2.5 Flash-Lite", provider: "google", capabilities: {} },
  { model_key: "gpt-4o", model_name: "GPT-4o", provider: "openai", capabilities: {} },
];

const TEXTS = {
  label: "Model",
  loading: "Loading models…",
  loaded: (/** @type {number} */ count) => `${count} models loaded`,
  none: "No model is available",
  failed: "The list of models cannot be loaded now. These are built in.",
  unauthenticated: "The list of models needs a token. These are built in.",
  wrongToken: "The token is not valid. These models are built in.",
  retry: "Load again",
  default: "default",
};

/** @type {Record<string, string>} */
const PROVIDERS = {
  ai21: "AI21", deepseek: "DeepSeek", moonshotai: "Moonshot AI", nvidia: "NVIDIA", openai: "OpenAI", xai: "xAI",
  zhipuai: "Zhipu AI", ibm: "IBM",
};

/** @type {[string, string, string][]} name, what is said of it, mark in the label */
const ABILITIES = [
  ["supports_vision", "sees images", "👁️"],
  ["supports_files", "takes files", "📎"],
  ["supports_tools", "calls tools", ""],
  ["supports_websearch", "searches the web", ""],
  ["supports_reasoning", "reasons first", ""],
  ["supports_audio", "hears audio", ""],
];

const FETCH_TIMEOUT_MS = 15000;

/** A maker's name as people write it. @param {string} provider */
export function providerName(provider) {
  return PROVIDERS[provider] ?? provider.charAt(0).toUpperCase() + provider.slice(1);
}

/** What is known that a model can do, in words. @param {Capabilities} [capabilities] @returns {string[]} */
export function abilities(capabilities = {}) {
  const words = ABILITIES.filter(([name]) => capabilities[name] === true).map(([, word]) => word);
  if (capabilities.context_window) words.push(`${capabilities.context_window.toLocaleString("en")} tokens of context`);
  return words;
}

/** The marks of a model's label. @param {Capabilities} [capabilities] */
export function marks(capabilities = {}) {
  return ABILITIES.filter(([name, , mark]) => mark && capabilities[name] === true).map(([, , mark]) => mark).join(" ");
}

const STYLES = `
  :host { display: inline-block; max-inline-size: 100%; }
  :host([hidden]) { display: none; }
  select {
    box-sizing: border-box; inline-size: 100%; min-block-size: 2.5rem; padding-inline: .6em;
    font: inherit; color: inherit; background: transparent; cursor: pointer;
    border: 1px solid var(--llm-model-select-border, currentColor); border-radius: var(--llm-model-select-radius, .4rem);
  }
  select:focus-visible { outline: 2px solid var(--llm-model-select-accent, Highlight); outline-offset: 2px; }
  select:disabled { cursor: default; opacity: .75; }
  option, optgroup { color: CanvasText; background: Canvas; }
  .failed { display: flex; flex-wrap: wrap; align-items: center; gap: .25em .75em; margin-block-start: .4em; font-size: .9em; }
  button { font: inherit; color: inherit; background: transparent; border: 1px solid currentColor; border-radius: .4rem;
    min-block-size: 1.9rem; padding-inline: .75em; cursor: pointer; }
  button:focus-visible { outline: 2px solid var(--llm-model-select-accent, Highlight); outline-offset: 2px; }
  .heard { position: absolute; inline-size: 1px; block-size: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
  [hidden] { display: none; }
`;

/** @type {CSSStyleSheet | undefined} */
let sheet;

/** Made by script, not as an inline style: a strict Content-Security-Policy of the page around it does not matter. */
function styles() {
  if (!sheet) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLES);
  }
  return sheet;
}

// A server that renders pages imports this too. It has no elements: there the module gives its words and no more.
const Base = globalThis.HTMLElement ?? /** @type {typeof HTMLElement} */ (class {});

export class LlmModelSelect extends Base {
  static formAssociated = true;
  static observedAttributes = ["src", "label", "aria-label", "disabled"];

  #internals = this.attachInternals();
  #select = document.createElement("select");
  #heard = document.createElement("span");
  #failed = document.createElement("div");
  #why = document.createElement("span");
  #retry = document.createElement("button");
  /** @type {Model[]} */ #models = [];
  /** @type {string | null} */ #defaultModel = null;
  /** @type {string | null} */ #wish = null;
  /** @type {string | null} */ #token = null;
  /** @type {AbortController | null} */ #loading = null;
  #builtIn = false;
  #disabled = false;
  #texts = TEXTS;

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open", delegatesFocus: true });
    root.adoptedStyleSheets = [styles()];
    this.#select.part.add("select");
    this.#heard.className = "heard";
    this.#heard.setAttribute("role", "status");
    this.#failed.className = "failed";
    this.#failed.part.add("failed");
    this.#failed.hidden = true;
    this.#retry.type = "button";
    this.#retry.part.add("retry");
    this.#retry.addEventListener("click", () => this.reload());
    this.#failed.append(this.#why, this.#retry);
    root.append(this.#select, this.#heard, this.#failed);
    this.#select.addEventListener("change", (event) => { event.stopPropagation(); this.#chosen(); });
    this.#select.addEventListener("focus", () => this.#name());
  }

  connectedCallback() {
    // A page may have set these before this module was loaded.
    for (const name of ["token", "value", "texts"]) {
      if (Object.prototype.hasOwnProperty.call(this, name)) {
        const self = /** @type {any} */ (this), value = self[name];
        delete self[name];
        self[name] = value;
      }
    }
    this.#wish ??= this.getAttribute("value");
    if (this.#models.length === 0) this.#showLoading();
    this.#load();
  }

  disconnectedCallback() {
    this.#loading?.abort();
    this.#loading = null;
  }

  attributeChangedCallback(/** @type {string} */ name, /** @type {string | null} */ before) {
    if (name === "disabled") this.formDisabledCallback(this.hasAttribute("disabled"));
    else if (name !== "src") this.#name();
    else if (before !== null && this.isConnected) this.reload();
  }

  formDisabledCallback(/** @type {boolean} */ disabled) {
    this.#disabled = disabled;
    this.#select.disabled = disabled || this.#models.length === 0;
  }

  formResetCallback() {
    this.#wish = this.getAttribute("value");
    this.#preselect();
  }

  formStateRestoreCallback(/** @type {string} */ value) {
    this.value = value;
  }

  /** The key of the chosen model; "" while there is none. A key that is not listed waits until it is. */
  get value() { return this.#models.length ? this.#select.value : ""; }
  set value(key) {
    this.#wish = key || null;
    if (this.#models.length) this.#preselect();
  }

  /** The chosen model, as listed. */
  get model() { return this.#models.find((model) => model.model_key === this.value) ?? null; }
  get models() { return this.#models; }
  get defaultModel() { return this.#defaultModel; }
  /** Whether the built-in list is shown, because the request failed. */
  get builtIn() { return this.#builtIn; }
  get name() { return this.getAttribute("name") ?? ""; }
  get form() { return this.#internals.form; }

  /** Sent as `Authorization: Bearer …`; never an attribute, so that it stands in no markup. */
  get token() { return this.#token; }
  set token(token) {
    if ((token || null) === this.#token) return;
    this.#token = token || null;
    if (this.isConnected) this.reload();
  }

  /** Words in another language: any of the texts above. */
  get texts() { return this.#texts; }
  set texts(/** @type {Partial<typeof TEXTS>} */ texts) {
    this.#texts = { ...TEXTS, ...texts };
    if (this.isConnected && this.#models.length === 0) this.#showLoading();
  }

  /** Ask for the list again. What is shown stays until the answer is there. */
  reload() {
    this.#failed.hidden = true;
    this.#heard.textContent = this.#texts.loading;
    return this.#load();
  }

  async #load() {
    this.#loading?.abort();
    const loading = (this.#loading = new AbortController());
    const timer = setTimeout(() => loading.abort(), FETCH_TIMEOUT_MS);
    // After this task: whoever made the element may set its token first.
    await Promise.resolve();
    let status = 0;
    try {
      /** @type {Record<string, string>} */
      const headers = { Accept: "application/json" };
      if (this.#token) headers.Authorization = `Bearer ${this.#token}`;
      const answer = await fetch(this.getAttribute("src") || "/api/llms", { headers, signal: loading.signal });
      status = answer.status;
      if (!answer.ok) throw new Error((await answer.json().catch(() => null))?.detail ?? `the server answered ${status}`);
      const data = await answer.json();
      if (!Array.isArray(data.models)) throw new Error("the answer holds no list of models");
      if (this.#loading === loading) this.#show(data.models, data.defaultModel, null);
    } catch (error) {
      if (this.#loading !== loading) return; // another request has taken its place
      if (this.#models.length && !this.#builtIn) return this.#heardNothingNew();
      this.#show(BUILT_IN, BUILT_IN[0].model_key, { status, message: error instanceof Error ? error.message : String(error) });
    } finally {
      clearTimeout(timer);
    }
  }

  /** A list that was good before is better than the built-in one. */
  #heardNothingNew() {
    this.#heard.textContent = "";
  }

  #showLoading() {
    this.#select.replaceChildren(new Option(this.#texts.loading, ""));
    this.#select.disabled = true;
    this.#select.setAttribute("aria-busy", "true");
    this.#name();
    this.#heard.textContent = this.#texts.loading;
  }

  /** @param {Model[]} models @param {string | null} defaultModel @param {{status: number, message: string} | null} error */
  #show(models, defaultModel, error) {
    const before = this.#models.length ? this.#select.value : null;
    this.#models = models;
    this.#defaultModel = defaultModel;
    this.#builtIn = error !== null;
    this.#select.replaceChildren(...(models.length ? this.#groups() : [new Option(this.#texts.none, "")]));
    this.#select.disabled = this.#disabled || models.length === 0;
    this.#select.removeAttribute("aria-busy");
    this.#why.textContent = this.#texts[error?.status !== 401 ? "failed" : this.#token ? "wrongToken" : "unauthenticated"];
    this.#retry.textContent = this.#texts.retry;
    this.#failed.hidden = error === null;
    this.#heard.textContent = error ? this.#why.textContent : models.length ? this.#texts.loaded(models.length) : this.#texts.none;
    this.#preselect(before);
    this.dispatchEvent(new CustomEvent("models", {
      bubbles: true, composed: true, detail: { models, defaultModel, builtIn: this.#builtIn, error },
    }));
  }

  #groups() {
    /** @type {Map<string, HTMLOptGroupElement>} */
    const groups = new Map();
    for (const model of this.#models) {
      const provider = model.provider || "other";
      let group = groups.get(provider);
      if (!group) groups.set(provider, (group = document.createElement("optgroup")));
      group.label = providerName(provider);
      const mark = marks(model.capabilities);
      const option = new Option(mark ? `${model.model_name} ${mark}` : model.model_name, model.model_key);
      option.dir = "auto";
      option.title = this.#inWords(model);
      group.append(option);
    }
    const other = groups.get("other");
    groups.delete("other");
    return other ? [...groups.values(), other] : [...groups.values()];
  }

  #inWords(/** @type {Model} */ model) {
    const labels = abilities(model.capabilities);
    if (model.model_key === this.#defaultModel) labels.unshift(this.#texts.default);
    return labels.length ? `${model.model_name}: ${labels.join(", ")}` : model.model_name;
  }

  /** The page's wish, else what was shown before, else what was chosen last time, else the default. */
  #preselect(/** @type {string | null} */ before = null) {
    const listed = (/** @type {string | null} */ key) => this.#models.some((model) => model.model_key === key);
    const remembered = this.#remembered();
    const key = [this.#wish, before, remembered, this.#defaultModel, this.#models[0]?.model_key ?? ""].find(listed) ?? "";
    if (remembered !== null && !listed(remembered) && this.#models.length && !this.#builtIn) this.#remember(null);
    this.#select.value = key;
    this.#announce();
  }

  #chosen() {
    this.#wish = this.#select.value;
    this.#remember(this.#select.value);
    this.#announce();
    const detail = { key: this.value, model: this.model };
    this.dispatchEvent(new CustomEvent("change", { bubbles: true, composed: true, detail }));
  }

  #announce() {
    this.#internals.setFormValue(this.value || null);
    const model = this.model;
    this.#select.title = model ? this.#inWords(model) : "";
  }

  #name() {
    const labels = [...this.#internals.labels].map((label) => label.textContent?.trim()).filter(Boolean).join(" ");
    const name = this.getAttribute("label") || this.getAttribute("aria-label") || labels || this.#texts.label;
    this.#select.setAttribute("aria-label", name);
  }

  get #place() {
    const place = this.getAttribute("remember") ?? "llm-model-select";
    return place === "off" ? null : place;
  }

  #remembered() {
    try {
      return this.#place && localStorage.getItem(this.#place);
    } catch {
      return null; // storage may be forbidden
    }
  }

  #remember(/** @type {string | null} */ key) {
    try {
      if (!this.#place) return;
      if (key === null) localStorage.removeItem(this.#place);
      else localStorage.setItem(this.#place, key);
    } catch {
      // storage may be forbidden or full: then the choice lasts as long as the page
    }
  }
}

if (globalThis.customElements && !customElements.get("llm-model-select")) {
  customElements.define("llm-model-select", LlmModelSelect);
}
