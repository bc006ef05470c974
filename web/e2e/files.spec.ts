// How pictures and clips come into a question, and several of them in one.
import { readFileSync } from "node:fs";
import { ask, demo, expect, golden, lastAnswer, open, test } from "./page";
import type { Page } from "@playwright/test";

/** Drops or pastes demo files at an element, as the browser would. */
async function give(page: Page, selector: string, event: "drop" | "paste", names: string[]) {
  const files = names.map((name) => ({ name, base64: readFileSync(demo(name)).toString("base64") }));
  await page.locator(selector).evaluate((at, { event, files }) => {
    const data = new DataTransfer();
    for (const { name, base64 } of files) {
      const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
      data.items.add(new File([bytes], name, { type: name.endsWith(".mp4") ? "video/mp4" : "image/png" }));
    }
    const more = { bubbles: true, cancelable: true };
    if (event === "paste") {
      at.dispatchEvent(new ClipboardEvent("paste", { ...more, clipboardData: data }));
    } else {
      at.dispatchEvent(new DragEvent("dragover", { ...more, dataTransfer: data }));
      at.dispatchEvent(new DragEvent("drop", { ...more, dataTransfer: data }));
    }
  }, { event, files });
}

test("dropped anywhere on the page", async ({ page }) => {
  await open(page);
  await give(page, "header.bar", "drop", ["text.png", "clip-1.mp4"]);
  await expect(page.locator(".composer .card")).toHaveCount(2);
  await expect(page.locator(".composer .card strong")).toHaveText(["text.png", "clip-1.mp4"]);
  await expect(page.locator(".composer .card img")).toBeVisible();
  await expect(page.locator(".drop")).toHaveCount(0);
});

test("dragged over the page, it says so; text that is dragged is left alone", async ({ page }) => {
  await open(page);
  const drag = (hasFile: boolean) => page.locator("header.bar").evaluate((at, hasFile) => {
    const data = new DataTransfer();
    if (hasFile) data.items.add(new File(["x"], "x.png", { type: "image/png" }));
    else data.setData("text/plain", "words");
    return at.dispatchEvent(new DragEvent("dragover", { bubbles: true, cancelable: true, dataTransfer: data }));
  }, hasFile);
  expect(await drag(false)).toBe(true);
  await expect(page.locator(".drop")).toHaveCount(0);
  expect(await drag(true)).toBe(false);
  await expect(page.locator(".drop")).toHaveText("Drop pictures or videos here");
});

test("pasted", async ({ page }) => {
  await open(page);
  await give(page, "textarea.question", "paste", ["shapes.png"]);
  await expect(page.locator(".composer .card")).toContainText("shapes.png");
});

test("from a phone's camera", async ({ page }) => {
  await open(page);
  await expect(page.getByRole("button", { name: "Take a photo" })).toBeVisible();
  const camera = page.getByTestId("camera");
  await expect(camera).toHaveAttribute("capture", "environment");
  await expect(camera).toHaveAttribute("accept", "image/*");
  const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.getByRole("button", { name: "Take a photo" }).click()]);
  await chooser.setFiles(demo("boxes.png"));
  await expect(page.locator(".composer .card")).toContainText("boxes.png");
});

test("what is no picture is refused in words, and can be removed again", async ({ page }) => {
  await open(page);
  await page.getByTestId("files").setInputFiles({ name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("x") });
  await expect(page.getByRole("alert")).toHaveText("notes.txt is neither a picture nor a video.");
  await page.getByTestId("files").setInputFiles(demo("text.png"));
  await expect(page.getByRole("alert")).toHaveCount(0);
  await page.getByRole("button", { name: "Remove text.png" }).click();
  await expect(page.locator(".composer .card")).toHaveCount(0);
});

test("two pictures in one question: what changed, from the real model", async ({ page }) => {
  await open(page);
  await ask(page, ["before.png", "after.png"], "What changed from the first picture to the second?");
  await expect(lastAnswer(page).locator(".markdown")).toContainText(golden("before.png after.png", "What changed from the first picture to the second?"));
  await expect(page.locator("article.question img")).toHaveCount(2);
});

test("two pictures and a clip in one question reach the real model, in their order", async ({ page }) => {
  await open(page);
  const reply = page.waitForResponse("**/v1/chat/completions");
  await ask(page, ["before.png", "after.png", "clip-1.mp4"], "What happens, and when?");
  const last = (await (await reply).text()).split("\n").filter((line) => line.startsWith("data: {")).at(-1)!;
  const { qvl } = JSON.parse(last.slice(6)) as { qvl: { media: { kind: string }[] } };
  expect(qvl.media.map((one) => one.kind)).toEqual(["image", "image", "video"]);
  await expect(lastAnswer(page).locator(".markdown")).not.toBeEmpty();
  await expect(lastAnswer(page).getByTestId("player")).toBeVisible();
});

test("until the machine is measured the estimate is called a guess, and what was measured is kept", async ({ page }) => {
  await open(page);
  const estimate = page.locator(".composer > .hint");
  await page.getByTestId("files").setInputFiles(demo("receipt.png"));
  await expect(estimate).toHaveText(/^about \d+ tokens, perhaps [\d.]+ s before the first word \(a guess/);
  await page.getByRole("button", { name: "Remove" }).click();
  await ask(page, ["receipt.png"], "Return the fields as JSON.");
  await page.reload();
  await page.getByTestId("files").setInputFiles(demo("receipt.png"));
  await expect(estimate).toHaveText(/^about \d+ tokens, [\d.]+ s before the first word$/);
});
