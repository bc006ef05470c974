// Boxes, points and times in the text of an answer: what can be drawn on a picture and jumped to in a clip.
import { csvCell } from "./table";
import type { Mark, Moment } from "./types";

const MAX_FOUND = 1000;

/** Every {...} without braces inside, with its place. */
function* flatObjects(text: string): Generator<{ begin: number; end: number; source: string }> {
  let begin = -1;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === "{") begin = i;
    else if (text[i] === "}" && begin >= 0) {
      yield { begin, end: i + 1, source: text.slice(begin, i + 1) };
      begin = -1;
    }
  }
}

function numbers(value: unknown, n: number): number[] | null {
  if (!Array.isArray(value) || value.length !== n) return null;
  return value.every((x) => typeof x === "number" && x >= 0 && x <= 1000) ? (value as number[]) : null;
}

/** Objects with "bbox_2d" or "point_2d" as this family writes them, also while the answer is still growing. */
export function findMarks(text: string): Mark[] {
  const out: Mark[] = [];
  for (const { begin, end, source } of flatObjects(text)) {
    if (!source.includes("_2d") || out.length === MAX_FOUND) continue;
    let object: Record<string, unknown>;
    try {
      object = JSON.parse(source) as Record<string, unknown>;
    } catch {
      continue;
    }
    const box = numbers(object["bbox_2d"], 4);
    const point = numbers(object["point_2d"], 2);
    const at = box ?? (point ? [point[0]!, point[1]!, point[0]!, point[1]!] : null);
    if (!at) continue;
    const label = typeof object["label"] === "string" ? object["label"] : "";
    const picture = typeof object["image"] === "number" ? object["image"] : 0;
    out.push({ index: out.length, picture, label, box: at as Mark["box"], begin, end });
  }
  return out;
}

const CLOCK = String.raw`(?:(\d{1,2}):)?(\d{1,2}):(\d{2})(?:[.](\d{1,3}))?`;
const SECONDS = String.raw`(\d{1,5}(?:\.\d{1,3})?)\s?(?:s|sec|secs|second|seconds|秒)(?![A-Za-z])`;
const TIME = new RegExp(`${CLOCK}|${SECONDS}`, "g");

function secondsOf(m: RegExpMatchArray): number {
  if (m[5] !== undefined) return Number(m[5]);
  const fraction = m[4] ? Number(`0.${m[4]}`) : 0;
  return Number(m[1] ?? 0) * 3600 + Number(m[2]) * 60 + Number(m[3]) + fraction;
}

/** Times as people and this family write them: "1.6 s", "第1.6秒", "0:12", "1:02:03.5", and stretches, "0:12 - 0:20".
 *  Nothing behind `duration` (0: unknown) is taken for a time of the clip. */
export function findMoments(text: string, duration = 0): Moment[] {
  const out: Moment[] = [];
  for (const m of text.matchAll(TIME)) {
    const begin = m.index;
    const end = begin + m[0].length;
    if (/[\d.:]/.test(text[begin - 1] ?? "") || /^[:]?\d/.test(text.slice(end, end + 2))) continue;
    const seconds = secondsOf(m);
    if (duration > 0 && seconds > duration + 1) continue;
    const last = out[out.length - 1];
    if (last && last.until === null && /^\s?(?:-|–|—|~|to|until|至|到)\s?(?:第)?$/.test(text.slice(last.end, begin)) &&
        seconds >= last.seconds) {
      last.until = seconds;
      last.end = end;
      continue;
    }
    if (out.length === MAX_FOUND) break;
    const line = text.slice(text.lastIndexOf("\n", begin) + 1, text.indexOf("\n", end) < 0 ? undefined : text.indexOf("\n", end));
    out.push({ seconds, until: null, label: line.trim(), begin, end });
  }
  return out;
}

function stamp(seconds: number, comma: "," | "."): string {
  const ms = Math.round(seconds * 1000);
  const two = (n: number) => String(n).padStart(2, "0");
  return `${two(Math.floor(ms / 3600000))}:${two(Math.floor(ms / 60000) % 60)}:${two(Math.floor(ms / 1000) % 60)}${comma}` +
    String(ms % 1000).padStart(3, "0");
}

/** m:ss, as a person would say it; with tenths below a minute. */
export function clock(seconds: number): string {
  if (seconds < 60) return `0:${seconds.toFixed(1).padStart(4, "0")}`;
  const s = Math.floor(seconds);
  const h = Math.floor(s / 3600);
  const rest = `${String(Math.floor(s / 60) % 60).padStart(h ? 2 : 1, "0")}:${String(s % 60).padStart(2, "0")}`;
  return h ? `${h}:${rest}` : rest;
}

/** An event without an end lasts until the next one, at most three seconds. */
function spans(moments: Moment[]): { from: number; to: number; label: string }[] {
  const sorted = [...moments].sort((a, b) => a.seconds - b.seconds);
  return sorted.map((m, i) => {
    const next = sorted[i + 1]?.seconds ?? Infinity;
    const to = m.until ?? Math.min(m.seconds + 3, next > m.seconds ? next : m.seconds + 3);
    return { from: m.seconds, to, label: m.label };
  });
}

export type EventFormat = "srt" | "vtt" | "csv" | "json";

export function writeEvents(moments: Moment[], format: EventFormat): string {
  const list = spans(moments);
  switch (format) {
    case "srt":
      return list.map((e, i) => `${i + 1}\n${stamp(e.from, ",")} --> ${stamp(e.to, ",")}\n${e.label}\n`).join("\n");
    case "vtt":
      return "WEBVTT\n\n" + list.map((e) => `${stamp(e.from, ".")} --> ${stamp(e.to, ".")}\n${e.label.replaceAll("-->", "→")}\n`).join("\n");
    case "csv":
      return "start_s,end_s,text\r\n" + list.map((e) => `${e.from},${e.to},${csvCell(e.label)}\r\n`).join("");
    case "json":
      return JSON.stringify(list.map((e) => ({ start_s: e.from, end_s: e.to, text: e.label })), null, 2) + "\n";
  }
}
