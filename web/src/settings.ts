// What the reader has chosen. Kept in this browser, the server's key in this tab only.
import { effect, signal } from "@preact/signals";
import type { Settings } from "./types";

const NAME = "qvl.settings";
const DEFAULTS: Settings = {
  language: "auto",
  theme: "auto",
  system: "",
  temperature: null,
  topP: null,
  maxTokens: null,
  key: "",
};

function read(): Settings {
  try {
    const kept = JSON.parse(localStorage.getItem(NAME) ?? "{}") as Partial<Settings>;
    return { ...DEFAULTS, ...kept, key: sessionStorage.getItem(`${NAME}.key`) ?? "" };
  } catch {
    return DEFAULTS;
  }
}

export const settings = signal<Settings>(read());

export function change(part: Partial<Settings>) {
  settings.value = { ...settings.value, ...part };
}

effect(() => {
  const { key, ...rest } = settings.value;
  try {
    localStorage.setItem(NAME, JSON.stringify(rest));
    sessionStorage.setItem(`${NAME}.key`, key);
  } catch {
    // A browser that keeps nothing: the settings last as long as the page.
  }
});
