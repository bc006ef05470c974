// A question: its pictures and clips, its text, and the way to ask it otherwise.
import { send } from "../asking";
import { useEffect, useRef, useState } from "preact/hooks";
import { t } from "../i18n";
import { useBlobUrl } from "../hooks";
import { runningTurn } from "../state";
import type { Attachment, Turn } from "../types";
import { Branches } from "./Branches";

function Shown({ a }: { a: Attachment }) {
  const url = useBlobUrl(a.blob);
  if (!url || !a.width) return <span class="file-name">{a.name}</span>;
  return a.kind === "image" ? <img src={url} alt={a.name} /> : <video src={url} muted controls preload="metadata" aria-label={a.name} />;
}

export function QuestionView({ turn }: { turn: Turn }) {
  const [edited, setEdited] = useState<string | null>(null);
  const box = useRef<HTMLTextAreaElement>(null);
  const article = useRef<HTMLElement>(null);
  useEffect(() => box.current?.focus(), [edited !== null]);
  const leave = () => {
    setEdited(null);
    article.current?.focus();
  };
  return (
    <article ref={article} class="turn question" tabIndex={-1} aria-label={t("turn.you")}>
      {turn.attachments.length > 0 && <div class="shown">{turn.attachments.map((a) => <Shown key={a.id} a={a} />)}</div>}
      {edited === null ? turn.text && <p class="said">{turn.text}</p> : (
        <form class="edit" onSubmit={(e) => { e.preventDefault(); setEdited(null); send(edited, turn.attachments, turn); }}>
          <textarea ref={box} rows={3} value={edited} aria-label={t("turn.edit")} onInput={(e) => setEdited(e.currentTarget.value)}
            onKeyDown={(e) => e.key === "Escape" && leave()} />
          <button class="primary">{t("turn.save")}</button>
          <button type="button" onClick={leave}>{t("turn.cancelEdit")}</button>
        </form>
      )}
      <footer>
        <Branches turn={turn} />
        {edited === null && !runningTurn.value && <button class="quiet" onClick={() => setEdited(turn.text)}>{t("turn.edit")}</button>}
      </footer>
    </article>
  );
}
