// Putting a question: what the composer holds becomes a turn, the branch up to it a request, and the answer grows in a turn of
// its own.
import { ask, ServerError, wishesOf, type AnswerEnd, type AnswerSink, type Message, type Part, type Question } from "./api";
import { t } from "./i18n";
import { dataUri, sampleClip } from "./media";
import { learnPace } from "./pace";
import { ConnectionLost } from "./post";
import { settings } from "./settings";
import { announced, bounds, changeTurn, conversation, findConversation, findServer, openId, pace, putConversation, running, schemaText, server,
  shown, task } from "./state";
import { findTask, type Task } from "./tasks";
import { pathTo, titleOf } from "./tree";
import type { Attachment, Conversation, Progress, Turn } from "./types";

const newId = () => crypto.randomUUID();

function newTurn(parent: string | null, role: Turn["role"], text: string, attachments: Attachment[], taskId: string): Turn {
  return { id: newId(), parent, role, text, reasoning: "", attachments, task: taskId, made: Date.now() };
}

/** Sends a question; with `instead`, as another version of that one. */
export function send(text: string, attachments: Attachment[], instead?: Turn): void {
  const now = Date.now();
  const before = conversation.value ??
    { id: newId(), title: titleOf(text) || attachments[0]?.name || t("app.untitled"), made: now, changed: now, turns: [], leaf: null };
  const question = newTurn(instead ? instead.parent : before.leaf, "user", text, attachments, instead ? instead.task : task.value.id);
  putConversation({ ...before, changed: now, turns: [...before.turns, question], leaf: question.id });
  openId.value = before.id;
  void answer(before.id, question);
}

/** Another answer to the question above `turn`. */
export function askAgain(turn: Turn): void {
  const one = conversation.value;
  const question = one?.turns.find((other) => other.id === turn.parent);
  if (one && question) void answer(one.id, question);
}

export function stop(): void {
  running.value?.stop.abort();
}

// ---- the request ---------------------------------------------------------------------------------

type AddressOf = (a: Attachment) => Promise<string>;

async function addressOf(a: Attachment): Promise<string> {
  return dataUri(a.blob, a.type || "application/octet-stream");
}

async function partOf(a: Attachment, address: AddressOf): Promise<Part> {
  if (a.kind === "image") return { type: "image_url", image_url: { url: await address(a) }, ...wishesOf("image", a.options) };
  if (!a.frames) return { type: "video_url", video_url: { url: await address(a) }, ...wishesOf("video", a.options) };
  const video = await Promise.all(a.frames.map((f) => dataUri(f.blob, "image/jpeg")));
  return { type: "video", video, times: a.frames.map((f) => f.time), ...wishesOf("image", a.options) };
}

async function messagesOf(turns: Turn[], address: AddressOf): Promise<Message[]> {
  const out: Message[] = settings.value.system ? [{ role: "system", content: settings.value.system }] : [];
  for (const turn of turns) {
    if (turn.role === "assistant" || turn.attachments.length === 0) {
      out.push({ role: turn.role, content: turn.text });
      continue;
    }
    const parts = await Promise.all(turn.attachments.map((a) => partOf(a, address)));
    out.push({ role: "user", content: turn.text ? [...parts, { type: "text", text: turn.text }] : parts });
  }
  return out;
}

/** The schema of the fields mode: undefined where the answer is free. */
function schemaOf(mode: Task): unknown {
  if (!mode.json) return undefined;
  return schemaText.value.trim() ? JSON.parse(schemaText.value) : null;
}

/** The request whose last turn is `question`. */
async function requestOf(turns: Turn[], question: Turn, address: AddressOf = addressOf): Promise<Question> {
  const mode = findTask(question.task);
  const s = settings.value;
  return {
    messages: await messagesOf(turns, address), temperature: s.temperature ?? (mode.greedy ? 0 : null), topP: s.topP,
    maxTokens: s.maxTokens, schema: schemaOf(mode),
  };
}

/** The request that sending now would put, with files by what `address` calls them. */
export function draftRequest(text: string, attachments: Attachment[], address: AddressOf): Promise<Question> {
  const before = shown.value;
  const whole = attachments.map(({ frames: _, ...a }) => a);
  const question = newTurn(null, "user", text, whole, task.value.id);
  return requestOf([...before, question], question, address);
}

/** Where the server could not read a clip, perhaps for want of a codec, the browser may: its frames then stand for it. */
async function withOwnFrames(conversationId: string, question: Turn): Promise<Conversation | null> {
  const isClip = (a: Attachment) => a.kind === "video" && !a.frames && a.width > 0;
  if (!question.attachments.some(isClip)) return null;
  const attachments = await Promise.all(question.attachments.map((a) => (isClip(a) ? sampleClip(a, bounds.value) : a)));
  changeTurn(conversationId, question.id, { attachments }, true);
  return findConversation(conversationId) ?? null;
}

// ---- the answer ----------------------------------------------------------------------------------

/** What comes of a question, into its turn, once a frame. */
class Growing implements AnswerSink {
  private written = "";
  private thought = "";
  private count = 0; // of pieces, each about a token
  private isDue = false;

  constructor(private conversationId: string, readonly id: string) {}

  get parts() {
    return { text: this.written, reasoning: this.thought };
  }

  private get isCurrent() {
    return running.value?.turn === this.id;
  }

  progress(stage: Progress["stage"], done: number, total: number) {
    if (!running.value || !this.isCurrent) return;
    const before = running.value.progress;
    const since = before.stage === stage ? before.since : performance.now();
    running.value = { ...running.value, progress: { stage, done, total, since } };
  }

  text(more: string) {
    this.written += more;
    this.count++;
    this.draw();
  }

  reasoning(more: string) {
    this.thought += more;
    this.count++;
    this.draw();
  }

  private draw() {
    if (this.isDue) return;
    this.isDue = true;
    requestAnimationFrame(() => {
      this.isDue = false;
      this.progress("generate", this.count, 0);
      if (this.isCurrent) changeTurn(this.conversationId, this.id, this.parts);
    });
  }
}

async function askServer(one: Conversation, question: Turn, sink: AnswerSink, signal: AbortSignal): Promise<AnswerEnd> {
  try {
    return await ask(await requestOf(pathTo(one, question.id), question), sink, signal);
  } catch (e) {
    if (!(e instanceof ServerError) || e.status !== 422 || signal.aborted) throw e;
    const sampled = await withOwnFrames(one.id, question).catch(() => null);
    if (!sampled || signal.aborted) throw e;
    return ask(await requestOf(pathTo(sampled, question.id), question), sink, signal);
  }
}

function failure(e: unknown, signal: AbortSignal): Partial<Turn> {
  if (signal.aborted) return { finish: "cancelled" };
  if (e instanceof ConnectionLost || (e instanceof ServerError && (e.status === 401 || e.status === 503))) void findServer();
  return { finish: "error", error: e instanceof ConnectionLost ? t("app.offline") : e instanceof Error ? e.message : String(e) };
}

async function answer(conversationId: string, question: Turn): Promise<void> {
  stop();
  const before = findConversation(conversationId);
  if (!before) return;
  const turn = newTurn(question.id, "assistant", "", [], question.task);
  const control = new AbortController();
  const growing = new Growing(conversationId, turn.id);
  putConversation({ ...before, changed: Date.now(), turns: [...before.turns, turn], leaf: turn.id });
  running.value = { turn: turn.id, progress: { stage: "upload", done: 0, total: 0, since: performance.now() }, stop: control };
  let end: Partial<Turn>;
  try {
    const { usage, ...done } = await askServer(before, question, growing, control.signal);
    end = usage ? { ...done, usage } : done;
  } catch (e) {
    end = failure(e, control.signal);
  }
  if (running.value?.turn === turn.id) running.value = null;
  changeTurn(conversationId, turn.id, { ...growing.parts, ...end }, true);
  if (end.finish !== "cancelled") announced.value = end.error ? t("turn.failed", end.error) : growing.parts.text;
  if (end.usage && server.value) learnPace(server.value.model, end.usage, end.seen ?? [], pace.value);
}
