// The request that the composer holds, for other programs.
import { useRef, useState } from "preact/hooks";
import { bodyOf } from "../api";
import { draftRequest } from "../asking";
import { t } from "../i18n";
import { copyText } from "../media";
import { settings } from "../settings";
import { fileAddress, LANGUAGES, snippet, type Language } from "../snippets";
import { draft, task } from "../state";
import { Icon } from "./Icon";

async function write(language: Language): Promise<string> {
  const { text, attachments } = draft.value;
  const words = text.trim() || (task.value.prompt ? t(task.value.prompt) : "");
  const request = await draftRequest(words, attachments, async (a) => fileAddress(a.type || "application/octet-stream", a.name));
  return snippet(language, bodyOf(request), location.origin, settings.value.key !== "");
}

export function Snippets({ isDisabled }: { isDisabled: boolean }) {
  const menu = useRef<HTMLDetailsElement>(null);
  const [copied, setCopied] = useState<Language | null>(null);
  const copy = (language: Language) => void write(language).then(copyText).then(() => {
    setCopied(language);
    setTimeout(() => {
      setCopied(null);
      if (menu.current) menu.current.open = false;
    }, 1200);
  });
  return (
    <details ref={menu} class="menu" onKeyDown={(e) => {
      if (e.key !== "Escape" || !menu.current?.open) return;
      e.stopPropagation();
      menu.current.open = false;
      menu.current.querySelector("summary")?.focus();
    }} onFocusOut={(e) => {
      if (e.relatedTarget && menu.current && !menu.current.contains(e.relatedTarget as Node)) menu.current.open = false;
    }}>
      <summary aria-label={t("composer.snippet")} title={t("composer.snippet")}><Icon name="code" /></summary>
      <div class="choices">
        {LANGUAGES.map((one) => (
          <button key={one} type="button" disabled={isDisabled} aria-label={t("composer.snippetIn", one)} onClick={() => copy(one)}>
            {copied === one ? t("turn.copied") : one}
          </button>
        ))}
      </div>
    </details>
  );
}
