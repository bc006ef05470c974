// The chats that this browser keeps.
import { signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { fromFile, toFile } from "../exchange";
import { t, type Key } from "../i18n";
import { download } from "../media";
import { conversations, openConversation, openId, putConversation, removeConversation, renameConversation } from "../state";
import { toMarkdown } from "../tree";
import type { Conversation } from "../types";
import { Icon, type IconName } from "./Icon";

const search = signal("");

function matches(one: Conversation, words: string[]): boolean {
  const text = `${one.title}\n${one.turns.map((turn) => turn.text).join("\n")}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

const complaint = signal("");

async function take(file: File, onDone: () => void) {
  const one = await fromFile(await file.text()).catch(() => null);
  complaint.value = one ? "" : t("chat.notImported", file.name);
  if (!one) return;
  putConversation(one);
  openConversation(one.id);
  onDone();
}

function Rename({ one, onDone }: { one: Conversation; onDone: () => void }) {
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.select(), []);
  const isOver = useRef(false); // the field that goes away is blurred, too
  const end = (title: string) => {
    if (isOver.current) return;
    isOver.current = true;
    renameConversation(one, title);
    onDone();
  };
  return (
    <form class="rename" onSubmit={(e) => { e.preventDefault(); end(field.current?.value ?? ""); }}>
      <input ref={field} defaultValue={one.title} aria-label={t("chat.name")} onBlur={(e) => end(e.currentTarget.value)}
        onKeyDown={(e) => {
          if (e.key !== "Escape") return;
          e.stopPropagation();
          end(one.title);
        }} />
    </form>
  );
}

function Tools({ one, onRename }: { one: Conversation; onRename: () => void }) {
  const tool = (name: IconName, label: Key, onClick: () => void) => (
    <button class="icon" title={t(label)} aria-label={t(label)} onClick={onClick}><Icon name={name} /></button>
  );
  return (
    <span class="tools">
      {tool("pencil", "chat.rename", onRename)}
      {tool("file", "export.markdown", () => download(`${one.title}.md`, "text/markdown", toMarkdown(one)))}
      {tool("braces", "export.json", () => void toFile(one).then((text) => download(`${one.title}.json`, "application/json", text)))}
      {tool("bin", "chat.delete", () => { if (confirm(t("chat.deleteSure"))) void removeConversation(one); })}
    </span>
  );
}

function Entry({ one, onClose }: { one: Conversation; onClose: () => void }) {
  const [isRenamed, setIsRenamed] = useState(false);
  const isOpen = openId.value === one.id;
  return (
    <li class={isOpen ? "chat open" : "chat"}>
      {isRenamed ? <Rename one={one} onDone={() => setIsRenamed(false)} /> : (
        <button class="title" aria-current={isOpen ? "true" : undefined} onClick={() => { openConversation(one.id); onClose(); }}>
          {one.title}
        </button>
      )}
      {isOpen && <Tools one={one} onRename={() => setIsRenamed(true)} />}
    </li>
  );
}

export function Sidebar({ isOpen, onClose }: { isOpen: boolean; onClose: () => void }) {
  const side = useRef<HTMLElement>(null);
  const picker = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (isOpen) side.current?.querySelector<HTMLElement>("button")?.focus();
  }, [isOpen]);
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = conversations.value.filter((one) => matches(one, words));
  return (
    <>
      {isOpen && <div class="shade only-narrow" onClick={onClose} />}
      <nav ref={side} class={isOpen ? "side open" : "side"} aria-label={t("app.chats")} onKeyDown={(e) => isOpen && e.key === "Escape" && onClose()}>
        <div class="side-head">
          <button class="primary" onClick={() => { openConversation(null); onClose(); }}>{t("app.newChat")}</button>
          <button class="icon only-narrow" aria-label={t("app.close")} onClick={onClose}><Icon name="close" /></button>
        </div>
        <input type="search" aria-label={t("app.search")} placeholder={t("app.search")} value={search.value}
          onInput={(e) => (search.value = e.currentTarget.value)} />
        {conversations.value.length === 0 ? <p class="hint">{t("app.noChats")}</p>
          : <ul>{found.map((one) => <Entry key={one.id} one={one} onClose={onClose} />)}</ul>}
        <span class="space" />
        {complaint.value && <p class="trouble" role="alert">{complaint.value}</p>}
        <button class="quiet" onClick={() => picker.current?.click()}><Icon name="upload" /> {t("chat.import")}</button>
        <input ref={picker} class="file" data-testid="import" type="file" accept=".json,application/json" tabIndex={-1} aria-hidden="true"
          onChange={(e) => {
            const file = e.currentTarget.files?.[0];
            if (file) void take(file, onClose);
            e.currentTarget.value = "";
          }} />
      </nav>
    </>
  );
}
