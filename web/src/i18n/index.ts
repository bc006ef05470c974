// The page's words: of the language that was chosen, else of the browser's first one that there is.
import { computed } from "@preact/signals";
import { settings } from "../settings";
import { en, type Dictionary, type Key } from "./en";
import { zh } from "./zh";

export type { Key } from "./en";

export const language = computed<"en" | "zh">(() => {
  const chosen = settings.value.language;
  if (chosen !== "auto") return chosen;
  for (const tag of navigator.languages) {
    if (tag.startsWith("zh")) return "zh";
    if (tag.startsWith("en")) return "en";
  }
  return "en";
});

const dictionary = computed<Dictionary>(() => (language.value === "zh" ? zh : en));

export function t(key: Key, ...values: (string | number)[]): string {
  return dictionary.value[key].replace(/\{(\d)\}/g, (_, i: string) => String(values[Number(i)] ?? ""));
}

/** A stretch of time, as one would say it. */
export function duration(seconds: number): string {
  if (seconds < 90) return t("unit.seconds", seconds < 10 ? seconds.toFixed(1) : Math.round(seconds));
  return t("unit.minutes", (seconds / 60).toFixed(seconds < 600 ? 1 : 0));
}

export function number(x: number): string {
  return new Intl.NumberFormat(language.value).format(x);
}
