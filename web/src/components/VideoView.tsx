// A clip beside an answer: the player, marks on its time line, the frames that the model saw, the events as a file.
import { useEffect, useRef, useState } from "preact/hooks";
import { clock, writeEvents, type EventFormat } from "../found";
import { t } from "../i18n";
import { useBlobUrl } from "../hooks";
import { download, takeFrames } from "../media";
import { loadBlob } from "../store";
import type { Attachment, Moment, SeenMedia } from "../types";

const MAX_STRIP = 24;
const FORMATS: [EventFormat, string, string][] = [["srt", "SRT", "application/x-subrip"], ["vtt", "WebVTT", "text/vtt"],
  ["csv", "CSV", "text/csv"], ["json", "JSON", "application/json"]];

function useStrip(a: Attachment, times: number[]): { time: number; url: string }[] {
  const [strip, setStrip] = useState<{ time: number; url: string }[]>([]);
  const step = Math.max(1, Math.ceil(times.length / MAX_STRIP));
  const some = times.filter((_, i) => i % step === 0);
  const key = some.join();
  useEffect(() => {
    const control = new AbortController();
    let urls: string[] = [];
    void (async () => {
      const blob = await loadBlob(a.blob);
      if (!blob || some.length === 0) return;
      const frames = await takeFrames(blob, some, 160, control.signal).catch(() => []);
      if (control.signal.aborted) return;
      urls = frames.map((one) => URL.createObjectURL(one));
      setStrip(urls.map((url, i) => ({ url, time: some[i] ?? 0 })));
    })();
    return () => {
      control.abort();
      for (const url of urls) URL.revokeObjectURL(url);
    };
  }, [a.blob, key]);
  return strip;
}

interface Props {
  attachment: Attachment;
  seen: SeenMedia | undefined;
  moments: Moment[];
  jump: { seconds: number } | null; // a new object is a new jump
}

export function VideoView({ attachment: a, seen, moments, jump }: Props) {
  const url = useBlobUrl(a.blob);
  const player = useRef<HTMLVideoElement>(null);
  const strip = useStrip(a, seen?.times ?? []);
  const length = a.duration || seen?.duration_s || 0;
  const go = (seconds: number) => {
    if (player.current) player.current.currentTime = seconds;
  };
  useEffect(() => {
    if (jump) go(jump.seconds);
  }, [jump]);
  if (!url) return null;
  return (
    <figure class="clip">
      {a.width > 0 ? <video ref={player} src={url} controls muted preload="auto" data-testid="player" /> : <p class="hint">{t("media.noPreview")}</p>}
      {moments.length > 0 && length > 0 && (
        <div class="timeline" role="group" aria-label={t("moments.list")}>
          {moments.map((m, i) => (
            <button key={i} type="button" class="tick" title={`${clock(m.seconds)} ${m.label}`} aria-label={t("moments.jump", clock(m.seconds))}
              style={{ left: `${(100 * Math.min(m.seconds, length)) / length}%` }} onClick={() => go(m.seconds)} />
          ))}
        </div>
      )}
      {strip.length > 0 && (
        <ul class="strip" aria-label={t("video.strip")}>
          {strip.map((one) => (
            <li key={one.time}>
              <button type="button" onClick={() => go(one.time)} aria-label={t("video.frameAt", clock(one.time))}>
                <img src={one.url} alt="" />
                <span>{clock(one.time)}</span>
              </button>
            </li>
          ))}
        </ul>
      )}
      {moments.length > 0 && (
        <figcaption>
          {FORMATS.map(([format, name, type]) => (
            <button key={format} type="button" class="quiet" aria-label={t("moments.download", name)}
              onClick={() => download(`${a.name.replace(/\.\w+$/, "")}.${format}`, type, writeEvents(moments, format))}>{name}</button>
          ))}
        </figcaption>
      )}
    </figure>
  );
}
