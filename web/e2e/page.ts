// What every test of the page begins with: nothing may be asked of another host, nothing may be complained about on the console.
import { expect, test as base, type Page } from "@playwright/test";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export { expect };

export const demo = (name: string) => fileURLToPath(new URL(`../../demo/${name}`, import.meta.url));

const GOLDEN = readFileSync(new URL("../../tests/golden/demo_answers.txt", import.meta.url), "utf8").split("\n").map((line) => line.split("\t"));

/** What transformers answers with the demo model's weights (reference/demo_answers.py). */
export function golden(files: string, question: string): string {
  return GOLDEN.find((line) => line[0] === files && line[1] === question)![2]!;
}

export const test = base.extend<{ strict: void }>({
  strict: [async ({ page, baseURL }, use) => {
    const complaints: string[] = [];
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
    });
    page.on("pageerror", (error) => complaints.push(error.message));
    const foreign: Promise<void>[] = [];
    page.on("request", (request) => {
      const url = request.url();
      if (url.startsWith(`${baseURL}/`) || /^(data|blob):/.test(url)) return;
      foreign.push(request.response().then(() => undefined, () => undefined).then(() => {
        if (request.failure()?.errorText !== "csp") complaints.push(`asked ${url}`); // else the policy kept it from leaving
      }));
    });
    await use();
    await Promise.all(foreign);
    expect(complaints).toEqual([]);
  }, { auto: true }],
});

export async function open(page: Page): Promise<void> {
  await page.goto("/");
  await expect(page.getByRole("button", { name: /^(Send|发送)$/ })).toBeEnabled();
}

/** Puts files and a question into the composer and waits for the whole answer. */
export async function ask(page: Page, files: string[], question: string): Promise<void> {
  if (files.length > 0) await page.getByTestId("files").setInputFiles(files.map(demo));
  await expect(page.locator(".composer .card")).toHaveCount(files.length);
  await page.locator("textarea.question").fill(question);
  await page.getByRole("button", { name: /^(Send|发送)$/ }).click();
  await expect(page.locator("article.answer").last()).toHaveAttribute("aria-busy", "false");
}

export const lastAnswer = (page: Page) => page.locator("article.answer").last();

/** From here on the server's answer is this text, whatever is asked: for what no small model can be made to say. */
export async function sayInstead(page: Page, text: string, media: unknown[] = []): Promise<void> {
  const chunk = (more: object) => `data: ${JSON.stringify({ id: "x", object: "chat.completion.chunk", model: "m", ...more })}\n\n`;
  const choice = (delta: object, finish: string | null) => chunk({ choices: [{ index: 0, delta, finish_reason: finish }], usage: null });
  const usage = { prompt_tokens: 9, completion_tokens: 5, total_tokens: 14 };
  const body = choice({ role: "assistant", content: "" }, null) + choice({ content: text }, null) + choice({}, "stop") +
    chunk({ choices: [], usage, timings: { predicted_ms: 100, first_token_ms: 50 }, qvl: { media } }) + "data: [DONE]\n\n";
  await page.route("**/v1/chat/completions", (route) => route.fulfill({ contentType: "text/event-stream", body }));
}
