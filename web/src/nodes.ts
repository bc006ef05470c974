// What is done to the nodes of an answer's Markdown: times and entries of boxes become things to point at, code and tables get
// their buttons.
import { clock, findMarks, findMoments } from "./found";
import { t, type Key } from "./i18n";
import { copyText, download } from "./media";
import { rowsToCsv, rowsToJson } from "./table";

function textsOf(root: Node): Text[] {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const texts: Text[] = [];
  while (walker.nextNode()) texts.push(walker.currentNode as Text);
  return texts;
}

function button(text: string, className: string, onClick: () => void): HTMLButtonElement {
  const one = document.createElement("button");
  one.type = "button";
  one.className = className;
  one.textContent = text;
  one.addEventListener("click", onClick);
  return one;
}

/** Times become buttons. */
export function linkTimes(root: Node, length: number, onJump: (seconds: number) => void) {
  for (const text of textsOf(root)) {
    const moments = findMoments(text.data, length);
    if (moments.length === 0 || text.parentElement?.closest("pre, button")) continue;
    const nodes: Node[] = [];
    let at = 0;
    for (const m of moments) {
      nodes.push(document.createTextNode(text.data.slice(at, m.begin)));
      const one = button(text.data.slice(m.begin, m.end), "time", () => onJump(m.seconds));
      one.title = t("moments.jump", clock(m.seconds));
      nodes.push(one);
      at = m.end;
    }
    nodes.push(document.createTextNode(text.data.slice(at)));
    text.replaceWith(...nodes);
  }
}

/** Entries of boxes and points become spans that know which mark they are, however many nodes each goes through. */
export function linkEntries(root: Element) {
  const marks = findMarks(root.textContent ?? "");
  let begin = 0;
  for (const text of textsOf(root)) {
    const end = begin + text.length;
    const nodes: Node[] = [];
    let at = begin;
    for (const m of marks) {
      const [from, to] = [Math.max(m.begin, begin), Math.min(m.end, end)];
      if (from >= to) continue;
      nodes.push(document.createTextNode(text.data.slice(at - begin, from - begin)));
      const span = document.createElement("span");
      span.className = "entry";
      span.dataset["mark"] = String(m.index);
      span.textContent = text.data.slice(from - begin, to - begin);
      nodes.push(span);
      at = to;
    }
    if (nodes.length > 0) text.replaceWith(...nodes, document.createTextNode(text.data.slice(at - begin)));
    begin = end;
  }
}

/** A button that says for a moment that it has copied. */
function copyButton(label: Key, textOf: () => string): HTMLButtonElement {
  const one = button(t(label), "quiet", () => void copyText(textOf()).then(() => {
    one.textContent = t("turn.copied");
    setTimeout(() => (one.textContent = t(label)), 1500);
  }));
  return one;
}

function tableTools(table: HTMLTableElement): HTMLElement {
  const rows = () => [...table.rows].map((row) => [...row.cells].map((cell) => cell.innerText.trim()));
  const tools = document.createElement("div");
  tools.className = "tools";
  tools.append(
    copyButton("table.copy", () => rows().map((row) => row.join("\t")).join("\n")),
    button(t("table.csv"), "quiet", () => download("table.csv", "text/csv", rowsToCsv(rows()))),
    button(t("table.json"), "quiet", () => download("table.json", "application/json", rowsToJson(rows()))),
  );
  return tools;
}

/** Copying for code, copying and saving for tables. */
export function addTools(fragment: DocumentFragment) {
  for (const pre of fragment.querySelectorAll("pre")) {
    const frame = document.createElement("div");
    frame.className = "code";
    pre.replaceWith(frame);
    pre.tabIndex = 0; // it scrolls
    frame.append(pre, copyButton("code.copy", () => pre.textContent ?? ""));
  }
  for (const table of fragment.querySelectorAll("table")) {
    const frame = document.createElement("div");
    frame.className = "grid";
    table.replaceWith(frame);
    const scroll = document.createElement("div");
    scroll.className = "scroll";
    scroll.tabIndex = 0;
    scroll.append(table);
    frame.append(scroll, tableTools(table));
  }
}
