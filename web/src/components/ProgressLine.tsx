// How far the server is with an answer: the stage, its share, its pace, and how long it will still take.
import { duration, number, t, type Key } from "../i18n";
import { running } from "../state";
import type { Progress } from "../types";

const LEAST_WAIT = 0.5; // seconds of a stage before its pace is told

function amount({ stage, done, total }: Progress): string {
  if (stage === "upload") return t("stage.megabytes", (done / 1e6).toFixed(1), (total / 1e6).toFixed(1));
  return stage === "generate" ? t("stage.tokens", number(done)) : t("stage.of", number(done), number(total));
}

/** What a stage counts is the same all along, so the rest goes like what was done. */
function pace({ stage, done, total, since }: Progress): string {
  const seconds = (performance.now() - since) / 1000;
  if (seconds < LEAST_WAIT || done === 0) return "";
  const rate = done / seconds;
  const parts: string[] = [];
  if (stage === "prefill" || stage === "generate") parts.push(t("stage.rate", rate.toFixed(rate < 10 ? 1 : 0)));
  if (total > done) parts.push(t("stage.left", duration((total - done) / rate)));
  return parts.map((one) => ` · ${one}`).join("");
}

export function ProgressLine() {
  const progress = running.value?.progress;
  if (!progress) return null;
  const { stage, done, total } = progress;
  const isCounted = total > 0 || stage === "generate";
  return (
    <p class="progress">
      <span class="pulse" aria-hidden="true" />
      <span>{t(`stage.${stage}` as Key)}{stage !== "queue" && isCounted && <> {amount(progress)}{pace(progress)}</>}</span>
      {stage !== "queue" && total > 0 && <progress value={done} max={total} aria-label={t(`stage.${stage}` as Key)} />}
    </p>
  );
}
