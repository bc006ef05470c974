// HTML that the model wrote, beside the screenshot it was made after. It is shown in a sandbox (public/preview.html): no
// script runs, nothing is loaded.
import { useEffect, useRef, useState } from "preact/hooks";
import { t } from "../i18n";
import { useBlobUrl } from "../hooks";
import type { Attachment } from "../types";

export function readHtml(text: string): string {
  const fenced = /```(?:html)?\s*\n([\s\S]*?)(?:```|$)/i.exec(text)?.[1];
  const bare = /<(?:!doctype|html|body|div|style)\b[\s\S]*/i.exec(text)?.[0];
  return fenced ?? bare ?? "";
}

export function HtmlPreview({ text, original }: { text: string; original: Attachment | undefined }) {
  const frame = useRef<HTMLIFrameElement>(null);
  const [isReady, setIsReady] = useState(false);
  const [share, setShare] = useState(0);
  const url = useBlobUrl(original?.blob ?? "");
  const html = readHtml(text);
  useEffect(() => {
    const listen = (e: MessageEvent) => {
      if (e.source === frame.current?.contentWindow && e.data === "qvl-preview-ready") setIsReady(true);
    };
    addEventListener("message", listen);
    return () => removeEventListener("message", listen);
  }, []);
  useEffect(() => {
    if (isReady && html) frame.current?.contentWindow?.postMessage(html, "*");
  }, [isReady, html]);
  if (!html) return null;
  const ratio = original?.width ? `${original.width} / ${original.height}` : "16 / 10";
  return (
    <figure class="preview">
      <div class="stage" style={{ aspectRatio: ratio }}>
        <iframe ref={frame} src="/preview.html" sandbox="allow-scripts" title={t("preview.title")} />
        {url && <img src={url} alt={t("preview.original")} style={{ clipPath: `inset(0 ${100 - share}% 0 0)` }} />}
      </div>
      {url && (
        <input type="range" min={0} max={100} value={share} aria-label={t("preview.slider")} onInput={(e) => setShare(Number(e.currentTarget.value))} />
      )}
    </figure>
  );
}
