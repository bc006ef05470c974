// Where a question is made: text, pictures and clips, the task, and what it will cost before it is sent.
import { send, stop } from "../asking";
import { signal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { duration, number, t } from "../i18n";
import { attach } from "../media";
import { clipSize, pictureSize, secondsFor } from "../sizes";
import { bounds, draft, pace, runningTurn, schemaText, server, task } from "../state";
import { findTask, TASKS } from "../tasks";
import type { Attachment } from "../types";
import { AttachmentCard } from "./AttachmentCard";
import { Icon } from "./Icon";
import { SchemaEditor } from "./SchemaEditor";
import { Snippets } from "./Snippets";

const complaint = signal("");

export function tokensOf(a: Attachment): number {
  if (!a.width) return 0;
  if (a.kind === "image") return pictureSize(a.width, a.height, a.options.maxPixels, bounds.value).tokens;
  const seconds = (a.options.end || a.duration) - a.options.start;
  return clipSize(a.width, a.height, seconds, a.options.fps, a.options.maxPixels, bounds.value).tokens;
}

export async function addFiles(files: File[]): Promise<void> {
  complaint.value = "";
  const most = (server.value?.maxBody ?? 64 << 20) * 0.72; // base64 makes four bytes of three
  for (const file of files) {
    if (file.size > most) {
      complaint.value = t("composer.tooBig", file.name, Math.floor(most / 1e6));
      continue;
    }
    const one = await attach(file);
    if (one) draft.value = { ...draft.value, attachments: [...draft.value.attachments, one] };
    else complaint.value = t("composer.notMedia", file.name);
  }
}

function change(id: string, part: Partial<Attachment>) {
  const attachments = draft.value.attachments.map((one) => (one.id === id ? { ...one, ...part } : one));
  draft.value = { ...draft.value, attachments };
}

function schemaTrouble(): string {
  if (!task.value.json || !schemaText.value.trim()) return "";
  try {
    JSON.parse(schemaText.value);
    return "";
  } catch (e) {
    return t("task.fields.badSchema", e instanceof Error ? e.message : "");
  }
}

function submit() {
  const { text, attachments } = draft.value;
  const words = text.trim() || (task.value.prompt ? t(task.value.prompt) : "");
  if ((!words && attachments.length === 0) || runningTurn.value || schemaTrouble()) return;
  draft.value = { text: "", attachments: [] };
  send(words, attachments);
}

function Estimate() {
  const { text, attachments } = draft.value;
  if (attachments.length === 0) return null;
  const seen = attachments.reduce((sum, one) => sum + tokensOf(one), 0);
  const words = Math.ceil(text.length / 3) + 20;
  const seconds = secondsFor(seen, pace.value) + words / pace.value.promptTokens;
  const key = pace.value.isGuess ? "composer.guess" : "composer.estimate";
  return <p class="hint">{t(key, number(seen + words), duration(seconds))}</p>;
}

export function Composer() {
  const picker = useRef<HTMLInputElement>(null);
  const camera = useRef<HTMLInputElement>(null);
  const isBusy = runningTurn.value !== null;
  const isEmpty = !draft.value.text.trim() && draft.value.attachments.length === 0 && !task.value.prompt;
  const trouble = complaint.value || schemaTrouble();
  const take = (e: Event) => {
    const input = e.currentTarget as HTMLInputElement;
    void addFiles([...(input.files ?? [])]);
    input.value = "";
  };
  return (
    <form class="composer" onSubmit={(e) => { e.preventDefault(); submit(); }}>
      <div class="holding">
        {draft.value.attachments.length > 0 && (
          <ul class="attachments">
            {draft.value.attachments.map((one) => (
              <AttachmentCard key={one.id} attachment={one} onChange={(part) => change(one.id, part)}
                onRemove={() => (draft.value = { ...draft.value, attachments: draft.value.attachments.filter((a) => a.id !== one.id) })} />
            ))}
          </ul>
        )}
        {task.value.json && <SchemaEditor />}
      </div>
      {trouble && <p class="trouble" role="alert">{trouble}</p>}
      <Estimate />
      <textarea class="question" rows={2} aria-label={t("composer.placeholder")} value={draft.value.text}
        placeholder={task.value.prompt ? t(task.value.prompt) : t("composer.placeholder")}
        onInput={(e) => (draft.value = { ...draft.value, text: e.currentTarget.value })}
        onPaste={(e) => {
          const files = [...(e.clipboardData?.files ?? [])];
          if (files.length === 0) return;
          e.preventDefault();
          void addFiles(files);
        }}
        onKeyDown={(e) => {
          if (e.key !== "Enter" || e.shiftKey || e.isComposing || e.keyCode === 229) return; // an input method's Enter
          e.preventDefault();
          submit();
        }} />
      <div class="row">
        <button type="button" class="icon" aria-label={t("composer.attach")} title={t("composer.attach")}
          onClick={() => picker.current?.click()}><Icon name="attach" /></button>
        <button type="button" class="icon" aria-label={t("composer.camera")} title={t("composer.camera")}
          onClick={() => camera.current?.click()}><Icon name="camera" /></button>
        <input ref={picker} class="file" data-testid="files" type="file" multiple accept="image/*,video/*,.heic,.heif,.avif,.mkv" onChange={take}
          tabIndex={-1} aria-hidden="true" />
        <input ref={camera} class="file" data-testid="camera" type="file" accept="image/*" capture="environment" onChange={take} tabIndex={-1} aria-hidden="true" />
        <label class="task">
          <span class="hidden">{t("task.label")}</span>
          <select value={task.value.id} onChange={(e) => (task.value = findTask(e.currentTarget.value))}>
            {TASKS.map((one) => <option key={one.id} value={one.id}>{t(one.label)}</option>)}
          </select>
        </label>
        <span class="space" />
        <Snippets isDisabled={isEmpty || schemaTrouble() !== ""} />
        {isBusy ? <button type="button" class="primary" onClick={stop}>{t("composer.stop")}</button>
          : <button type="submit" class="primary" disabled={!server.value}>{t("composer.send")}</button>}
      </div>
    </form>
  );
}
