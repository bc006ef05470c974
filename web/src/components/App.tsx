// The whole page: chats at the side, the conversation, the composer.
import { effect, signal } from "@preact/signals";
import { language, t } from "../i18n";
import { settings } from "../settings";
import { announced, isKeyWanted, openConversation, server, serverTrouble, shown } from "../state";
import { Composer, addFiles } from "./Composer";
import { DemoBanner } from "./DemoBanner";
import { KeyForm } from "./KeyForm";
import { SettingsDialog } from "./SettingsDialog";
import { Sidebar } from "./Sidebar";
import { Thread } from "./Thread";
import { Icon } from "./Icon";

const isSidebarOpen = signal(false);
const areSettingsOpen = signal(false);
const isDropping = signal(false);

effect(() => {
  document.documentElement.lang = language.value === "zh" ? "zh-CN" : "en";
  document.documentElement.dataset["theme"] = settings.value.theme;
});

matchMedia("(min-width: 761px)").addEventListener("change", () => (isSidebarOpen.value = false)); // where it is always there

function focus(selector: string) {
  document.querySelector<HTMLElement>(selector)?.focus();
}

function closeSidebar() {
  if (!isSidebarOpen.value) return;
  isSidebarOpen.value = false;
  requestAnimationFrame(() => focus(".menu-button")); // once it can be reached again
}

/** From message to message with Alt and an arrow, and back to the question with Escape. */
function walk(e: KeyboardEvent) {
  const at = (e.target as Element).closest("article");
  if (e.key === "Escape" && at) return focus("textarea.question");
  if (!e.altKey || (e.key !== "ArrowUp" && e.key !== "ArrowDown")) return;
  const all = [...document.querySelectorAll<HTMLElement>("article.turn")];
  const now = at ? all.indexOf(at as HTMLElement) : all.length;
  e.preventDefault();
  if (e.key === "ArrowUp") all[Math.max(0, now - 1)]?.focus();
  else if (now + 1 < all.length) all[now + 1]?.focus();
  else focus("textarea.question");
}

function hasFiles(e: DragEvent): boolean {
  return e.dataTransfer?.types.includes("Files") ?? false;
}

export function App() {
  return (
    <div
      class="app"
      onKeyDown={walk}
      onDragOver={(e) => {
        if (!hasFiles(e)) return;
        e.preventDefault();
        isDropping.value = true;
      }}
      onDragLeave={(e) => {
        if (e.relatedTarget === null) isDropping.value = false;
      }}
      onDrop={(e) => {
        if (!hasFiles(e)) return;
        e.preventDefault();
        isDropping.value = false;
        void addFiles([...(e.dataTransfer?.files ?? [])]);
      }}
    >
      <Sidebar isOpen={isSidebarOpen.value} onClose={closeSidebar} />
      <main inert={isSidebarOpen.value}>
        <header class="bar">
          <button class="icon only-narrow menu-button" aria-label={t("app.menu")} aria-expanded={isSidebarOpen.value} onClick={() => (isSidebarOpen.value = true)}><Icon name="menu" /></button>
          <h1 class="model" title={t("app.model")}>{server.value?.model || t("app.title")}</h1>
          <button class="icon" aria-label={t("app.newChat")} title={t("app.newChat")} onClick={() => { openConversation(null); focus("textarea.question"); }}><Icon name="plus" /></button>
          <button class="icon" aria-label={t("app.settings")} title={t("app.settings")} onClick={() => (areSettingsOpen.value = true)}><Icon name="settings" /></button>
        </header>
        {isKeyWanted.value ? <KeyForm /> : serverTrouble.value && <p class="trouble" role="alert">{serverTrouble.value}</p>}
        {server.value?.isDemo && shown.value.length === 0 && <DemoBanner />}
        <Thread />
        <Composer />
      </main>
      <p class="hidden" role="status">{announced.value}</p>
      {isDropping.value && <div class="drop" aria-hidden="true">{t("composer.drop")}</div>}
      {areSettingsOpen.value && <SettingsDialog onClose={() => (areSettingsOpen.value = false)} />}
    </div>
  );
}
