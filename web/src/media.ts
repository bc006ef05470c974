// Files of the reader's become attachments: their bytes go to the store, their size and length are found out as far as this
// browser can show them.
import { t } from "./i18n";
import { clipSize, type Bounds } from "./sizes";
import { loadBlob, saveBlob } from "./store";
import type { Attachment, MediaKind } from "./types";

const ENDINGS: Record<string, [MediaKind, string]> = {
  heic: ["image", "image/heic"], heif: ["image", "image/heif"], avif: ["image", "image/avif"], tif: ["image", "image/tiff"],
  tiff: ["image", "image/tiff"], bmp: ["image", "image/bmp"], jpg: ["image", "image/jpeg"], jpeg: ["image", "image/jpeg"],
  png: ["image", "image/png"], webp: ["image", "image/webp"], gif: ["image", "image/gif"], mp4: ["video", "video/mp4"],
  m4v: ["video", "video/mp4"], mov: ["video", "video/quicktime"], webm: ["video", "video/webm"], mkv: ["video", "video/x-matroska"],
  avi: ["video", "video/x-msvideo"],
};

export function kindOf(file: File): [MediaKind, string] | null {
  if (file.type.startsWith("image/") && file.type !== "image/svg+xml") return ["image", file.type];
  if (file.type.startsWith("video/")) return ["video", file.type];
  return ENDINGS[file.name.split(".").pop()?.toLowerCase() ?? ""] ?? null;
}

function measureImage(blob: Blob): Promise<{ width: number; height: number }> {
  return new Promise((resolve) => {
    const url = URL.createObjectURL(blob);
    const image = new Image();
    const end = (width: number, height: number) => {
      URL.revokeObjectURL(url);
      resolve({ width, height });
    };
    image.onload = () => end(image.naturalWidth, image.naturalHeight);
    image.onerror = () => end(0, 0);
    image.src = url;
  });
}

function measureVideo(blob: Blob): Promise<{ width: number; height: number; duration: number }> {
  return new Promise((resolve) => {
    const url = URL.createObjectURL(blob);
    const video = document.createElement("video");
    const end = (width: number, height: number, duration: number) => {
      clearTimeout(timer);
      video.removeAttribute("src");
      URL.revokeObjectURL(url);
      resolve({ width, height, duration: Number.isFinite(duration) ? duration : 0 });
    };
    const timer = setTimeout(() => end(0, 0, 0), 8000);
    video.preload = "metadata";
    video.muted = true;
    video.onloadedmetadata = () => end(video.videoWidth, video.videoHeight, video.duration);
    video.onerror = () => end(0, 0, 0);
    video.src = url;
  });
}

export async function attach(file: File): Promise<Attachment | null> {
  const found = kindOf(file);
  if (!found) return null;
  const [kind, type] = found;
  const blob = crypto.randomUUID();
  await saveBlob(blob, file);
  const size = kind === "image" ? { ...(await measureImage(file)), duration: 0 } : await measureVideo(file);
  return {
    id: crypto.randomUUID(), kind, name: file.name || kind, type, blob, bytes: file.size, ...size,
    options: { maxPixels: 0, fps: 0, start: 0, end: 0 },
  };
}

/** What the store keeps under `key`, as an address that holds it all. */
export async function dataUri(key: string, type: string): Promise<string> {
  const blob = await loadBlob(key);
  if (!blob) throw new Error(t("media.gone"));
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve((reader.result as string).replace(/^data:[^,]*,/, `data:${type};base64,`));
    reader.onerror = () => reject(reader.error ?? new Error("FileReader"));
    reader.readAsDataURL(blob);
  });
}

/** Where a clip is to be shown at `seconds`. Waits for the frame. */
export function seek(video: HTMLVideoElement, seconds: number): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      video.removeEventListener("seeked", end);
      resolve();
    };
    const timer = setTimeout(end, 3000);
    video.addEventListener("seeked", end);
    video.currentTime = Math.min(seconds, Math.max(0, (video.duration || seconds) - 0.001));
  });
}

/** Frames of a clip at these times, taken by the browser: JPEG, at most `side` pixels wide and high. */
export async function takeFrames(source: Blob, times: number[], side: number, signal?: AbortSignal): Promise<Blob[]> {
  const url = URL.createObjectURL(source);
  const video = document.createElement("video");
  video.muted = true;
  video.preload = "auto";
  const out: Blob[] = [];
  try {
    await new Promise<void>((resolve, reject) => {
      video.onloadeddata = () => resolve();
      video.onerror = () => reject(new Error("the browser cannot show this clip"));
      video.src = url;
    });
    const scale = Math.min(1, side / Math.max(video.videoWidth, video.videoHeight));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(video.videoWidth * scale));
    canvas.height = Math.max(1, Math.round(video.videoHeight * scale));
    const context = canvas.getContext("2d");
    for (const time of times) {
      if (signal?.aborted) break;
      await seek(video, time);
      context?.drawImage(video, 0, 0, canvas.width, canvas.height);
      const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9));
      if (blob) out.push(blob);
    }
  } finally {
    video.removeAttribute("src");
    URL.revokeObjectURL(url);
  }
  return out;
}

/** A clip with frames of its own, at the times at which the server would have looked, in the size that the model sees. */
export async function sampleClip(a: Attachment, bounds: Bounds): Promise<Attachment> {
  const blob = await loadBlob(a.blob);
  if (!blob) throw new Error(t("media.gone"));
  const end = a.options.end || a.duration;
  const size = clipSize(a.width, a.height, end - a.options.start, a.options.fps, a.options.maxPixels, bounds);
  const step = (end - a.options.start) / size.frames;
  const times = Array.from({ length: size.frames }, (_, i) => Math.round((a.options.start + i * step) * 1000) / 1000);
  const taken = await takeFrames(blob, times, Math.max(size.width, size.height));
  const frames = await Promise.all(taken.map(async (one, i) => {
    const key = crypto.randomUUID();
    await saveBlob(key, one);
    return { blob: key, time: times[i] ?? 0 };
  }));
  return { ...a, frames };
}

export function copyText(text: string): Promise<void> {
  return navigator.clipboard ? navigator.clipboard.writeText(text) : Promise.reject(new Error("the browser lends no clipboard to this address"));
}

/** Offers text as a file. */
export function download(name: string, type: string, text: string) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name.replace(/[\\/:*?"<>|\p{Cc}]/gu, "_");
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
