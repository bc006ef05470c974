// Answers while they grow: long ones stay smooth, and what is done of them stays as it is.
import { expect, lastAnswer, open, test } from "./page";
import { before, pause, progress, text } from "./servers";

const BLOCKS = ["## Part {}\n\n", "A paragraph with **bold words**, `code`, $x^{}$ and a [link](https://example.org/{}).\nIts second line.\n\n",
  "- one {}\n- two\n\n  with more\n\n1. first\n2. second\n\n", "```python\ndef f{}():\n\n    return 'x'\n```\n\n", "| a | b |\n|---|---|\n| {} | 2 |\n\n",
  "> said {}\n> again\n\n", "$$\ny = {}\n\n+ 1\n$$\n\n"];

function longAnswer(length: number): string {
  let out = "";
  for (let i = 0; out.length < length; i++) out += BLOCKS[i % BLOCKS.length]!.replaceAll("{}", String(i));
  return out;
}

test("an answer of 30,000 characters grows smoothly, and ends as if it had come at once", async ({ page, baseURL }) => {
  const whole = longAnswer(30000);
  let goOn = () => {};
  const isMeasured = new Promise<void>((resolve) => (goOn = resolve));
  const server = await before(baseURL!, async (say) => {
    for (let at = 0; at < whole.length; at += 100) {
      if (at === 3000) await isMeasured;
      say(text(whole.slice(at, at + 100)));
      await pause(15); // 6,000 characters a second: more than any model writes
    }
  });
  page.removeAllListeners("request"); // its own address is another one
  await page.goto(server.url);
  await page.locator("textarea.question").fill("Write much.");
  await page.getByRole("button", { name: "Send" }).click();
  await expect(lastAnswer(page).locator(".markdown > *").nth(4)).toBeVisible();
  const frames = page.evaluate(async () => {
    const first = document.querySelector(".markdown > *")!;
    (window as unknown as { isMeasuring: boolean }).isMeasuring = true;
    const out: number[] = [];
    const answer = document.querySelector("article.answer")!;
    const status = document.querySelector("[role=status]")!;
    let wasQuiet = true;
    for (let last = performance.now(); answer.getAttribute("aria-busy") === "true";) {
      await new Promise((resolve) => requestAnimationFrame(resolve));
      const now = performance.now();
      out.push(now - last);
      last = now;
      if (answer.getAttribute("aria-busy") === "true" && status.textContent) wasQuiet = false;
    }
    return { out: out.sort((a, b) => a - b), isKept: document.querySelector(".markdown > *") === first, wasQuiet };
  });
  await page.waitForFunction(() => "isMeasuring" in window);
  goOn();
  const { out, isKept, wasQuiet } = await frames;
  await expect(lastAnswer(page)).toHaveAttribute("aria-busy", "false");
  const at = (share: number) => out[Math.min(out.length - 1, Math.floor(out.length * share))]!.toFixed(0);
  console.log(`30,000 characters: ${out.length} frames, median ${at(0.5)} ms, 95 % within ${at(0.95)} ms, longest ${at(1)} ms`);
  expect(isKept).toBe(true); // the first block was never made anew
  expect(wasQuiet).toBe(true); // a screen reader hears the answer once it is whole
  await expect(page.getByRole("status")).toHaveText(/^## Part 0/);
  await expect(lastAnswer(page).locator(".katex").last()).toBeVisible();
  await expect(lastAnswer(page).locator("pre .hljs-string").last()).toBeVisible();
  const grown = await lastAnswer(page).locator(".markdown").innerHTML();
  await page.reload();
  await page.getByRole("button", { name: "Write much." }).click();
  await expect.poll(() => lastAnswer(page).locator(".markdown").innerHTML()).toBe(grown);
  server.end();
});

test("stages are told with their share, pace and the time left", async ({ page, baseURL }) => {
  let goOn = () => {};
  let nWord = 0, isOver = false;
  const repeat = async (say: () => void) => { // until it is seen: a page that was held up takes two of them for one moment
    let isSeen = false;
    for (goOn = () => (isSeen = true); !isSeen; await pause(100)) say();
  };
  const server = await before(baseURL!, async (say) => {
    say(progress("vision", 10, 40));
    await repeat(() => say(progress("vision", 12, 40)));
    say(progress("prefill", 100, 400));
    await repeat(() => say(progress("prefill", 200, 400)));
    await repeat(() => say(text(`word${nWord++} `)));
    while (!isOver) await pause(20);
  });
  page.removeAllListeners("request");
  await page.goto(server.url);
  await page.locator("textarea.question").fill("Look.");
  await page.getByRole("button", { name: "Send" }).click();
  const line = lastAnswer(page).locator(".progress");
  await expect(line).toHaveText(/Looking 12 of 40 · [\d.]+ s left/);
  await expect(line.locator("progress")).toHaveJSProperty("position", 0.3);
  goOn();
  await expect(line).toHaveText(/Reading the prompt 200 of 400 · [\d.]+ tokens\/s · [\d.]+ s left/);
  goOn();
  await expect(line).toHaveText(/Writing \d+ tokens · [\d.]+ tokens\/s$/);
  goOn();
  await expect(line).toHaveText(new RegExp(`Writing ${nWord} tokens · [\\d.]+ tokens/s$`));
  isOver = true;
  await expect(line).toHaveCount(0);
  server.end();
});

test("500 messages stay as they are while an answer grows", async ({ page, baseURL }) => {
  const server = await before(baseURL!, async (say) => {
    for (let i = 0; i < 200; i++) {
      say(text(`word${i} `));
      await pause(5);
    }
  });
  page.removeAllListeners("request");
  await page.goto(server.url);
  await expect(page.getByRole("button", { name: "Send" })).toBeEnabled();
  const turns = Array.from({ length: 500 }, (_, i) => ({ id: `t${i}`, parent: i ? `t${i - 1}` : null, role: i % 2 ? "assistant" : "user", text: `**Message** ${i}`, task: "free" }));
  const file = { format: "qvl-conversation", version: 1, conversation: { title: "Long", turns, leaf: "t499" }, media: {} };
  await page.getByTestId("import").setInputFiles({ name: "long.json", mimeType: "application/json", buffer: Buffer.from(JSON.stringify(file)) });
  await expect(page.locator("article")).toHaveCount(500);
  await page.locator("textarea.question").fill("More.");
  const frames = page.evaluate(async () => {
    const out: number[] = [];
    let last = performance.now();
    while (document.querySelectorAll("article").length < 502 || document.querySelector("article[aria-busy=true]")) {
      await new Promise((resolve) => requestAnimationFrame(resolve));
      out.push(performance.now() - last);
      last = performance.now();
    }
    return out.sort((a, b) => a - b);
  });
  await page.getByRole("button", { name: "Send" }).click();
  const out = await frames;
  console.log(`500 messages and a growing one: median frame ${out[out.length >> 1]!.toFixed(0)} ms, longest ${out.at(-1)!.toFixed(0)} ms`);
  await expect(lastAnswer(page).locator(".markdown")).toContainText("word199");
  server.end();
});

test("a large clip is told of while it goes out", async ({ page }) => {
  await open(page);
  page.removeAllListeners("console"); // the browser itself says that a reply was 4xx
  const wire = await page.context().newCDPSession(page);
  await wire.send("Network.emulateNetworkConditions", { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: 1e6 });
  await page.getByTestId("files").setInputFiles({ name: "large.mp4", mimeType: "video/mp4", buffer: Buffer.alloc(9e6, "no clip ") });
  await page.locator("textarea.question").fill("What is it?");
  await page.getByRole("button", { name: "Send" }).click();
  await expect(lastAnswer(page).locator(".progress")).toHaveText(/Sending \d+\.\d of 12\.0 MB/);
  await wire.send("Network.emulateNetworkConditions", { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: -1 });
  await expect(lastAnswer(page)).toContainText("That did not work");
});
