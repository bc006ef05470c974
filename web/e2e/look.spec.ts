// What can be seen and clicked in an answer.
import { readFileSync } from "node:fs";
import type { Locator } from "@playwright/test";
import { ask, expect, lastAnswer, open, sayInstead, test } from "./page";

test("a box lies on the object, and its label leads to it", async ({ page }) => {
  await sayInstead(page, '[{"bbox_2d":[177,637,390,851],"label":"orange square"},{"bbox_2d":[710,461,932,676],"label":"orange star"}]');
  await open(page);
  await ask(page, ["boxes.png"], "Find them.");
  const svg = lastAnswer(page).getByTestId("marks");
  const outer = (await svg.boundingBox())!;
  const rect = (await svg.locator("g.mark rect").first().boundingBox())!;
  expect((rect.x - outer.x) / outer.width).toBeCloseTo(0.177, 1);
  expect((rect.y - outer.y) / outer.height).toBeCloseTo(0.637, 1);
  expect(rect.width / outer.width).toBeCloseTo(0.213, 1);
  const image = (await lastAnswer(page).locator(".marked img").boundingBox())!;
  expect([outer.width, outer.height].map(Math.round)).toEqual([image.width, image.height].map(Math.round));
  await lastAnswer(page).getByRole("button", { name: "orange star" }).hover();
  await expect(svg.locator("g.mark").nth(1)).toHaveClass(/active/);
});

/** Of the picture shown: the box of all pixels that have the colour at (x, y), as shares of its sides. */
async function boxOfColour(image: Locator, x: number, y: number): Promise<number[]> {
  return await image.evaluate((img: HTMLImageElement, [x, y]) => {
    const canvas = Object.assign(document.createElement("canvas"), { width: img.naturalWidth, height: img.naturalHeight });
    const pen = canvas.getContext("2d")!;
    pen.drawImage(img, 0, 0);
    const { data, width, height } = pen.getImageData(0, 0, canvas.width, canvas.height);
    const at = 4 * (Math.floor(y! * height) * width + Math.floor(x! * width));
    const box = [width, height, 0, 0];
    for (let i = 0; i < width * height; i++) {
      if ([0, 1, 2].some((c) => Math.abs(data[4 * i + c]! - data[at + c]!) > 60)) continue;
      const [px, py] = [i % width, Math.floor(i / width)];
      box.splice(0, 4, Math.min(box[0]!, px), Math.min(box[1]!, py), Math.max(box[2]!, px + 1), Math.max(box[3]!, py + 1));
    }
    return box.map((v, i) => v / (i % 2 ? height : width));
  }, [x, y]);
}

/** Area of what two boxes share, of what they cover together. */
function overlap(a: number[], b: number[]): number {
  const area = (r: number[]) => Math.max(0, r[2]! - r[0]!) * Math.max(0, r[3]! - r[1]!);
  const shared = area([Math.max(a[0]!, b[0]!), Math.max(a[1]!, b[1]!), Math.min(a[2]!, b[2]!), Math.min(a[3]!, b[3]!)]);
  return shared / (area(a) + area(b) - shared);
}

for (const [file, question, label] of [["after.png", "Find the black triangle. Give its box.", "black triangle"],
  ["before.png", "框出橙色三角形。", "橙色三角形"]] as const) {
  test(`the ${label} in ${file}: the real model's box lies on it`, async ({ page }) => {
    await open(page);
    await ask(page, [file], question);
    const image = lastAnswer(page).locator(".marked img");
    const outer = (await image.boundingBox())!;
    const rect = (await lastAnswer(page).locator("g.mark rect").first().boundingBox())!;
    const [x, y, w, h] = [(rect.x - outer.x) / outer.width, (rect.y - outer.y) / outer.height, rect.width / outer.width, rect.height / outer.height];
    const object = await boxOfColour(image, x + w / 2, y + h / 2);
    expect(overlap([x, y, x + w, y + h], object)).toBeGreaterThan(0.7);
    expect((object[2]! - object[0]!) * (object[3]! - object[1]!)).toBeLessThan(0.2); // the ground would be all of it
    await expect(lastAnswer(page).getByRole("button", { name: label })).toBeVisible();
  });
}

for (const [how, open_, close] of [["bare", "", ""], ["in a code block", "```json\n", "\n```"]] as const) {
  test(`an entry of the JSON, ${how}, shows its box, and a box its entry`, async ({ page }) => {
    await sayInstead(page, `${open_}[\n  {"bbox_2d": [177, 637, 390, 851], "label": "orange square"},\n  {"bbox_2d": [710, 461, 932, 676], "label": "orange star"}\n]${close}`);
    await open(page);
    await ask(page, ["boxes.png"], "Find them.");
    const marks = lastAnswer(page).locator("g.mark");
    const entries = (i: number) => lastAnswer(page).locator(`.entry[data-mark="${i}"]`);
    await expect.poll(async () => (await entries(1).allInnerTexts()).join("")).toBe('{"bbox_2d": [710, 461, 932, 676], "label": "orange star"}');
    await entries(1).first().hover();
    await expect(marks.nth(1)).toHaveClass(/active/);
    await expect(marks.nth(0)).not.toHaveClass(/active/);
    await marks.nth(0).hover();
    await expect(entries(0).first()).toHaveClass(/active/);
    await expect(entries(1).first()).not.toHaveClass(/active/);
    await lastAnswer(page).getByRole("button", { name: "orange star" }).focus();
    await expect(entries(1).first()).toHaveClass(/active/);
  });
}

test("rows of fields make the schema, which the request carries, and the schema makes rows", async ({ page }) => {
  await sayInstead(page, '{"no":"Y-1","total":3}');
  await open(page);
  await page.getByLabel("Task").selectOption({ label: "Fields as JSON" });
  for (const [i, [name, type]] of [["no", "Text"], ["total", "Number"], ["tags", "List of texts"]].entries()) {
    await page.getByRole("button", { name: "Add a field" }).click();
    await page.getByLabel(`Name of field ${i + 1}`).fill(name!);
    await page.getByLabel(`Type of field ${i + 1}`).selectOption({ label: type! });
  }
  await page.getByLabel("must be there").nth(2).uncheck();
  const sent = page.waitForRequest("**/v1/chat/completions");
  await ask(page, ["receipt.png"], "Read it.");
  const schema = { type: "object", properties: { no: { type: "string" }, total: { type: "number" }, tags: { type: "array", items: { type: "string" } } },
    required: ["no", "total"], additionalProperties: false };
  const body = (await sent).postDataJSON() as { response_format: { json_schema: { schema: unknown } } };
  expect(body.response_format.json_schema.schema).toEqual(schema);
  await page.getByRole("button", { name: "As JSON Schema" }).click();
  expect(JSON.parse(await page.getByLabel("JSON Schema", { exact: true }).inputValue())).toEqual(schema);
  await page.getByLabel("JSON Schema", { exact: true }).fill('{"type":"object","properties":{"date":{"type":"string"}}}');
  await page.getByRole("button", { name: "As rows" }).click();
  await expect(page.getByLabel("Name of field 1")).toHaveValue("date");
  await page.getByRole("button", { name: "Remove field 1" }).click();
  await expect(page.getByLabel("Name of field 1")).toHaveCount(0);
});

test("a part of a picture becomes a question of its own", async ({ page }) => {
  await sayInstead(page, '{"bbox_2d":[0,0,500,500],"label":"corner"}');
  await open(page);
  await ask(page, ["boxes.png"], "Find it.");
  const r = (await lastAnswer(page).getByTestId("marks").boundingBox())!;
  await page.mouse.move(r.x + r.width * 0.2, r.y + r.height * 0.6);
  await page.mouse.down();
  await page.mouse.move(r.x + r.width * 0.5, r.y + r.height * 0.9);
  await page.mouse.up();
  await page.getByRole("button", { name: "Ask about this part" }).click();
  await expect(page.locator(".composer .card")).toHaveCount(1);
  await expect(page.locator("textarea.question")).toHaveValue(/What is in the part at/);
});

test("a time in an answer moves the player there", async ({ page }) => {
  await sayInstead(page, "The red square leaves at 1.6 s.\n\nIt ends at 0:03.", [{ kind: "video", original: [224, 224], used: [224, 224], tokens: 10, times: [0, 1, 2, 3] }]);
  await open(page);
  await ask(page, ["clip-1.mp4"], "What happens, and when?");
  await lastAnswer(page).locator(".markdown").getByRole("button", { name: "1.6 s" }).click();
  await expect.poll(() => page.getByTestId("player").evaluate((v: HTMLVideoElement) => v.currentTime)).toBeCloseTo(1.6, 1);
  await lastAnswer(page).locator(".timeline").getByRole("button", { name: "Go to 0:03.0" }).click();
  await expect.poll(() => page.getByTestId("player").evaluate((v: HTMLVideoElement) => v.currentTime)).toBeCloseTo(3, 1);
  await expect(lastAnswer(page).locator(".strip li")).toHaveCount(4);
  const [file] = await Promise.all([page.waitForEvent("download"), lastAnswer(page).getByRole("button", { name: "Download as WebVTT" }).click()]);
  expect(file.suggestedFilename()).toBe("clip-1.vtt");
  expect(readFileSync((await file.path())!, "utf8")).toMatch(/^WEBVTT\n\n00:00:01\.600 --> 00:00:03\.000\nThe red square leaves at 1\.6 s\.\n/);
});

test("the second at which something happens, from the real model, moves the player there", async ({ page }) => {
  await open(page);
  await ask(page, ["clip-2.mp4"], "When does the orange cross appear?");
  await lastAnswer(page).locator(".markdown").getByRole("button", { name: "6.8 s" }).click();
  await expect.poll(() => page.getByTestId("player").evaluate((v: HTMLVideoElement) => v.currentTime)).toBeCloseTo(6.8, 1);
});

test("fields become a table, and a file", async ({ page }) => {
  await sayInstead(page, '{"total":"=1+1","no":"Y-011"}');
  await open(page);
  await page.getByLabel("Task").selectOption({ label: "Fields as JSON" });
  await ask(page, ["receipt.png"], "Read it.");
  const table = lastAnswer(page).locator(".fields table");
  await expect(table.getByRole("row")).toHaveCount(3);
  await expect(table).toContainText("Y-011");
  const [file] = await Promise.all([page.waitForEvent("download"), lastAnswer(page).getByRole("button", { name: "CSV" }).click()]);
  expect(readFileSync((await file.path())!, "utf8")).toBe("Field,Value\r\ntotal,'=1+1\r\nno,Y-011\r\n");
});

test("fields by a schema come as the schema says, from the real model", async ({ page }) => {
  await open(page);
  await page.getByLabel("Task").selectOption({ label: "Fields as JSON" });
  await page.getByRole("button", { name: "As JSON Schema" }).click();
  const short = { type: "string", maxLength: 20 };
  const schema = { type: "object", properties: { no: short, total: short }, required: ["no", "total"], additionalProperties: false };
  await page.getByLabel("JSON Schema", { exact: true }).fill(JSON.stringify(schema));
  await expect(page.getByRole("button", { name: "As rows" })).toBeDisabled(); // rows know no lengths
  await ask(page, ["receipt.png"], "Return the fields as JSON.");
  const answer = JSON.parse(await lastAnswer(page).locator(".markdown").innerText()) as Record<string, unknown>;
  expect(Object.keys(answer).sort()).toEqual(["no", "total"]);
});

test("HTML is shown in a sandbox where nothing runs", async ({ page }) => {
  const html = '<!doctype html><style>h1{color:rgb(1,2,3)}</style><h1 onclick="top.x=1">Shop</h1><script>top.document.title="run"</script><img src="https://example.org/x.png" onerror="top.document.title=1">';
  await sayInstead(page, "```html\n" + html + "\n```");
  await open(page);
  await page.getByLabel("Task").selectOption({ label: "Screenshot to HTML" });
  const title = await page.title();
  page.removeAllListeners("console"); // the frame's policy says what it refused
  await ask(page, ["shapes.png"], "Make it.");
  const frame = lastAnswer(page).frameLocator("iframe");
  await expect(frame.locator("h1")).toHaveText("Shop");
  await expect(frame.locator("h1")).toHaveCSS("color", "rgb(1, 2, 3)");
  expect(await page.title()).toBe(title);
  await lastAnswer(page).getByRole("slider", { name: /Compare/ }).fill("50");
  await expect(lastAnswer(page).locator(".stage img")).toHaveCSS("clip-path", "inset(0px 50% 0px 0px)");
});

test("Markdown with a table, code and a formula", async ({ page }) => {
  await sayInstead(page, "| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nprint('x')\n```\n\nArea $\\pi r^2$, and $5 or $6.");
  await open(page);
  await ask(page, [], "Show.");
  await expect(lastAnswer(page).locator("table td")).toHaveCount(2);
  await expect(lastAnswer(page).locator("pre .hljs-string")).toHaveText("'x'");
  await expect(lastAnswer(page).locator(".formula .katex")).toHaveCount(1);
  await expect(lastAnswer(page).locator(".markdown")).toContainText("$5 or $6");
});

test("a table of an answer is copied and saved, code is copied", async ({ page, context }) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await sayInstead(page, "| item | price |\n|---|---|\n| tea, green | -2 |\n| =cmd | 3 |\n\n```python\nprint('x')\n```");
  await open(page);
  await ask(page, [], "Show.");
  const clipboard = () => page.evaluate(() => navigator.clipboard.readText());
  const save = async (name: string) => {
    const [file] = await Promise.all([page.waitForEvent("download"), lastAnswer(page).locator(".grid").getByRole("button", { name, exact: true }).click()]);
    return readFileSync((await file.path())!, "utf8");
  };
  await lastAnswer(page).getByRole("button", { name: "Copy table" }).click();
  expect(await clipboard()).toBe("item\tprice\ntea, green\t-2\n=cmd\t3");
  expect(await save("CSV")).toBe("item,price\r\n\"tea, green\",-2\r\n'=cmd,3\r\n");
  expect(JSON.parse(await save("JSON"))).toEqual([{ item: "tea, green", price: "-2" }, { item: "=cmd", price: "3" }]);
  await lastAnswer(page).getByRole("button", { name: "Copy code" }).click();
  await expect(lastAnswer(page).locator(".code").getByRole("button", { name: "Copied" })).toBeVisible();
  expect(await clipboard()).toBe("print('x')\n");
});

test("a clip that the server cannot read is sampled by the browser, and its frames are asked about", async ({ page }) => {
  await open(page);
  page.removeAllListeners("console"); // the browser itself says that a reply was 4xx
  const sent: { type: string; video?: string[]; times?: number[] }[] = [];
  await page.route("**/v1/chat/completions", async (route) => {
    const body = route.request().postDataJSON() as { messages: { content: typeof sent }[] };
    sent.push(body.messages[0]!.content[0]!);
    if (sent.length > 1) return route.continue();
    const error = { message: "clip: reading a clip needs a module", type: "invalid_request_error", param: "messages", code: "invalid_media" };
    return route.fulfill({ status: 422, contentType: "application/json", body: JSON.stringify({ error }) });
  });
  await ask(page, ["clip-1.mp4"], "What happens, and when?");
  expect(sent[0]!.type).toBe("video_url");
  expect(sent[1]!.type).toBe("video");
  expect(sent[1]!.video).toHaveLength(sent[1]!.times!.length);
  expect(sent[1]!.video![0]).toMatch(/^data:image\/jpeg;base64,/);
  const { video } = (await (await page.request.get("/props")).json()) as { video: { fps: number } };
  expect(sent[1]!.times![1]! - sent[1]!.times![0]!).toBeCloseTo(1 / video.fps, 1);
  await expect(lastAnswer(page).locator(".markdown")).toContainText(/at \d+(\.\d)? s/);
  await expect(lastAnswer(page).locator(".strip li").first()).toBeVisible();
});
