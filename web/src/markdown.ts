// An answer's Markdown as nodes. The text is the model's, so nobody's: marked makes HTML of it, DOMPurify takes out all but
// a short list of elements, and what is left enters the page as a fragment, here and nowhere else. Pictures are not loaded:
// an address can carry away what was said. Code is coloured and formulas are set by parts of the page that load when needed.
import DOMPurify from "dompurify";
import { Marked } from "marked";

const marked = new Marked({ gfm: true, breaks: true, async: false });

const ALLOWED = {
  ALLOWED_TAGS: ["p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre", "code", "em",
    "strong", "del", "a", "table", "thead", "tbody", "tr", "th", "td", "sup", "sub", "input"],
  ALLOWED_ATTR: ["href", "class", "align", "start", "type", "checked", "disabled"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  RETURN_DOM_FRAGMENT: true as const,
};

/** Formulas are kept away from Markdown, whose signs they use. */
const FORMULA = /\$\$([\s\S]+?)\$\$|\\\[([\s\S]+?)\\\]|\\\((.+?)\\\)|(?<![\\$\w])\$(?!\s)([^$\n]+?)(?<!\s)\$(?![\d$])/g;
const FENCED = /(```[\s\S]*?(?:```|$)|`[^`\n]+`)/;

interface Formula {
  source: string;
  tex: string;
  isBlock: boolean;
}

function takeFormulas(text: string): { text: string; formulas: Formula[] } {
  const formulas: Formula[] = [];
  const parts = text.split(FENCED).map((part, i) => {
    if (i % 2 === 1) return part;
    return part.replace(FORMULA, (source, dollars?: string, block?: string, inline?: string, dollar?: string) => {
      const tex = dollars ?? block ?? inline ?? dollar ?? "";
      formulas.push({ source, tex, isBlock: dollars !== undefined || block !== undefined });
      return `\uE000${formulas.length - 1}\uE001`;
    });
  });
  return { text: parts.join(""), formulas };
}

function putFormulas(root: DocumentFragment, formulas: Formula[]) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const texts: Text[] = [];
  while (walker.nextNode()) texts.push(walker.currentNode as Text);
  for (const text of texts) {
    const parts = text.data.split(/\uE000(\d+)\uE001/);
    if (parts.length === 1) continue;
    const nodes = parts.map((part, i) => {
      if (i % 2 === 0) return document.createTextNode(part);
      const formula = formulas[Number(part)];
      const span = document.createElement("span");
      if (!formula) return span;
      span.className = formula.isBlock ? "formula block" : "formula";
      span.textContent = formula.source;
      span.dataset["tex"] = formula.tex;
      return span;
    });
    text.replaceWith(...nodes);
  }
}

export function renderMarkdown(text: string): DocumentFragment {
  const { text: bare, formulas } = takeFormulas(text.replace(/[\uE000\uE001]/g, ""));
  const fragment = DOMPurify.sanitize(marked.parse(bare) as string, ALLOWED);
  if (formulas.length > 0) putFormulas(fragment, formulas);
  for (const link of fragment.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
  }
  for (const box of fragment.querySelectorAll("input")) {
    if (box.type === "checkbox") box.disabled = true;
    else box.remove();
  }
  return fragment;
}

/** What ends nowhere yet may still reach backwards: a formula over several blocks. */
const OPEN_FORMULA = /\$\$|\\\[/;

/** How much of a growing text no further text changes: blocks behind which a blank line and a whole line of the next one stand.
 *  (But for addresses that are defined further down: hasDefinitions.) */
export function finishedPart(text: string): number {
  if (/[\r\uE000\uE001]/.test(text)) return 0;
  const { text: bare, formulas } = takeFormulas(text);
  const sourceLength = (part: string) => part.replace(/\uE000(\d+)\uE001/g, (_, i: string) => formulas[Number(i)]?.source ?? "").length;
  let at = 0;
  let finished = 0;
  for (const token of marked.lexer(bare)) {
    if (token.type !== "space" && /\n[ \t]*\n$/.test(bare.slice(0, at)) && bare.indexOf("\n", at) >= 0) finished = at;
    if (token.type !== "code" && OPEN_FORMULA.test(token.raw)) break;
    at += token.raw.length;
  }
  return sourceLength(bare.slice(0, finished));
}

/** Whether addresses stand apart from their links, which only the whole text brings together. */
export function hasDefinitions(text: string): boolean {
  return /^ {0,3}\[[^\]\n]+\]:/m.test(text);
}

/** Colours code and sets formulas in nodes that are on the page; loads what it takes the first time. */
export async function decorate(nodes: Element[]): Promise<void> {
  const find = (selector: string) => nodes.flatMap((one) =>
    [...(one.matches(selector) ? [one] : []), ...one.querySelectorAll(selector)] as HTMLElement[]);
  const formulas = find(".formula[data-tex]");
  const blocks = find("pre > code");
  if (formulas.length > 0) {
    const { setFormula } = await import("./formulas");
    for (const one of formulas) setFormula(one);
  }
  if (blocks.length > 0) {
    const { colour } = await import("./code");
    for (const one of blocks) colour(one);
  }
}
