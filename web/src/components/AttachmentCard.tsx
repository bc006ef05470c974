// A picture or clip that is about to be sent: how it looks, what the model will see of it, and the sliders that change that.
import { number, t } from "../i18n";
import { clock } from "../found";
import { useBlobUrl } from "../hooks";
import { clipSize, pictureSize } from "../sizes";
import { bounds } from "../state";
import type { Attachment, MediaOptions } from "../types";
import { Icon } from "./Icon";

const STEPS = 12;
const LEAST_PIXELS = 32 * 1024; // below, nothing can be told

/** The slider's steps from few pixels to as many as there are, each larger than the last by one factor. */
function pixelsAt(step: number, most: number): number {
  if (step >= STEPS) return 0;
  const least = Math.min(LEAST_PIXELS, most / 4);
  return Math.round(least * (most / least) ** (step / STEPS));
}

function stepOf(pixels: number, most: number): number {
  if (!pixels) return STEPS;
  for (let i = 0; i < STEPS; i++) if (pixelsAt(i, most) >= pixels) return i;
  return STEPS;
}

function Seen({ a }: { a: Attachment }) {
  if (!a.width) return <p class="hint">{t("media.noPreview")}</p>;
  const o = a.options;
  const size = a.kind === "image" ? pictureSize(a.width, a.height, o.maxPixels, bounds.value)
    : clipSize(a.width, a.height, (o.end || a.duration) - o.start, o.fps, o.maxPixels, bounds.value);
  return <p class="hint">{t("media.seen", a.width, a.height, size.width, size.height, number(size.tokens))}</p>;
}

interface Props {
  attachment: Attachment;
  onChange: (part: Partial<Attachment>) => void;
  onRemove: () => void;
}

export function AttachmentCard({ attachment: a, onChange, onRemove }: Props) {
  const url = useBlobUrl(a.blob);
  const most = Math.min(bounds.value.image.maxPixels, Math.max(4096, a.width * a.height));
  const set = (part: Partial<MediaOptions>) => onChange({ options: { ...a.options, ...part } });
  return (
    <li class="card">
      {url && a.width > 0 && (a.kind === "image" ? <img src={url} alt={a.name} /> : <video src={url} muted controls preload="metadata" />)}
      <div class="card-text">
        <strong>{a.name}</strong>
        <Seen a={a} />
        {a.width > 0 && (
          <label>
            {t("media.detail")}
            <input type="range" min={0} max={STEPS} value={stepOf(a.options.maxPixels, most)} aria-label={t("media.detailOf", a.name)}
              onInput={(e) => set({ maxPixels: pixelsAt(Number(e.currentTarget.value), most) })} />
          </label>
        )}
        {a.kind === "video" && (
          <label>
            {t("media.fps")}
            <input type="number" min={0.1} max={10} step={0.1} value={a.options.fps || bounds.value.video.fps}
              onInput={(e) => set({ fps: Math.min(10, Math.max(0.1, Number(e.currentTarget.value) || bounds.value.video.fps)) })} />
          </label>
        )}
        {a.kind === "video" && a.duration > 0 && (
          <fieldset class="range">
            <legend>{t("media.range", clock(a.options.start), clock(a.options.end || a.duration))}</legend>
            <input type="range" min={0} max={a.duration} step={0.1} value={a.options.start} aria-label={t("media.from")}
              onInput={(e) => set({ start: Math.min(Number(e.currentTarget.value), (a.options.end || a.duration) - 0.1) })} />
            <input type="range" min={0} max={a.duration} step={0.1} value={a.options.end || a.duration} aria-label={t("media.to")}
              onInput={(e) => {
                const end = Math.max(Number(e.currentTarget.value), a.options.start + 0.1);
                set({ end: end >= a.duration ? 0 : end });
              }} />
          </fieldset>
        )}
      </div>
      <button type="button" class="icon" aria-label={t("composer.remove", a.name)} onClick={onRemove}><Icon name="close" /></button>
    </li>
  );
}
