// The README's pictures, of the real demo model: `npm run screenshots` in web/, after `make page all`.
import { ask, expect, lastAnswer, open, test } from "./page";

const DOCS = new URL("../../docs/", import.meta.url).pathname;

test.use({ viewport: { width: 1280, height: 860 } });

test("English: when things happen in a clip", async ({ page }) => {
  await open(page);
  await ask(page, ["text.png"], "What does it say?");
  await page.locator("header.bar").getByRole("button", { name: "New chat" }).click();
  await page.getByLabel("Task").selectOption("events");
  await ask(page, ["clip-2.mp4"], "When does the orange cross appear?");
  await expect(lastAnswer(page).locator(".strip img").last()).toBeVisible();
  await lastAnswer(page).locator(".time").first().click();
  await lastAnswer(page).locator(".strip button").last().click();
  await lastAnswer(page).locator(".strip").evaluate((one) => (one.scrollLeft = one.scrollWidth));
  await page.waitForFunction(() => !document.querySelector<HTMLVideoElement>("[data-testid=player]")!.seeking);
  await page.mouse.move(0, 0);
  await page.waitForTimeout(1500); // the frame is drawn
  await page.locator(".thread").evaluate((one) => (one.scrollTop = one.scrollHeight));
  await page.screenshot({ path: `${DOCS}page-en.png` });
});

test.describe("中文", () => {
  test.use({ locale: "zh-CN", colorScheme: "dark" });
  test("字段", async ({ page }) => {
    await open(page);
    await page.getByLabel("任务").selectOption("text");
    await ask(page, ["text.png"], "读出文字。");
    await page.locator("header.bar").getByRole("button", { name: "新对话" }).click();
    await page.getByLabel("任务").selectOption("fields");
    await ask(page, ["receipt.png"], "把表单读成JSON。");
    await expect(lastAnswer(page).locator(".fields table")).toBeVisible();
    await page.waitForTimeout(300);
    await page.screenshot({ path: `${DOCS}page-zh.png` });
  });
});
