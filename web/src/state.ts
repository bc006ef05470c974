// What the page is doing. Signals hold it; the functions here, and those of asking.ts, are all that changes it.
import { computed, signal } from "@preact/signals";
import { getServerInfo, ServerError, type ServerInfo } from "./api";
import { t } from "./i18n";
import { paceOf } from "./pace";
import { BOUNDS } from "./sizes";
import { deleteConversation, loadConversations, saveConversation } from "./store";
import { FREE, type Task } from "./tasks";
import { newestLeaf, pathTo } from "./tree";
import type { Attachment, Conversation, Progress, Turn } from "./types";

export const server = signal<ServerInfo | null>(null);
export const bounds = computed(() => server.value?.bounds ?? BOUNDS);
export const serverTrouble = signal<string | null>(null);
export const isKeyWanted = signal(false);
export const conversations = signal<Conversation[]>([]);
export const openId = signal<string | null>(null);
export const task = signal<Task>(FREE);
export const schemaText = signal("");
export const draft = signal<{ text: string; attachments: Attachment[] }>({ text: "", attachments: [] });
export const pace = computed(() => paceOf(server.value?.model ?? "", server.value?.isDemo ?? false));

/** The answer that is being made: where it goes, and how far it is. */
export const running = signal<{ turn: string; progress: Progress; stop: AbortController } | null>(null);
export const runningTurn = computed(() => running.value?.turn ?? null);

/** What a screen reader is to say: answers once they are whole. */
export const announced = signal("");

export const conversation = computed(() => conversations.value.find((one) => one.id === openId.value) ?? null);
export const shown = computed<Turn[]>(() => (conversation.value ? pathTo(conversation.value, conversation.value.leaf) : []));

export async function start(): Promise<void> {
  void findServer();
  try {
    conversations.value = await loadConversations();
  } catch {
    conversations.value = []; // a browser that keeps nothing
  }
}

const RETRY_AFTER = 2000; // milliseconds
let retry: ReturnType<typeof setTimeout> | undefined;

/** Asks the server what it is, until it says so. Without its key there is no use in asking again. */
export async function findServer(): Promise<void> {
  clearTimeout(retry);
  try {
    server.value = await getServerInfo();
    serverTrouble.value = null;
    isKeyWanted.value = false;
  } catch (e) {
    const status = e instanceof ServerError ? e.status : 0;
    isKeyWanted.value = status === 401;
    serverTrouble.value = status === 503 ? t("app.loading") : e instanceof ServerError ? e.message : t("app.offline");
    if (status !== 401) retry = setTimeout(() => void findServer(), RETRY_AFTER);
  }
}

// ---- conversations -------------------------------------------------------------------------------

export function putConversation(one: Conversation, isKept = true) {
  const others = conversations.value.filter((other) => other.id !== one.id);
  conversations.value = [one, ...others].sort((a, b) => b.changed - a.changed);
  if (isKept) saveConversation(one).catch(() => undefined);
}

export function findConversation(id: string): Conversation | undefined {
  return conversations.value.find((one) => one.id === id);
}

export function changeTurn(conversationId: string, id: string, part: Partial<Turn>, isKept = false) {
  const one = findConversation(conversationId);
  if (!one) return;
  putConversation({ ...one, turns: one.turns.map((turn) => (turn.id === id ? { ...turn, ...part } : turn)) }, isKept);
}

export function openConversation(id: string | null) {
  openId.value = id;
}

export async function removeConversation(one: Conversation): Promise<void> {
  if (openId.value === one.id) openId.value = null;
  conversations.value = conversations.value.filter((other) => other.id !== one.id);
  await deleteConversation(one).catch(() => undefined);
}

export function renameConversation(one: Conversation, title: string) {
  putConversation({ ...one, title: title.trim() || one.title });
}

export function showSibling(turn: Turn) {
  const one = conversation.value;
  if (one) putConversation({ ...one, leaf: newestLeaf(one, turn) });
}
