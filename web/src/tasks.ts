// Task modes: a question ready to be sent, the sampling that suits it, and how its answer is shown.
import type { Key } from "./i18n";

export type View = "text" | "fields" | "html";

export interface Task {
  id: string;
  label: Key;
  prompt: Key | null;
  view: View;
  media: "image" | "video" | "any" | "images";
  greedy: boolean; // reading is not a matter of chance
  json: boolean;   // the answer is JSON, by the schema where there is one
}

const task = (id: string, media: Task["media"], more: Partial<Task> = {}): Task => ({
  id, label: `task.${id}` as Key, prompt: `task.${id}.prompt` as Key, view: "text", media, greedy: false, json: false, ...more,
});

export const FREE: Task = { id: "free", label: "task.free", prompt: null, view: "text", media: "any", greedy: false, json: false };

export const TASKS: Task[] = [
  FREE,
  task("describe", "image"),
  task("text", "image", { greedy: true }),
  task("fields", "image", { greedy: true, json: true, view: "fields" }),
  task("table", "image", { greedy: true }),
  task("html", "image", { view: "html" }),
  task("boxes", "image", { greedy: true }),
  task("compare", "images"),
  task("events", "video", { greedy: true }),
  task("summary", "video"),
  task("check", "any", { greedy: true }),
  task("explain", "image"),
];

export function findTask(id: string): Task {
  return TASKS.find((one) => one.id === id) ?? FREE;
}
