// A conversation as one file, with its pictures and clips inside, and back. A file may come from anyone: what it says is taken
// over field by field, and only where it is what it should be.
import { dataUri } from "./media";
import { blobsOf, saveBlob } from "./store";
import { titleOf } from "./tree";
import type { Attachment, Conversation, SeenMedia, Turn, Usage } from "./types";

const FORMAT = "qvl-conversation";
const VERSION = 1;
const MAX_TURNS = 10000;

export async function toFile(one: Conversation): Promise<string> {
  const types = new Map(one.turns.flatMap((turn) => turn.attachments.map((a) => [a.blob, a.type] as const)));
  const media: Record<string, string> = {};
  for (const key of blobsOf(one)) {
    const uri = await dataUri(key, types.get(key) || "image/jpeg").catch(() => null); // one that is gone is left out
    if (uri) media[key] = uri;
  }
  return JSON.stringify({ format: FORMAT, version: VERSION, conversation: one, media }, null, 2);
}

type Bag = Record<string, unknown>;

const bag = (x: unknown): Bag => (typeof x === "object" && x !== null && !Array.isArray(x) ? (x as Bag) : {});
const list = (x: unknown): unknown[] => (Array.isArray(x) ? x : []);
const text = (x: unknown): string => (typeof x === "string" ? x : "");
const amount = (x: unknown): number => (typeof x === "number" && Number.isFinite(x) && x >= 0 ? x : 0);
const pair = (x: unknown): [number, number] => [amount(list(x)[0]), amount(list(x)[1])];

function blobOf(uri: unknown): Blob | null {
  const m = /^data:((?:image|video)\/[\w.+-]+|application\/octet-stream);base64,([A-Za-z0-9+/]+=*)$/.exec(text(uri));
  if (!m || m[1] === "image/svg+xml") return null;
  const bytes = Uint8Array.from(atob(m[2]!), (c) => c.charCodeAt(0));
  return new Blob([bytes], { type: m[1]! });
}

/** New names for all that has one: the same file may be taken in twice. */
class Names {
  private known = new Map<string, string>();

  of(old: unknown): string {
    const key = text(old);
    const name = this.known.get(key) ?? crypto.randomUUID();
    this.known.set(key, name);
    return name;
  }
}

function readAttachment(x: unknown, names: Names): Attachment {
  const a = bag(x);
  const o = bag(a["options"]);
  const frames = list(a["frames"]).map(bag).map((f) => ({ blob: names.of(f["blob"]), time: amount(f["time"]) }));
  return {
    id: crypto.randomUUID(), kind: a["kind"] === "video" ? "video" : "image", name: text(a["name"]).slice(0, 300), type: text(a["type"]).slice(0, 100),
    blob: names.of(a["blob"]), bytes: amount(a["bytes"]), width: amount(a["width"]), height: amount(a["height"]), duration: amount(a["duration"]),
    options: { maxPixels: amount(o["maxPixels"]), fps: amount(o["fps"]), start: amount(o["start"]), end: amount(o["end"]) },
    ...(frames.length > 0 ? { frames } : {}),
  };
}

function readSeen(x: unknown): SeenMedia {
  const m = bag(x);
  return {
    kind: m["kind"] === "video" ? "video" : "image", original: pair(m["original"]), used: pair(m["used"]), tokens: amount(m["tokens"]),
    times: list(m["times"]).map(amount), duration_s: amount(m["duration_s"]),
  };
}

function readUsage(x: unknown): Usage {
  const u = bag(x);
  const s = bag(u["seconds"]);
  return {
    promptTokens: amount(u["promptTokens"]), answerTokens: amount(u["answerTokens"]), cachedTokens: amount(u["cachedTokens"]),
    seconds: { media: amount(s["media"]), vision: amount(s["vision"]), prefill: amount(s["prefill"]), generate: amount(s["generate"]), first: amount(s["first"]) },
  };
}

function readTurn(x: unknown, names: Names): Turn {
  const v = bag(x);
  const out: Turn = {
    id: names.of(v["id"]), parent: typeof v["parent"] === "string" ? names.of(v["parent"]) : null, role: v["role"] === "assistant" ? "assistant" : "user",
    text: text(v["text"]), reasoning: text(v["reasoning"]), attachments: list(v["attachments"]).map((a) => readAttachment(a, names)),
    task: text(v["task"]), made: amount(v["made"]),
  };
  if (v["seen"]) out.seen = list(v["seen"]).map(readSeen);
  if (v["usage"]) out.usage = readUsage(v["usage"]);
  if (v["finish"]) out.finish = text(v["finish"]);
  if (v["error"]) out.error = text(v["error"]);
  return out;
}

/** Parents stand before their children, so that no path is a circle. */
function areInOrder(turns: Turn[]): boolean {
  const before = new Set<string>();
  for (const turn of turns) {
    if (before.has(turn.id) || (turn.parent !== null && !before.has(turn.parent))) return false;
    before.add(turn.id);
  }
  return true;
}

/** null: the file is no conversation of this page. */
export async function fromFile(source: string): Promise<Conversation | null> {
  let whole: Bag;
  try {
    whole = bag(JSON.parse(source));
  } catch {
    return null;
  }
  const one = bag(whole["conversation"]);
  const turns = list(one["turns"]);
  if (whole["format"] !== FORMAT || whole["version"] !== VERSION || turns.length === 0 || turns.length > MAX_TURNS) return null;
  const names = new Names();
  const read = turns.map((turn) => readTurn(turn, names));
  if (!areInOrder(read)) return null;
  const leaf = names.of(one["leaf"]);
  for (const [key, uri] of Object.entries(bag(whole["media"]))) {
    const blob = blobOf(uri);
    if (blob) await saveBlob(names.of(key), blob);
  }
  return {
    id: crypto.randomUUID(), title: titleOf(text(one["title"])) || FORMAT, made: amount(one["made"]), changed: Date.now(), turns: read,
    leaf: read.some((turn) => turn.id === leaf) ? leaf : read[read.length - 1]!.id,
  };
}
