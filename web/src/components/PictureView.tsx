// A picture with what an answer found in it, and a way to ask about a part of it.
import { useState } from "preact/hooks";
import { t } from "../i18n";
import { useBlobUrl } from "../hooks";
import { attach } from "../media";
import { loadBlob } from "../store";
import { draft } from "../state";
import type { Attachment, Mark } from "../types";

type Box = [number, number, number, number]; // thousandths: left, top, right, bottom

const COLOURS = ["#e03131", "#1971c2", "#2f9e44", "#f08c00", "#9c36b5", "#0c8599", "#e8590c", "#6741d9"];

/** The part of the picture as an attachment of its own: the model sees it larger, and nothing else. */
async function askAbout(a: Attachment, box: Box): Promise<void> {
  const blob = await loadBlob(a.blob);
  if (!blob) return;
  const bitmap = await createImageBitmap(blob);
  const [left, top] = [Math.floor((box[0] / 1000) * bitmap.width), Math.floor((box[1] / 1000) * bitmap.height)];
  const width = Math.max(1, Math.ceil((box[2] / 1000) * bitmap.width) - left);
  const height = Math.max(1, Math.ceil((box[3] / 1000) * bitmap.height) - top);
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d")?.drawImage(bitmap, left, top, width, height, 0, 0, width, height);
  const part = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/png"));
  if (!part) return;
  const name = `${a.name.replace(/\.\w+$/, "")} (${left},${top} ${width}×${height}).png`;
  const one = await attach(new File([part], name, { type: "image/png" }));
  if (one) draft.value = { text: draft.value.text || t("marks.askText", `${left},${top}–${left + width},${top + height}`), attachments: [...draft.value.attachments, one] };
}

interface Props {
  attachment: Attachment;
  marks: Mark[];
  active: number | null; // index of the mark that is pointed at
  onActive: (mark: number | null) => void;
}

export function PictureView({ attachment: a, marks, active, onActive }: Props) {
  const url = useBlobUrl(a.blob);
  const [drag, setDrag] = useState<Box | null>(null);
  const at = (e: PointerEvent): [number, number] => {
    const r = (e.currentTarget as Element).getBoundingClientRect();
    const of = (x: number, begin: number, size: number) => Math.min(1000, Math.max(0, ((x - begin) / size) * 1000));
    return [of(e.clientX, r.left, r.width), of(e.clientY, r.top, r.height)];
  };
  const sorted: Box | null = drag && [Math.min(drag[0], drag[2]), Math.min(drag[1], drag[3]), Math.max(drag[0], drag[2]), Math.max(drag[1], drag[3])];
  if (!url) return null;
  return (
    <figure class="marked">
      <div class="canvas">
        <img src={url} alt={a.name} draggable={false} />
        <svg viewBox="0 0 1000 1000" preserveAspectRatio="none" role="img" aria-label={t("marks.found")} data-testid="marks"
          onPointerDown={(e) => {
            const [x, y] = at(e);
            e.currentTarget.setPointerCapture(e.pointerId);
            setDrag([x, y, x, y]);
          }}
          onPointerMove={(e) => drag && setDrag([drag[0], drag[1], ...at(e)])}
          onPointerUp={() => {
            if (sorted && (sorted[2] - sorted[0] < 15 || sorted[3] - sorted[1] < 15)) setDrag(null);
          }}>
          {marks.map((m) => {
            const [x1, y1, x2, y2] = m.box;
            const colour = COLOURS[m.index % COLOURS.length] ?? "#e03131";
            const isPoint = x1 === x2 && y1 === y2;
            return (
              <g key={m.index} class={active === m.index ? "mark active" : "mark"} onPointerEnter={() => onActive(m.index)} onPointerLeave={() => onActive(null)}>
                <title>{m.label}</title>
                {isPoint ? <circle cx={x1} cy={y1} r={12} fill={colour} />
                  : <rect x={x1} y={y1} width={x2 - x1} height={y2 - y1} stroke={colour} fill={colour} fill-opacity={active === m.index ? 0.25 : 0.06} />}
              </g>
            );
          })}
          {sorted && <rect class="drag" x={sorted[0]} y={sorted[1]} width={sorted[2] - sorted[0]} height={sorted[3] - sorted[1]} />}
        </svg>
      </div>
      <figcaption>
        {marks.length > 0 ? (
          <ul class="labels" aria-label={t("marks.found")}>
            {marks.map((m) => (
              <li key={m.index}>
                <button type="button" class={active === m.index ? "label active" : "label"} onPointerEnter={() => onActive(m.index)} onPointerLeave={() => onActive(null)}
                  onFocus={() => onActive(m.index)} onBlur={() => onActive(null)} onClick={() => setDrag(m.box)}>
                  <svg class="swatch" viewBox="0 0 10 10" aria-hidden="true"><rect width="10" height="10" fill={COLOURS[m.index % COLOURS.length]} /></svg>
                  {m.label || `${m.box.join(", ")}`}
                </button>
              </li>
            ))}
          </ul>
        ) : <span class="hint">{t("marks.hint")}</span>}
        {sorted && sorted[2] - sorted[0] >= 15 && sorted[3] - sorted[1] >= 15 && (
          <button type="button" onClick={() => { void askAbout(a, sorted); setDrag(null); }}>{t("marks.ask")}</button>
        )}
      </figcaption>
    </figure>
  );
}
