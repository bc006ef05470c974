import { ask, demo, expect, golden, lastAnswer, open, test } from "./page";

test("a picture is asked about, and the answer comes", async ({ page }) => {
  await open(page);
  await ask(page, ["text.png"], "What does it say?");
  await expect(lastAnswer(page).locator(".markdown")).toContainText(golden("text.png", "What does it say?"));
  await expect(lastAnswer(page)).toContainText("tokens/s");
});

test("the size that the model will see is told before sending, and follows the slider", async ({ page }) => {
  await open(page);
  await page.getByTestId("files").setInputFiles(demo("receipt.png"));
  const card = page.locator(".composer .card");
  await expect(card).toContainText("tokens");
  const before = await card.locator(".hint").first().innerText();
  await card.getByLabel(/Detail of/).fill("0");
  await expect(card.locator(".hint").first()).not.toHaveText(before);
  await expect(page.locator(".composer")).toContainText("before the first word");
});

test("a Chinese question in a Chinese page", async ({ browser, baseURL }) => {
  const context = await browser.newContext({ locale: "zh-CN", baseURL: baseURL! });
  const page = await context.newPage();
  await open(page);
  await expect(page.getByRole("button", { name: "发送" })).toBeVisible();
  await ask(page, ["text.png"], "读出文字。");
  await expect(lastAnswer(page).locator(".markdown")).toContainText(golden("text.png", "读出文字。"));
  await context.close();
});

test("what is said before sending is what the model then sees", async ({ page }) => {
  await open(page);
  for (const file of ["text.png", "clip-1.mp4"]) {
    await page.getByTestId("files").setInputFiles(demo(file));
    await expect(page.locator(".composer .card .hint").first()).toContainText("tokens");
    const said = await page.locator(".composer .card .hint").first().innerText();
    const reply = page.waitForResponse("**/v1/chat/completions");
    await page.locator("textarea.question").fill("?");
    await page.getByRole("button", { name: "Send" }).click();
    const last = (await (await reply).text()).split("\n").filter((line) => line.startsWith("data: {")).at(-1)!;
    const seen = (JSON.parse(last.slice(6)) as { qvl: { media: { used: number[]; tokens: number }[] } }).qvl.media.at(-1)!;
    expect(said).toContain(`→ ${seen.used[0]} × ${seen.used[1]}, ${seen.tokens} tokens`);
    await expect(lastAnswer(page)).toHaveAttribute("aria-busy", "false");
  }
});
