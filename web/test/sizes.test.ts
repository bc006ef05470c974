import { expect, test } from "vitest";
import { BOUNDS, clipSize, frameCount, pictureSize } from "../src/sizes";

// Sizes as the reference processor (transformers 5) makes them.
test.each([
  [1920, 1080, 0, 1920, 1088, 2040],
  [512, 512, 0, 512, 512, 256],
  [100, 50, 0, 384, 192, 72],
  [4000, 3000, 1000000, 1152, 864, 972],
  [16, 16, 0, 256, 256, 64],
])("a picture of %d x %d", (w, h, max, usedW, usedH, tokens) => {
  expect(pictureSize(w, h, max, BOUNDS)).toEqual({ width: usedW, height: usedH, tokens });
});

test("frames of a clip", () => {
  expect(frameCount(10, 0, BOUNDS)).toBe(20);
  expect(frameCount(0.5, 0, BOUNDS)).toBe(4);
  expect(frameCount(7200, 0, BOUNDS)).toBe(768);
  expect(clipSize(1920, 1080, 10, 0, 0, BOUNDS)).toMatchObject({ frames: 20 });
});
