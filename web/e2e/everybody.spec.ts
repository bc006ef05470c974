// For everybody: both languages whole, both appearances, a phone's width, no serious finding of axe, no long wait.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Page } from "@playwright/test";
import { ask, demo, expect, lastAnswer, open, sayInstead, test } from "./page";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

interface Finding {
  id: string;
  impact: string | null;
  nodes: { html: string }[];
}

/** The serious findings about what is shown now. */
async function findings(page: Page): Promise<string[]> {
  await page.evaluate(axe);
  const all = await page.evaluate(async () => {
    const run = (window as unknown as { axe: { run: () => Promise<{ violations: Finding[] }> } }).axe;
    return (await run.run()).violations;
  });
  return all.filter((one) => one.impact === "serious" || one.impact === "critical")
    .map((one) => `${one.id}: ${one.nodes.map((node) => node.html.slice(0, 120)).join(" | ")}`);
}

const EVERYTHING = '**Bold** at 0:01\n\n[{"bbox_2d":[100,100,300,300],"label":"thing"}]\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nx = "y" # z\n```\n\n$x^2$';

for (const [scheme, locale] of [["light", "en-US"], ["dark", "zh-CN"]] as const) {
  test(`axe finds nothing serious, ${scheme}, ${locale}`, async ({ browser, baseURL }) => {
    test.setTimeout(240_000);
    const context = await browser.newContext({ colorScheme: scheme, locale, baseURL: baseURL!, bypassCSP: true });
    const page = await context.newPage();
    const isChinese = locale === "zh-CN";
    await open(page);
    expect(await findings(page)).toEqual([]); // the demo's samples
    await sayInstead(page, EVERYTHING);
    await ask(page, ["shapes.png"], "?");
    await expect(lastAnswer(page).locator(".hljs-string")).toBeVisible();
    await page.locator(".task select").selectOption("fields");
    await page.getByRole("button", { name: isChinese ? "添加字段" : "Add a field" }).click();
    await page.getByTestId("files").setInputFiles([demo("text.png"), demo("clip-1.mp4")]);
    await expect(page.locator(".composer .card")).toHaveCount(2);
    await page.locator("summary").click();
    expect(await findings(page)).toEqual([]); // answer, composer with picture and clip, schema, menu
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: isChinese ? "设置" : "Settings" }).click();
    expect(await findings(page)).toEqual([]); // dialog
    await page.keyboard.press("Escape");
    await page.setViewportSize({ width: 360, height: 740 });
    expect(await findings(page)).toEqual([]);
    await page.getByRole("button", { name: isChinese ? "菜单" : "Menu" }).click();
    await expect(page.locator(".side")).toBeVisible();
    await page.locator(".side").evaluate((side) => Promise.all(side.getAnimations().map((one) => one.finished))); // it has slid in
    expect(await findings(page)).toEqual([]);
    await context.close();
  });
}

/** Names of things that have no other in Chinese. */
const NAMES = /qvl serve|qvl-demo|qvl|JSON|Schema|CSV|CSS|SRT|WebVTT|Markdown|HTML|curl|Python|JavaScript|Top-p|English|Enter|Shift|Alt|Esc|MB|[\w-]+\.(?:png|mp4|heic|json|txt)/g;

/** Words on the page, and of its labels, that a Chinese reader would not expect; what the reader and the model say is theirs. */
async function latinWords(page: Page): Promise<string[]> {
  const all = await page.evaluate(() => {
    const out: string[] = [document.title];
    const theirs = "[role=status], .said, .markdown > :not(.code, .grid), .markdown pre, .markdown table, .labels, .chat .title, .fields table, title";
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
    while (walker.nextNode()) {
      const at = walker.currentNode;
      const element = at instanceof Element ? at : at.parentElement;
      if (!element || element.closest("script, style, noscript") || (element.closest(theirs) && !(at instanceof Element))) continue;
      if (at instanceof Text) out.push(at.data);
      else for (const name of ["aria-label", "title", "alt", "placeholder"]) out.push(element.getAttribute(name) ?? "");
    }
    return out;
  });
  return all.map((one) => one.replace(NAMES, "")).filter((one) => /[A-Za-z]{2,}/.test(one) && !one.trim().startsWith("{"));
}

test("the Chinese page is Chinese wherever one looks", async ({ browser, baseURL }) => {
  const context = await browser.newContext({ locale: "zh-CN", baseURL: baseURL! });
  const page = await context.newPage();
  await open(page);
  expect(await latinWords(page)).toEqual([]);
  await page.locator("header.bar").getByRole("button", { name: "设置" }).click();
  expect(await latinWords(page)).toEqual([]);
  await page.keyboard.press("Escape");
  const tasks = await page.locator(".task option").evaluateAll((all) => all.map((one) => (one as HTMLOptionElement).value));
  expect(tasks.length).toBeGreaterThanOrEqual(12);
  for (const task of tasks) {
    await page.locator(".task select").selectOption(task);
    expect(await latinWords(page)).toEqual([]);
  }
  await page.locator(".task select").selectOption("fields");
  await page.getByRole("button", { name: "添加字段" }).click();
  await page.getByTestId("files").setInputFiles([demo("text.png"), demo("clip-1.mp4")]);
  await page.getByTestId("files").setInputFiles({ name: "x.heic", mimeType: "image/heic", buffer: Buffer.from("x") });
  await expect(page.locator(".composer .card")).toHaveCount(3);
  expect(await latinWords(page)).toEqual([]);
  for (const [answer, files, task] of [[EVERYTHING, ["shapes.png"], "free"], ["在 0:01 消失", ["clip-1.mp4"], "free"], ['{"编号": 1}', ["receipt.png"], "fields"],
    ["```html\n<h1>店</h1>\n```", ["text.png"], "html"]] as const) {
    await page.reload();
    await sayInstead(page, answer, [{ kind: "video", original: [1, 1], used: [32, 32], tokens: 1, times: [0, 1] }]);
    await expect(page.getByRole("button", { name: "发送" })).toBeEnabled();
    await page.locator(".task select").selectOption(task);
    await ask(page, [...files], "问");
    expect(await latinWords(page)).toEqual([]);
    await page.unroute("**/v1/chat/completions");
  }
  await page.locator("article.question").first().getByRole("button", { name: "编辑" }).click();
  const edited = page.locator("article.question textarea");
  await expect(edited).toBeFocused(); // who presses Escape sooner leaves it open
  expect(await latinWords(page)).toEqual([]);
  await page.keyboard.press("Escape");
  await expect(edited).toHaveCount(0);
  await page.getByTestId("files").setInputFiles({ name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("x") });
  await page.getByTestId("import").setInputFiles({ name: "bad.json", mimeType: "application/json", buffer: Buffer.from("x") });
  await expect(page.getByRole("alert")).toHaveCount(2);
  expect(await latinWords(page)).toEqual([]);
  await page.route("**/v1/chat/completions", () => undefined); // never answers
  await page.locator("textarea.question").fill("问");
  await page.getByRole("button", { name: "发送" }).click();
  await expect(lastAnswer(page).locator(".progress")).toBeVisible();
  expect(await latinWords(page)).toEqual([]);
  await page.getByRole("button", { name: "停止" }).click();
  expect(await latinWords(page)).toEqual([]);
  await context.close();
});

test("everything by keyboard alone", async ({ page }) => {
  await sayInstead(page, "an answer");
  await open(page);
  await page.locator("textarea.question").focus();
  for (const words of ["First?", "Second?"]) {
    await page.keyboard.type(words);
    await page.keyboard.press("Enter");
    await expect(lastAnswer(page)).toHaveAttribute("aria-busy", "false");
    await expect(page.locator("textarea.question")).toBeFocused();
  }
  await page.keyboard.press("Alt+ArrowUp");
  await expect(lastAnswer(page)).toBeFocused();
  await page.keyboard.press("Alt+ArrowUp");
  await expect(page.locator("article.question").last()).toBeFocused();
  await page.keyboard.press("Tab"); // the question's first button
  await page.keyboard.press("Enter");
  await expect(page.getByRole("textbox", { name: "Edit" })).toBeFocused();
  await page.keyboard.press("Escape");
  await expect(page.locator("article.question").last()).toBeFocused();
  await page.keyboard.press("Alt+ArrowDown");
  await page.keyboard.press("Alt+ArrowDown");
  await expect(page.locator("textarea.question")).toBeFocused();
  await page.keyboard.press("Alt+ArrowUp");
  await page.keyboard.press("Escape");
  await expect(page.locator("textarea.question")).toBeFocused();
  const settings = page.getByRole("button", { name: "Settings" });
  for (let i = 0; i < 60 && !(await settings.evaluate((one) => one === document.activeElement)); i++) await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("dialog")).toBeVisible();
  for (let i = 0; i < 20; i++) {
    await page.keyboard.press("Tab");
    expect(await page.evaluate(() => document.activeElement === document.body || document.activeElement!.closest("dialog") !== null)).toBe(true);
  }
  await page.keyboard.press("Escape");
  await expect(page.getByRole("dialog")).toHaveCount(0);
  await expect(settings).toBeFocused();
});

test("dark and light by choice, kept", async ({ page }) => {
  await page.emulateMedia({ colorScheme: "light" });
  await open(page);
  const back = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await back();
  await page.getByRole("button", { name: "Settings" }).click();
  await page.getByLabel("Appearance").selectOption({ label: "Dark" });
  await page.getByRole("button", { name: "Close" }).click();
  const dark = await back();
  const brightness = (colour: string) => colour.match(/\d+/g)!.slice(0, 3).reduce((sum, one) => sum + Number(one), 0) / 3;
  expect([brightness(light) > 200, brightness(dark) < 60]).toEqual([true, true]);
  await page.reload();
  expect(await back()).toBe(dark);
  await page.getByRole("button", { name: "Settings" }).click();
  await page.getByLabel("Appearance").selectOption({ label: "Like the system" });
  expect(await back()).toBe(light);
  await page.emulateMedia({ colorScheme: "dark" });
  expect(await back()).toBe(dark);
});

test("who wants no motion sees none", async ({ page }) => {
  await page.emulateMedia({ reducedMotion: "reduce" });
  await open(page);
  await page.route("**/v1/chat/completions", () => undefined); // never answers
  await page.locator("textarea.question").fill("Wait");
  await page.getByRole("button", { name: "Send" }).click();
  await expect(lastAnswer(page).locator(".pulse")).toHaveCSS("animation-name", "none");
  await page.getByRole("button", { name: "Stop" }).click();
});

test("licences of what the page is made of", async ({ page }) => {
  await open(page);
  await page.getByRole("button", { name: "Settings" }).click();
  const href = await page.getByRole("link", { name: "Licences" }).getAttribute("href");
  const text = await (await page.request.get(href!)).text();
  const { packages } = JSON.parse(readFileSync(new URL("../package-lock.json", import.meta.url), "utf8")) as { packages: Record<string, { version: string }> };
  for (const name of ["preact", "@preact/signals", "@preact/signals-core", "marked", "dompurify", "highlight.js", "katex"])
    expect(text).toContain(`\n${name} ${packages[`node_modules/${name}`]!.version} (`);
  expect(text).toContain("Permission is hereby granted, free of charge");
});

test("how soon the page can be used", async ({ browser, baseURL }) => {
  const context = await browser.newContext({ baseURL: baseURL! });
  const page = await context.newPage();
  await page.goto("/");
  await expect(page.getByRole("button", { name: "Send" })).toBeEnabled();
  const cold = await page.evaluate(() => {
    const [load] = performance.getEntriesByType("navigation") as PerformanceNavigationTiming[];
    return `DOM ready after ${load!.domContentLoadedEventEnd.toFixed(0)} ms, first paint ${performance.getEntriesByName("first-contentful-paint")[0]?.startTime.toFixed(0)} ms`;
  });
  await page.addInitScript(() => {
    const look = () => (document.querySelector<HTMLButtonElement>("button[type=submit]:enabled") ? ((window as unknown as { usable: number }).usable = performance.now())
      : requestAnimationFrame(look));
    look();
  });
  await page.reload();
  await page.waitForFunction(() => "usable" in window);
  const warm = await page.evaluate(() => (window as unknown as { usable: number }).usable);
  console.log(`first load: ${cold}; again: usable after ${warm.toFixed(0)} ms`);
  await context.close();
});

test("on a phone nothing is cut off, and the chats are one tap away", async ({ browser, baseURL }) => {
  const context = await browser.newContext({ viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true, baseURL: baseURL! });
  const page = await context.newPage();
  await open(page);
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360);
  expect(await page.evaluate(() => [...document.querySelectorAll("*")].filter((one) => one.getBoundingClientRect().right > 360.5 &&
    !one.closest(".side, .attachments, .strip")).map((one) => one.className))).toEqual([]);
  await page.getByLabel("Task").selectOption("fields");
  for (let i = 0; i < 6; i++) await page.getByRole("button", { name: "Add a field" }).click();
  await page.getByTestId("files").setInputFiles([demo("text.png"), demo("clip-1.mp4")]);
  await expect(page.locator(".composer .card")).toHaveCount(2);
  await expect(page.getByRole("button", { name: "Send" })).toBeInViewport({ ratio: 1 }); // however much the composer holds
  expect(await page.evaluate(() => document.documentElement.scrollHeight)).toBeLessThanOrEqual(740);
  await page.getByRole("button", { name: "Menu" }).tap();
  await expect(page.locator(".side").getByRole("button", { name: "New chat" })).toBeFocused();
  await expect(page.locator("main")).toHaveAttribute("inert");
  await page.keyboard.press("Escape");
  await expect(page.locator(".side")).not.toBeInViewport();
  await expect(page.getByRole("button", { name: "Menu" })).toBeFocused();
  await context.close();
});

test("the language can be switched and stays", async ({ page }) => {
  await open(page);
  await page.getByRole("button", { name: "Settings" }).click();
  await page.getByLabel("Language").selectOption({ label: "中文" });
  await page.getByRole("button", { name: "关闭" }).click();
  await page.reload();
  await expect(page.getByRole("button", { name: "发送" })).toBeVisible();
  await expect(page.locator("html")).toHaveAttribute("lang", "zh-CN");
});

test("the first load is small", async ({ page }) => {
  const sizes: Promise<number>[] = [];
  page.on("requestfinished", (request) => {
    if (/\.(js|css|html|svg)$|\/$/.test(request.url())) sizes.push(request.sizes().then((one) => one.responseBodySize));
  });
  await open(page);
  await page.waitForLoadState("networkidle");
  const bytes = (await Promise.all(sizes)).reduce((sum, one) => sum + one, 0);
  expect(bytes).toBeGreaterThan(10_000);
  expect(bytes).toBeLessThanOrEqual(200_000);
});

test("500 messages stay smooth", async ({ page }) => {
  await open(page);
  await page.evaluate(async () => {
    const turns = Array.from({ length: 500 }, (_, i) => ({
      id: `t${i}`, parent: i ? `t${i - 1}` : null, role: i % 2 ? "assistant" : "user", text: `**Message** ${i}\n\n- one\n- two\n\n\`code\``,
      reasoning: "", attachments: [], task: "free", made: i, finish: "stop",
    }));
    const one = { id: "long", title: "Long", made: 1, changed: 1, turns, leaf: "t499" };
    await new Promise<void>((resolve, reject) => {
      const opened = indexedDB.open("qvl", 1);
      opened.onsuccess = () => {
        const put = opened.result.transaction("conversations", "readwrite").objectStore("conversations").put(one);
        put.onsuccess = () => resolve();
        put.onerror = () => reject(put.error);
      };
    });
  });
  await page.reload();
  await page.getByRole("button", { name: "Long" }).click();
  await expect(page.locator("article")).toHaveCount(500);
  const worst = await page.evaluate(async () => {
    const box = document.querySelector(".thread")!;
    const frames: number[] = [];
    let last = performance.now();
    for (let i = 0; i < 60; i++) {
      box.scrollTop = (box.scrollHeight * (60 - i)) / 60;
      await new Promise((resolve) => requestAnimationFrame(resolve));
      const now = performance.now();
      frames.push(now - last);
      last = now;
    }
    return frames.sort((a, b) => a - b)[30]!;
  });
  test.info().annotations.push({ type: "median frame, ms", description: worst.toFixed(1) });
  await page.locator("textarea.question").fill("still quick");
  await expect(page.locator("textarea.question")).toHaveValue("still quick");
});
