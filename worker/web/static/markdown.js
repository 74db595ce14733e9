// @ts-check
/** Elements for the tree that the server makes of an answer: created one by one, their text set as text. */

import { copyButton } from "./copy.js";
import { el } from "./dom.js";

const SCHEMES = new Set(["http:", "https:", "mailto:"]);
const SHOWN_ADDRESS = 120; // characters; the whole address stands in the link's title

/**
 * @typedef {{kind: string, text?: string, level?: number, ordered?: boolean, start?: number, language?: string,
 *   head?: boolean, align?: string, href?: string, children?: MarkdownNode[]}} MarkdownNode
 */

/** @type {Record<string, (node: MarkdownNode) => (string | Node)[]>} */
const ELEMENTS = {
  paragraph: (node) => [el("p", {}, ...inside(node))],
  // Below the page's own headings.
  heading: (node) => [el(/** @type {"h3"} */ (`h${Math.min(6, (node.level ?? 1) + 2)}`), {}, ...inside(node))],
  list: (node) => [node.ordered ? el("ol", { start: node.start }, ...inside(node)) : el("ul", {}, ...inside(node))],
  item: (node) => [el("li", {}, ...inside(node))],
  quote: (node) => [el("blockquote", {}, ...inside(node))],
  rule: () => [el("hr")],
  code: (node) => [codeBlock(node.text ?? "", node.language ?? "")],
  table: (node) => [table(node.children ?? [])],
  text: (node) => [node.text ?? ""],
  strong: (node) => [el("strong", {}, ...inside(node))],
  emphasis: (node) => [el("em", {}, ...inside(node))],
  strike: (node) => [el("s", {}, ...inside(node))],
  code_span: (node) => [el("code", {}, node.text)],
  link: link,
};

/** The elements of these nodes; a kind that is not known here (from a newer server) shows what is in it. @param {MarkdownNode[]} nodes */
export function elementsOf(nodes) {
  return nodes.flatMap((node) => (Object.hasOwn(ELEMENTS, node.kind) ? ELEMENTS[node.kind](node) : inside(node)));
}

/** @param {MarkdownNode} node @returns {(string | Node)[]} */
function inside(node) {
  return node.children ? elementsOf(node.children) : [node.text ?? ""];
}

/** A link beside its address, so that its words cannot lie about where it leads. @param {MarkdownNode} node */
function link(node) {
  const words = inside(node), href = node.href ?? "";
  if (!allowed(href)) return words;
  const anchor = el("a", { href, title: href, target: "_blank", rel: "noopener noreferrer nofollow" }, ...words);
  const address = href.replace(/^mailto:/i, "");
  if ([href, address, `${href}/`].includes(anchor.textContent ?? "")) return [anchor];
  const shown = address.length > SHOWN_ADDRESS ? `${address.slice(0, SHOWN_ADDRESS)}…` : address;
  return [el("bdi", {}, anchor), " ", el("small", { class: "address", dir: "ltr" }, `(${shown})`)];
}

/** Whether it leads out by a scheme that runs nothing. The server has checked it, too. @param {string} href */
function allowed(href) {
  try {
    return SCHEMES.has(new URL(href).protocol);
  } catch {
    return false; // a relative one would lead into this server
  }
}

/** @param {string} text @param {string} language */
function codeBlock(text, language) {
  const label = language ? `Code: ${language}` : "Code";
  return el("div", { class: "code" },
    el("div", { class: "row" }, el("small", {}, language || "Code"), copyButton(text, "Copy code")),
    el("pre", { tabindex: 0, role: "group", "aria-label": label }, el("code", {}, text)));
}

/** @param {MarkdownNode[]} rows */
function table(rows) {
  const shown = rows.map((row) => el("tr", {}, ...(row.children ?? []).map(cell)));
  const heads = rows.findIndex((row) => !row.children?.some((each) => each.head));
  const split = heads < 0 ? rows.length : heads;
  return el("div", { class: "wide", tabindex: 0, role: "group", "aria-label": "Table" },
    el("table", {}, el("thead", {}, ...shown.slice(0, split)), el("tbody", {}, ...shown.slice(split))));
}

/** @param {MarkdownNode} node */
function cell(node) {
  const align = ["left", "center", "right"].includes(node.align ?? "") ? node.align : undefined;
  return el(node.head ? "th" : "td", { class: align, scope: node.head ? "col" : undefined }, ...inside(node));
}
