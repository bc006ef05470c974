// Asked for where the server wants a key.
import { useEffect, useRef, useState } from "preact/hooks";
import { t } from "../i18n";
import { change } from "../settings";
import { findServer } from "../state";

export function KeyForm() {
  const [key, setKey] = useState("");
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.focus(), []);
  return (
    <form class="key" onSubmit={(e) => {
      e.preventDefault();
      change({ key: key.trim() });
      void findServer();
    }}>
      <label>
        {t("app.keyWanted")}
        <input ref={field} type="password" autocomplete="off" value={key} aria-label={t("settings.key")} onInput={(e) => setKey(e.currentTarget.value)} />
      </label>
      <button class="primary">{t("app.connect")}</button>
      <span class="hint">{t("settings.keyHint")}</span>
    </form>
  );
}
