// Turns: stopping, asking again, editing, finding and keeping them.
import { readFileSync } from "node:fs";
import { ask, demo, expect, lastAnswer, open, sayInstead, test } from "./page";

test("another answer and another question are branches, and both stay", async ({ page }) => {
  await open(page);
  await sayInstead(page, "first");
  await ask(page, [], "Question one");
  await page.unroute("**/v1/chat/completions");
  await sayInstead(page, "second");
  await lastAnswer(page).getByRole("button", { name: "Another answer" }).click();
  await expect(lastAnswer(page).locator(".markdown")).toHaveText("second");
  await expect(lastAnswer(page)).toContainText("2/2");
  await lastAnswer(page).getByRole("button", { name: "Earlier version" }).click();
  await expect(lastAnswer(page).locator(".markdown")).toHaveText("first");
  await page.locator("article.question").getByRole("button", { name: "Edit" }).click();
  await page.locator("article.question textarea").fill("Question two");
  await page.locator("article.question").getByRole("button", { name: "Send" }).click();
  await expect(page.locator("article.question")).toContainText("Question two");
  await page.locator("article.question").getByRole("button", { name: "Earlier version" }).click();
  await expect(page.locator("article.question")).toContainText("Question one");
});

test("chats outlive the page, are found and exported, and can be deleted", async ({ page }) => {
  await sayInstead(page, "an answer about zebras");
  await open(page);
  await ask(page, ["shapes.png"], "Which animal?");
  await page.reload();
  await page.getByRole("button", { name: "Which animal?" }).click();
  await expect(lastAnswer(page)).toContainText("zebras");
  await expect(page.locator("article.question img")).toBeVisible();
  await page.getByLabel("Search chats").fill("nothing like it");
  await expect(page.getByRole("button", { name: "Which animal?" })).toHaveCount(0);
  await page.getByLabel("Search chats").fill("ZEBRAS");
  const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Export as Markdown" }).click()]);
  expect(readFileSync((await file.path())!, "utf8")).toBe(
    "# Which animal?\n\n## User\n\n*[image: shapes.png]*\n\nWhich animal?\n\n## Assistant\n\nan answer about zebras\n");
  page.on("dialog", (dialog) => void dialog.accept());
  await page.getByRole("button", { name: "Delete chat" }).click();
  await expect(page.getByRole("button", { name: "Which animal?" })).toHaveCount(0);
});

test("stopping ends the answer, also before its first word", async ({ page }) => {
  await open(page);
  await page.route("**/v1/chat/completions", () => undefined); // never answers
  await page.locator("textarea.question").fill("Wait for ever");
  await page.getByRole("button", { name: "Send" }).click();
  await page.getByRole("button", { name: "Stop" }).click();
  await expect(lastAnswer(page)).toContainText("Stopped.");
});

test("Enter sends, Shift-Enter does not, and neither does an input method's Enter", async ({ page }) => {
  await sayInstead(page, "yes");
  await open(page);
  const box = page.locator("textarea.question");
  await box.fill("ni");
  await box.dispatchEvent("keydown", { key: "Enter", isComposing: true });
  await box.dispatchEvent("keydown", { key: "Enter", keyCode: 229 });
  await expect(page.locator("article")).toHaveCount(0);
  await box.press("Shift+Enter");
  await expect(box).toHaveValue("ni\n");
  await box.press("Enter");
  await expect(page.locator("article.question")).toHaveCount(1);
});

test("an error is told in words, and can be tried again", async ({ page }) => {
  await open(page);
  await page.getByTestId("files").setInputFiles({ name: "broken.png", mimeType: "image/png", buffer: Buffer.from("no picture at all") });
  await page.locator("textarea.question").fill("What is it?");
  page.removeAllListeners("console"); // the browser itself says that a reply was 4xx
  await page.getByRole("button", { name: "Send" }).click();
  await expect(lastAnswer(page)).toContainText("That did not work");
  await expect(lastAnswer(page).getByRole("button", { name: "Try again" })).toBeVisible();
});

test("a chat is exported with its pictures and comes back whole, in another browser too", async ({ page, browser, baseURL }) => {
  await open(page);
  await ask(page, ["text.png"], "What does it say?");
  const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Export as JSON" }).click()]);
  const path = (await file.path())!;
  const whole = JSON.parse(readFileSync(path, "utf8")) as { media: Record<string, string> };
  const [uri] = Object.values(whole.media);
  expect(Buffer.from(uri!.split(",")[1]!, "base64").equals(readFileSync(demo("text.png")))).toBe(true);
  const context = await browser.newContext({ baseURL: baseURL! });
  const other = await context.newPage();
  await open(other);
  for (let i = 1; i <= 2; i++) {
    await other.getByTestId("import").setInputFiles({ name: "chat.json", mimeType: "application/json", buffer: readFileSync(path) });
    await expect(other.getByRole("button", { name: "What does it say?" })).toHaveCount(i);
  }
  await expect(other.locator("article.question img")).toHaveJSProperty("naturalWidth", (await page.locator("article.question img").evaluate((one: HTMLImageElement) => one.naturalWidth)));
  await expect(lastAnswer(other).locator(".markdown")).toHaveText(await lastAnswer(page).locator(".markdown").innerText());
  await ask(other, [], "And again?"); // it goes on from there
  await context.close();
});

test("a file that is no chat is refused, and a hostile one does nothing", async ({ page }) => {
  await open(page);
  const give = (name: string, content: unknown) =>
    page.getByTestId("import").setInputFiles({ name, mimeType: "application/json", buffer: Buffer.from(JSON.stringify(content)) });
  const turn = (more: object) => ({ id: "a", parent: null, role: "user", text: "x", attachments: [], ...more });
  const chat = (turns: unknown[], more: object = {}) => ({ format: "qvl-conversation", version: 1, conversation: { title: "t", turns }, ...more });
  for (const [i, bad] of [{}, [], null, chat([]), chat([turn({ parent: "a" })]), chat([turn({ parent: "b" }), turn({ id: "b", parent: "a" })]),
    { ...chat([turn({})]), version: 2 }].entries()) {
    await give(`bad${i}.json`, bad);
    await expect(page.getByRole("alert")).toHaveText(`bad${i}.json is no chat that was exported here.`);
  }
  const uri = `data:image/svg+xml;base64,${Buffer.from("<svg xmlns='http://www.w3.org/2000/svg' onload='top.hit=1'/>").toString("base64")}`;
  const attachment = { kind: "image", name: "<img src=x onerror=hit=2>", blob: "b", width: 10, height: 10 };
  await give("hostile.json", chat([turn({ text: "<script>hit=3</script>", attachments: [attachment, 7, null], made: "x" }),
    turn({ id: "c", parent: "a", role: "assistant", text: "[a](javascript:hit=4)", task: "__proto__" })], { media: { b: uri } }));
  await expect(page.locator("article")).toHaveCount(2);
  await expect(page.getByRole("alert")).toHaveCount(0);
  await expect(page.locator("article.question")).toContainText("<img src=x onerror=hit=2>");
  expect(await page.evaluate(() => (window as unknown as { hit?: number }).hit)).toBeUndefined();
});

test("a chat gets another name", async ({ page }) => {
  await sayInstead(page, "yes");
  await open(page);
  await ask(page, [], "First words");
  await page.getByRole("button", { name: "Rename" }).click();
  await expect(page.getByLabel("Name of the chat")).toBeFocused();
  await page.keyboard.type("Nothing");
  await page.keyboard.press("Escape");
  await expect(page.getByRole("button", { name: "First words" })).toBeVisible();
  await page.getByRole("button", { name: "Rename" }).click();
  await expect(page.getByLabel("Name of the chat")).toBeFocused();
  await page.keyboard.type("Receipts of May");
  await page.keyboard.press("Enter");
  await page.reload();
  await expect(page.getByRole("button", { name: "Receipts of May" })).toBeVisible();
});
