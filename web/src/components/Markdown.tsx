// Markdown on the page. While a text grows, only its last block is made anew; what stands before it stays as it is.
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { language } from "../i18n";
import { decorate, finishedPart, hasDefinitions, renderMarkdown } from "../markdown";
import { addTools, linkEntries, linkTimes } from "../nodes";

interface Props {
  text: string;
  isDone: boolean;
  clip?: { length: number; onJump: (seconds: number) => void } | undefined;
  active?: number | null; // the mark whose entry is pointed at
  onActive?: (mark: number | null) => void;
}

function markOf(e: Event): number | null {
  const at = (e.target as Element).closest<HTMLElement>("[data-mark]");
  return at ? Number(at.dataset["mark"]) : null;
}

export function Markdown({ text, isDone, clip, active = null, onActive }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const kept = useRef({ text: "", nodes: 0 }); // what is not made anew
  const words = language.value; // of the buttons inside
  useLayoutEffect(() => {
    kept.current = { text: "", nodes: 0 };
  }, [words, clip?.length]);
  useLayoutEffect(() => {
    const at = box.current;
    if (!at) return;
    if (!text.startsWith(kept.current.text) || (isDone && hasDefinitions(text))) kept.current = { text: "", nodes: 0 };
    while (at.childNodes.length > kept.current.nodes) at.lastChild?.remove();
    const append = (part: string, isFinished: boolean) => {
      const fragment = renderMarkdown(part);
      if (clip) linkTimes(fragment, clip.length, clip.onJump);
      if (isFinished) addTools(fragment);
      const nodes = [...fragment.children];
      at.append(fragment);
      return nodes;
    };
    const rest = text.slice(kept.current.text.length);
    const finished = isDone ? rest.length : finishedPart(rest);
    let decorated = Promise.resolve();
    if (finished > 0) {
      decorated = decorate(append(rest.slice(0, finished), true));
      kept.current = { text: text.slice(0, text.length - rest.length + finished), nodes: at.childNodes.length };
    }
    if (finished < rest.length) append(rest.slice(finished), false);
    if (isDone && onActive) void decorated.then(() => linkEntries(at));
  }, [text, isDone, words, clip?.length]);
  useEffect(() => {
    for (const one of box.current?.querySelectorAll<HTMLElement>("[data-mark]") ?? [])
      one.classList.toggle("active", active !== null && one.dataset["mark"] === String(active));
  }, [active]);
  return <div ref={box} class="markdown" onPointerOver={(e) => onActive?.(markOf(e))} onPointerLeave={() => onActive?.(null)} />;
}
