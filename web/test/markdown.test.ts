import { expect, test } from "vitest";
import { finishedPart, hasDefinitions } from "../src/markdown";

test.each([
  ["one\n\ntwo", ""], // the second block's line is not whole: it may still join the first
  ["one\n\ntwo\n", "one\n\n"],
  ["# Title\n\ntext\nmore\n\n- a\n", "# Title\n\ntext\nmore\n\n"],
  ["- a\n\n- b\n\n  more of b\n", ""],
  ["```c\nx\n\ny\n\nz\n", ""],
  ["```c\nx\n\ny\n```\n\nafter\n", "```c\nx\n\ny\n```\n\n"],
  ["$$\nx\n\ny\n", ""], // a formula that is still open
  ["$$\nx\n\ny\n$$\n\nafter\n", "$$\nx\n\ny\n$$\n\n"],
  ["costs $5 and $x^2$\n\nafter\n", "costs $5 and $x^2$\n\n"],
  ["<!-- a\n\nb\n", ""],
])("what of %j is finished", (text, finished) => {
  expect(text.slice(0, finishedPart(text))).toBe(finished);
});

test("taken bit by bit, as the text grows, the same blocks are finished as at once", () => {
  const blocks = ["# A\n\n", "b *c*\n\n", "- d\n\n  e\n\n", "1. f\n\n", "```\ng\n\nh\n```\n\n", "| i | j |\n|---|---|\n| 1 | 2 |\n\n", "> k\n\n",
    "$$\nl\n\nm\n$$\n\n", "n\n===\n\n", "o\n"];
  const text = blocks.join("");
  const ends = new Set(blocks.map((_, i) => blocks.slice(0, i).join("").length));
  let kept = 0;
  for (let i = 0; i <= text.length; i++) {
    kept += finishedPart(text.slice(kept, i));
    expect(ends).toContain(kept);
  }
  expect(text.slice(kept)).toBe("o\n");
});

test("addresses apart from their links", () => {
  expect([hasDefinitions("[a][1]\n\n[1]: https://example.org"), hasDefinitions("[{\"a\": 1}]")]).toEqual([true, false]);
});
