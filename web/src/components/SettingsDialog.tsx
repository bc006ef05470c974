// What the reader may choose.
import { useEffect, useRef } from "preact/hooks";
import { t } from "../i18n";
import { change, settings } from "../settings";
import { findServer, isKeyWanted } from "../state";
import type { Settings } from "../types";

function NumberField({ label, name, min, max, step }: {
  label: string; name: "temperature" | "topP" | "maxTokens"; min: number; max: number; step: number;
}) {
  const value = settings.value[name];
  return (
    <label>
      {label}
      <input type="number" min={min} max={max} step={step} value={value ?? ""} placeholder={t("settings.default")}
        onInput={(e) => {
          const x = e.currentTarget.value === "" ? null : Number(e.currentTarget.value);
          change({ [name]: x === null || Number.isNaN(x) ? null : Math.min(max, Math.max(min, x)) });
        }} />
    </label>
  );
}

export function SettingsDialog({ onClose }: { onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  const s = settings.value;
  return (
    <dialog ref={dialog} class="settings" aria-label={t("app.settings")} onClose={onClose}>
      <form method="dialog">
        <h2>{t("app.settings")}</h2>
        <label>
          {t("settings.language")}
          <select value={s.language} onChange={(e) => change({ language: e.currentTarget.value as Settings["language"] })}>
            <option value="auto">{t("settings.languageAuto")}</option>
            <option value="en">English</option>
            <option value="zh">中文</option>
          </select>
        </label>
        <label>
          {t("settings.theme")}
          <select value={s.theme} onChange={(e) => change({ theme: e.currentTarget.value as Settings["theme"] })}>
            <option value="auto">{t("settings.themeAuto")}</option>
            <option value="light">{t("settings.themeLight")}</option>
            <option value="dark">{t("settings.themeDark")}</option>
          </select>
        </label>
        <label>
          {t("settings.system")}
          <textarea rows={3} value={s.system} onInput={(e) => change({ system: e.currentTarget.value })} />
        </label>
        <div class="numbers">
          <NumberField label={t("settings.temperature")} name="temperature" min={0} max={2} step={0.1} />
          <NumberField label={t("settings.topP")} name="topP" min={0} max={1} step={0.05} />
          <NumberField label={t("settings.maxTokens")} name="maxTokens" min={1} max={1000000} step={1} />
        </div>
        <label>
          {t("settings.key")}
          <input type="password" autocomplete="off" value={s.key} onInput={(e) => change({ key: e.currentTarget.value })}
            onChange={() => isKeyWanted.value && void findServer()} />
          <span class="hint">{t("settings.keyHint")}</span>
        </label>
        <p class="hint"><strong>{t("settings.keyboard")}</strong> {t("settings.keys")}</p>
        <p class="hint"><a href="/THIRD-PARTY.txt" target="_blank" rel="noopener">{t("settings.licences")}</a></p>
        <button class="primary">{t("app.close")}</button>
      </form>
    </dialog>
  );
}
