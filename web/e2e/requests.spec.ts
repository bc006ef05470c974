// What reaches the server, and what the page does when it is not there, wants a key or is to stop.
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { ask, demo, expect, golden, lastAnswer, open, sayInstead, test } from "./page";
import { serve } from "./servers";
import type { Page } from "@playwright/test";

interface Body {
  messages: { role: string; content: unknown }[];
  temperature?: number;
  top_p?: number;
  max_completion_tokens?: number;
}

async function sentBody(page: Page): Promise<Body> {
  const sent = page.waitForRequest("**/v1/chat/completions");
  await ask(page, [], "Hello?");
  return (await sent).postDataJSON() as Body;
}

test("system prompt and sampling settings reach the request, and nothing where nothing is set", async ({ page }) => {
  await sayInstead(page, "yes");
  await open(page);
  expect(await sentBody(page)).toEqual({ messages: [{ role: "user", content: "Hello?" }], stream: true,
    stream_options: { include_usage: true, include_progress: true } });
  await page.getByRole("button", { name: "Settings" }).click();
  await page.getByLabel("System prompt").fill("Answer like a pirate.");
  await page.getByLabel("Temperature").fill("0.3");
  await page.getByLabel("Top-p").fill("0.5");
  await page.getByLabel("Longest answer").fill("77");
  await page.getByRole("button", { name: "Close" }).click();
  await page.reload();
  await page.locator("header.bar").getByRole("button", { name: "New chat" }).click();
  expect(await sentBody(page)).toMatchObject({ temperature: 0.3, top_p: 0.5, max_completion_tokens: 77,
    messages: [{ role: "system", content: "Answer like a pirate." }, { role: "user", content: "Hello?" }] });
});

test("earlier messages go along, pictures too", async ({ page }) => {
  await sayInstead(page, "a receipt");
  await open(page);
  await ask(page, ["receipt.png"], "What is it?");
  const body = await sentBody(page);
  expect(body.messages.map((one) => one.role)).toEqual(["user", "assistant", "user"]);
  expect(JSON.stringify(body.messages[0])).toContain("data:image/png;base64,iVBOR");
  expect(body.messages[1]!.content).toBe("a receipt");
});

async function metric(page: Page, name: RegExp): Promise<number> {
  const text = await (await page.request.get("/metrics")).text();
  return text.split("\n").filter((line) => name.test(line)).reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

test("stopping cancels on the server", async ({ page }) => {
  await open(page);
  await page.route("**/v1/chat/completions", (route) => {
    const body = route.request().postDataJSON() as object;
    return route.continue({ postData: JSON.stringify({ ...body, ignore_eos: true, temperature: 2, max_completion_tokens: 8000 }) });
  });
  const before = await metric(page, /^qvl_requests_finished_total\{.*"abort"/);
  await page.locator("textarea.question").fill("Write without end.");
  await page.getByRole("button", { name: "Send" }).click();
  await expect.poll(() => metric(page, /^qvl_requests_running\b/)).toBe(1);
  await expect(lastAnswer(page).locator(".markdown")).toBeVisible();
  await page.getByRole("button", { name: "Stop" }).click();
  await expect(lastAnswer(page)).toContainText("Stopped.");
  await expect.poll(() => metric(page, /^qvl_requests_running\b/)).toBe(0);
  await expect.poll(() => metric(page, /^qvl_requests_finished_total\{.*"abort"/)).toBe(before + 1);
});

test("a server with a key: the page asks for it, says when it is wrong, and uses it", async ({ page }) => {
  const key = "correct-horse-battery-staple";
  writeFileSync("../build/page-test-keys", `${key}\n`);
  const server = await serve(["--port", "0", "--api-key-file", "../build/page-test-keys"]);
  page.removeAllListeners("request");
  page.removeAllListeners("console"); // the browser itself says that a reply was 401
  await page.goto(server.url);
  const field = page.getByLabel("Key of the server");
  await expect(field).toBeFocused();
  await expect(page.getByRole("button", { name: "Send" })).toBeDisabled();
  await field.fill("wrong");
  await field.press("Enter");
  await expect(field).toBeVisible();
  await expect(page.getByRole("button", { name: "Send" })).toBeDisabled();
  await field.fill(key);
  await page.getByRole("button", { name: "Connect" }).click();
  await expect(field).toHaveCount(0);
  await ask(page, ["text.png"], "What does it say?");
  await expect(lastAnswer(page).locator(".markdown")).toContainText(golden("text.png", "What does it say?"));
  await page.reload();
  await expect(page.getByRole("button", { name: "Send" })).toBeEnabled(); // kept in this tab
  expect(await page.evaluate(() => JSON.stringify({ ...localStorage }))).not.toContain(key);
  await server.end();
});

test("a server that goes away and comes back", async ({ page }) => {
  const port = String(Number(process.env["QVL_PAGE_PORT"] ?? 18473) + 2);
  let server = await serve(["--port", port]);
  page.removeAllListeners("request");
  page.removeAllListeners("console"); // the browser itself says that there is no connection
  await page.goto(server.url);
  await expect(page.getByRole("button", { name: "Send" })).toBeEnabled();
  await server.end();
  await page.locator("textarea.question").fill("Are you there?");
  await page.getByRole("button", { name: "Send" }).click();
  await expect(lastAnswer(page)).toContainText("The server does not answer");
  await expect(page.getByRole("alert")).toContainText("The server does not answer");
  server = await serve(["--port", port]);
  await expect(page.getByRole("alert")).toHaveCount(0);
  await lastAnswer(page).getByRole("button", { name: "Try again" }).click();
  await expect(lastAnswer(page).locator(".markdown")).toBeVisible();
  await expect(lastAnswer(page)).not.toContainText("does not work");
  await server.end();
});

const RUN: Record<string, (source: string) => string> = {
  curl: (source) => execFileSync("bash", ["-euc", source], { cwd: demo(""), encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }),
  Python: (source) => execFileSync("python3", ["-c", source], { cwd: demo(""), encoding: "utf8" }),
  JavaScript: (source) => execFileSync("node", ["--input-type=module", "-e", source], { cwd: demo(""), encoding: "utf8" }),
};

for (const [language, run] of Object.entries(RUN)) {
  test(`the request as ${language}, which answers as the page does`, async ({ page, context }) => {
    await context.grantPermissions(["clipboard-read", "clipboard-write"]);
    await open(page);
    await page.getByRole("button", { name: "Settings" }).click();
    await page.getByLabel("Temperature").fill("0");
    await page.getByLabel("System prompt").fill("It's \"$HOME\" `id` \\n true null\nEND");
    await page.getByRole("button", { name: "Close" }).click();
    await page.getByTestId("files").setInputFiles(demo("text.png"));
    await expect(page.locator(".composer .card")).toHaveCount(1);
    await page.locator("textarea.question").fill("What does it say?");
    await page.locator("summary").click();
    await page.getByRole("button", { name: `Copy this request for ${language}` }).click();
    await expect(page.locator(".menu").getByText("Copied")).toBeVisible();
    const source = await page.evaluate(() => navigator.clipboard.readText());
    const sent = page.waitForRequest("**/v1/chat/completions");
    await page.getByRole("button", { name: "Send" }).click();
    const { messages } = (await sent).postDataJSON() as { messages: { content: string }[] };
    await expect(lastAnswer(page)).toHaveAttribute("aria-busy", "false");
    const said = (await lastAnswer(page).locator(".markdown").innerText()).trim();
    const ran = run(source);
    const answer = (language === "curl" ? (JSON.parse(ran) as { choices: { message: { content: string } }[] }).choices[0]!.message.content : ran).trim();
    expect(answer.replace(/\s+/g, " ")).toBe(said.replace(/\s+/g, " "));
    expect(messages[0]!.content).toBe("It's \"$HOME\" `id` \\n true null\nEND");
  });
}
