// Formulas by KaTeX; loaded when the first one comes.
import katex from "katex";
import "katex/dist/katex.min.css";

export function setFormula(at: HTMLElement) {
  const tex = at.dataset["tex"] ?? "";
  delete at.dataset["tex"];
  katex.render(tex, at, { displayMode: at.classList.contains("block"), throwOnError: false, trust: false, maxExpand: 200, maxSize: 20 });
}
