// Where a turn has other versions: which one is shown, and the way to the others.
import { t } from "../i18n";
import { conversation, showSibling } from "../state";
import { siblings } from "../tree";
import type { Turn } from "../types";

export function Branches({ turn }: { turn: Turn }) {
  const all = conversation.value ? siblings(conversation.value, turn) : [];
  const at = all.findIndex((one) => one.id === turn.id);
  if (all.length < 2) return null;
  const earlier = all[at - 1];
  const later = all[at + 1];
  return (
    <span class="branches">
      <button class="icon" aria-label={t("turn.earlier")} disabled={!earlier} onClick={() => earlier && showSibling(earlier)}>‹</button>
      <span aria-label={t("turn.branch", at + 1, all.length)}>{at + 1}/{all.length}</span>
      <button class="icon" aria-label={t("turn.later")} disabled={!later} onClick={() => later && showSibling(later)}>›</button>
    </span>
  );
}
