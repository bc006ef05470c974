// An answer, growing or whole: how far it is, its text, and what can be seen and clicked in it.
import { askAgain } from "../asking";
import { useMemo, useState } from "preact/hooks";
import { findMarks, findMoments } from "../found";
import { duration, number, t } from "../i18n";
import { copyText } from "../media";
import { runningTurn } from "../state";
import { findTask } from "../tasks";
import type { Turn } from "../types";
import { Branches } from "./Branches";
import { FieldsView } from "./FieldsView";
import { HtmlPreview } from "./HtmlPreview";
import { Markdown } from "./Markdown";
import { PictureView } from "./PictureView";
import { ProgressLine } from "./ProgressLine";
import { VideoView } from "./VideoView";

function Stats({ turn }: { turn: Turn }) {
  const usage = turn.usage;
  if (!usage) return null;
  const { generate, first } = usage.seconds;
  const rate = generate > 0 ? (usage.answerTokens / generate).toFixed(1) : "–";
  return <span class="hint">{t("turn.stats", number(usage.answerTokens), duration(first + generate), rate, duration(first))}</span>;
}

function Ending({ turn }: { turn: Turn }) {
  if (turn.error !== undefined) return <p class="trouble">{t("turn.failed", turn.error)}</p>;
  if (turn.finish === "length") return <p class="hint">{t("turn.cut")}</p>;
  if (turn.finish === "cancelled") return <p class="hint">{t("turn.cancelled")}</p>;
  return null;
}

interface MediaProps {
  turn: Turn;
  question: Turn;
  jump: { seconds: number } | null;
  active: number | null;
  onActive: (mark: number | null) => void;
}

function Media({ turn, question, jump, active, onActive }: MediaProps) {
  const marks = useMemo(() => findMarks(turn.text), [turn.text]);
  const pictures = question.attachments.filter((a) => a.kind === "image" && a.width > 0);
  const clips = question.attachments.filter((a) => a.kind === "video");
  const seenClips = (turn.seen ?? []).filter((m) => m.kind === "video");
  return (
    <>
      {pictures.map((a, i) => {
        const here = marks.filter((m) => Math.min(m.picture, pictures.length - 1) === i);
        return here.length > 0 && <PictureView key={a.id} attachment={a} marks={here} active={active} onActive={onActive} />;
      })}
      {clips.map((a, i) => (
        <VideoView key={a.id} attachment={a} seen={seenClips[i - clips.length + seenClips.length]} jump={jump} moments={findMoments(turn.text, a.duration)} />
      ))}
    </>
  );
}

export function AnswerView({ turn, question }: { turn: Turn; question: Turn }) {
  const [jump, setJump] = useState<{ seconds: number } | null>(null);
  const [active, setActive] = useState<number | null>(null);
  const [isCopied, setIsCopied] = useState(false);
  const isDone = runningTurn.value !== turn.id;
  const clip = question.attachments.find((a) => a.kind === "video");
  const view = findTask(turn.task).view;
  const length = clip ? clip.duration || 0 : 0;
  const copy = () => void copyText(turn.text).then(() => {
    setIsCopied(true);
    setTimeout(() => setIsCopied(false), 1500);
  });
  return (
    <article class="turn answer" tabIndex={-1} aria-label={t("turn.model")} aria-busy={!isDone}>
      {turn.reasoning && <details class="reasoning" open={!turn.text}><summary>{t("turn.reasoning")}</summary><p>{turn.reasoning}</p></details>}
      {turn.text && (
        <Markdown text={turn.text} isDone={isDone} active={active} onActive={setActive}
          clip={clip ? { length, onJump: (seconds) => setJump({ seconds }) } : undefined} />
      )}
      {!isDone && <ProgressLine />}
      {isDone && view === "fields" && <FieldsView text={turn.text} />}
      {isDone && view === "html" && <HtmlPreview text={turn.text} original={question.attachments[0]} />}
      {turn.text && <Media turn={turn} question={question} jump={jump} active={active} onActive={setActive} />}
      {isDone && <Ending turn={turn} />}
      {isDone && (
        <footer>
          <Branches turn={turn} />
          <button class="quiet" onClick={copy}>{isCopied ? t("turn.copied") : t("turn.copy")}</button>
          {!runningTurn.value && <button class="quiet" onClick={() => askAgain(turn)}>{turn.error ? t("turn.retry") : t("turn.again")}</button>}
          <Stats turn={turn} />
        </footer>
      )}
    </article>
  );
}
