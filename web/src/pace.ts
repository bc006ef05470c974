// How fast this machine is with each model, as measured by its last answers; kept in this browser.
import { signal } from "@preact/signals";
import type { Pace } from "./sizes";
import type { SeenMedia, Usage } from "./types";

const NAME = "qvl.pace";
const MAX_MODELS = 20;
const GUESS: Pace = { visionTokens: 60, promptTokens: 80, isGuess: true }; // a small model on a few cores
const DEMO_GUESS: Pace = { visionTokens: 200, promptTokens: 500, isGuess: true };

function read(): Record<string, Pace> {
  try {
    const kept = JSON.parse(localStorage.getItem(NAME) ?? "{}") as Record<string, Partial<Pace> | null>;
    return Object.fromEntries(Object.entries(kept).flatMap(([model, one]) =>
      one && Number(one.visionTokens) > 0 && Number(one.promptTokens) > 0
        ? [[model, { visionTokens: Number(one.visionTokens), promptTokens: Number(one.promptTokens), isGuess: false }]] : []));
  } catch {
    return {};
  }
}

const paces = signal(read());

export function paceOf(model: string, isDemo: boolean): Pace {
  return paces.value[model] ?? (isDemo ? DEMO_GUESS : GUESS);
}

/** From what an answer took. Little work, or work that was done before, tells nothing. */
export function learnPace(model: string, usage: Usage, seen: SeenMedia[], before: Pace) {
  const looked = seen.reduce((sum, m) => sum + m.tokens - (m.reused_tokens ?? 0), 0);
  const computed = usage.promptTokens - usage.cachedTokens;
  const { vision, prefill } = usage.seconds;
  const isVisionTold = looked > 30 && vision > 0.01;
  const isPromptTold = computed > 30 && prefill > 0.01;
  if (!isVisionTold && !isPromptTold) return;
  const now: Pace = {
    visionTokens: isVisionTold ? looked / vision : before.visionTokens,
    promptTokens: isPromptTold ? computed / prefill : before.promptTokens,
    isGuess: false,
  };
  const others = Object.entries(paces.value).filter(([name]) => name !== model);
  paces.value = Object.fromEntries([[model, now], ...others].slice(0, MAX_MODELS)) as Record<string, Pace>;
  try {
    localStorage.setItem(NAME, JSON.stringify(paces.value));
  } catch {
    // A browser that keeps nothing.
  }
}
