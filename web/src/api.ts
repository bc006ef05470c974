// The server: what it is, and one question put to it. OpenAI's chat completions with this server's additions (progress events
// while it looks and reads, what was done to each picture).
import { ConnectionLost, post } from "./post";
import { settings } from "./settings";
import { BOUNDS, type Bounds } from "./sizes";
import { EventReader } from "./sse";
import type { MediaOptions, Progress, SeenMedia, Usage } from "./types";

export interface ServerInfo {
  model: string;
  isDemo: boolean;
  isThinking: boolean;
  context: number;
  maxBody: number; // bytes
  bounds: Bounds;
}

export class ServerError extends Error {
  constructor(message: string, readonly status: number, readonly code: string | null) {
    super(message);
  }
}

function headers(): Record<string, string> {
  const key = settings.value.key;
  return key ? { authorization: `Bearer ${key}` } : {};
}

function failure(status: number, statusText: string, text: string): ServerError {
  let message = `${status} ${statusText}`;
  let code: string | null = null;
  try {
    const body = JSON.parse(text) as { error?: { message?: string; code?: string | null } };
    message = body.error?.message ?? message;
    code = body.error?.code ?? null;
  } catch {
    // Not this server's words: something between here and it answered.
  }
  return new ServerError(message, status, code);
}

async function getJson(path: string): Promise<unknown> {
  const response = await fetch(path, { headers: headers() });
  if (!response.ok) throw failure(response.status, response.statusText, await response.text());
  return response.json();
}

function boundsOf(props: Record<string, unknown>): Bounds {
  const image = (props["image"] ?? {}) as Record<string, number>;
  const video = (props["video"] ?? {}) as Record<string, number>;
  return {
    image: { minPixels: image["min_pixels"] ?? BOUNDS.image.minPixels, maxPixels: image["max_pixels"] ?? BOUNDS.image.maxPixels },
    video: {
      minPixels: video["min_pixels"] ?? BOUNDS.video.minPixels, maxPixels: video["max_pixels"] ?? BOUNDS.video.maxPixels,
      fps: video["fps"] ?? BOUNDS.video.fps, minFrames: video["min_frames"] ?? BOUNDS.video.minFrames,
      maxFrames: video["max_frames"] ?? BOUNDS.video.maxFrames,
    },
  };
}

export async function getServerInfo(): Promise<ServerInfo> {
  const props = (await getJson("/props")) as Record<string, unknown>;
  return {
    model: String(props["model_alias"] ?? ""),
    isDemo: props["is_demo"] === true,
    isThinking: props["is_thinking"] === true,
    context: Number(props["n_ctx"] ?? 0),
    maxBody: Number(props["max_body_bytes"] ?? 64 << 20),
    bounds: boundsOf(props),
  };
}

export type Part =
  | { type: "text"; text: string }
  | ({ type: "image_url"; image_url: { url: string } } & Wishes)
  | ({ type: "video_url"; video_url: { url: string } } & Wishes)
  | ({ type: "video"; video: string[]; times: number[] } & Wishes);

type Wishes = { max_pixels?: number; fps?: number; start?: number; end?: number };

export function wishesOf(kind: "image" | "video", o: MediaOptions): Wishes {
  const out: Wishes = {};
  if (o.maxPixels) out.max_pixels = o.maxPixels;
  if (kind === "video" && o.fps) out.fps = o.fps;
  if (kind === "video" && o.start) out.start = o.start;
  if (kind === "video" && o.end) out.end = o.end;
  return out;
}

export interface Message {
  role: "system" | "user" | "assistant";
  content: string | Part[];
}

export interface Question {
  messages: Message[];
  temperature: number | null;
  topP: number | null;
  maxTokens: number | null;
  schema: unknown; // undefined: free text; null: any JSON object
}

export interface AnswerSink {
  progress(stage: Progress["stage"], done: number, total: number): void;
  text(text: string): void;
  reasoning(text: string): void;
}

export interface AnswerEnd {
  finish: string;
  usage: Usage | null;
  seen: SeenMedia[];
}

/** What the question asks of the server, without how the answer is to come. */
export function bodyOf(q: Question): Record<string, unknown> {
  const body: Record<string, unknown> = { messages: q.messages };
  if (q.temperature !== null) body["temperature"] = q.temperature;
  if (q.topP !== null) body["top_p"] = q.topP;
  if (q.maxTokens !== null) body["max_completion_tokens"] = q.maxTokens;
  if (q.schema === null) body["response_format"] = { type: "json_object" };
  else if (q.schema !== undefined)
    body["response_format"] = { type: "json_schema", json_schema: { name: "fields", schema: q.schema } };
  return body;
}

interface Chunk {
  error?: { message?: string; code?: string | null };
  choices?: { delta?: { content?: string | null; reasoning_content?: string | null }; finish_reason?: string | null }[];
  usage?: Record<string, unknown> | null;
  timings?: Record<string, number>;
  progress?: { stage: string; done: number; total: number };
  qvl?: { media?: SeenMedia[] };
}

function usageOf(chunk: Chunk): Usage {
  const usage = chunk.usage as { prompt_tokens?: number; completion_tokens?: number; prompt_tokens_details?: { cached_tokens?: number } };
  const t = chunk.timings ?? {};
  const s = (name: string) => (t[name] ?? 0) / 1000;
  return {
    promptTokens: usage.prompt_tokens ?? 0,
    answerTokens: usage.completion_tokens ?? 0,
    cachedTokens: usage.prompt_tokens_details?.cached_tokens ?? 0,
    seconds: { media: s("decode_ms"), vision: s("vision_ms"), prefill: s("prefill_ms"), generate: s("predicted_ms"), first: s("first_token_ms") },
  };
}

/** Until the answer is whole; the signal stops it, here and on the server. */
export async function ask(q: Question, sink: AnswerSink, signal: AbortSignal): Promise<AnswerEnd> {
  sink.progress("upload", 0, 0);
  const body = JSON.stringify({ ...bodyOf(q), stream: true, stream_options: { include_usage: true, include_progress: true } });
  const reply = await post("/v1/chat/completions", { ...headers(), "content-type": "application/json" }, body,
    (done, total) => sink.progress("upload", done, total), signal);
  if (reply.status !== 200) {
    let text = "";
    for await (const piece of reply.text) text += piece;
    throw failure(reply.status, reply.statusText, text);
  }
  const end: AnswerEnd = { finish: "stop", usage: null, seen: [] };
  const events = new EventReader();
  for await (const piece of reply.text) {
    for (const event of events.push(piece)) {
      if (event.data === "[DONE]") return end;
      const chunk = JSON.parse(event.data) as Chunk;
      if (chunk.error) throw new ServerError(chunk.error.message ?? "", reply.status, chunk.error.code ?? null);
      take(chunk, sink, end);
    }
  }
  throw new ConnectionLost();
}

function take(chunk: Chunk, sink: AnswerSink, end: AnswerEnd) {
  const progress = chunk.progress;
  if (progress) sink.progress(progress.stage as Progress["stage"], progress.done, progress.total);
  if (chunk.qvl?.media) end.seen = chunk.qvl.media;
  if (chunk.usage) end.usage = usageOf(chunk);
  const choice = chunk.choices?.[0];
  if (choice?.delta?.reasoning_content) sink.reasoning(choice.delta.reasoning_content);
  if (choice?.delta?.content) sink.text(choice.delta.content);
  if (choice?.finish_reason) end.finish = choice.finish_reason;
}
