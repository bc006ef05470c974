// What stays in this browser: conversations, and the bytes of their pictures and clips. Everything in IndexedDB, nothing on
// the server.
import type { Conversation } from "./types";

const NAME = "qvl";
const VERSION = 1;

function request<T>(r: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    r.onsuccess = () => resolve(r.result);
    r.onerror = () => reject(r.error ?? new Error("IndexedDB"));
  });
}

let opened: Promise<IDBDatabase> | null = null;

function open(): Promise<IDBDatabase> {
  opened ??= new Promise((resolve, reject) => {
    const r = indexedDB.open(NAME, VERSION);
    r.onupgradeneeded = () => {
      r.result.createObjectStore("conversations", { keyPath: "id" });
      r.result.createObjectStore("blobs");
    };
    r.onsuccess = () => resolve(r.result);
    r.onerror = () => reject(r.error ?? new Error("IndexedDB"));
  });
  return opened;
}

/** The change, asked for together with its end: a transaction that waits to be ended is thrown away with a page that is left
 *  or loaded again at that moment. */
async function change(store: "conversations" | "blobs", what: (all: IDBObjectStore) => void): Promise<void> {
  const transaction = (await open()).transaction(store, "readwrite");
  const end = new Promise<void>((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error ?? new Error("IndexedDB"));
  });
  what(transaction.objectStore(store));
  transaction.commit();
  return end;
}

async function at(store: "conversations" | "blobs"): Promise<IDBObjectStore> {
  return (await open()).transaction(store, "readonly").objectStore(store);
}

export async function loadConversations(): Promise<Conversation[]> {
  const all = (await request((await at("conversations")).getAll())) as Conversation[];
  return all.sort((a, b) => b.changed - a.changed);
}

export async function saveConversation(one: Conversation): Promise<void> {
  await change("conversations", (all) => all.put(one));
}

/** With the bytes that only it shows. */
export async function deleteConversation(one: Conversation): Promise<void> {
  await change("conversations", (all) => all.delete(one.id));
  const still = new Set((await loadConversations()).flatMap(blobsOf));
  await change("blobs", (all) => {
    for (const key of blobsOf(one)) if (!still.has(key)) all.delete(key);
  });
}

export function blobsOf(one: Conversation): string[] {
  return one.turns.flatMap((turn) => turn.attachments.flatMap((a) => [a.blob, ...(a.frames ?? []).map((f) => f.blob)]));
}

export async function saveBlob(key: string, blob: Blob): Promise<void> {
  await change("blobs", (all) => all.put(blob, key));
}

export async function loadBlob(key: string): Promise<Blob | undefined> {
  return (await request((await at("blobs")).get(key))) as Blob | undefined;
}
