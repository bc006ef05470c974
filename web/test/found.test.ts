import { expect, test } from "vitest";
import { clock, findMarks, findMoments, writeEvents } from "../src/found";
import { csvCell } from "../src/table";

test("boxes and points as this family writes them, in JSON, in a code block, cut short", () => {
  const text = '```json\n[{"bbox_2d": [177, 637, 390, 851], "label": "orange square"},\n{"point_2d": [5, 6], "label": "tip"}, {"bbox_2d": [1, 2';
  const marks = findMarks(text);
  expect(marks.map((m) => [m.label, m.box])).toEqual([
    ["orange square", [177, 637, 390, 851]],
    ["tip", [5, 6, 5, 6]],
  ]);
  expect(text.slice(marks[0]!.begin, marks[0]!.end)).toBe('{"bbox_2d": [177, 637, 390, 851], "label": "orange square"}');
});

test("what is no box is none", () => {
  expect(findMarks('{"bbox_2d": [1, 2, 3]} {"bbox_2d": [1, 2, 3, 4000]} {"bbox_2d": "x"} {bbox_2d}')).toEqual([]);
});

test.each([
  ["The red square leaves at 1.6 s.", [[1.6, null]]],
  ["红色正方形在第1.6秒消失。", [[1.6, null]]],
  ["0:12 - 0:20 a man; 1:02:03.5 end", [[12, 20], [3723.5, null]]],
  ["from 3 seconds to 5 seconds", [[3, 5]]],
  ["version 1.2.3 at 10:30:99:1, 5 sheep, 12:345", []],
])("times in %s", (text, times) => {
  expect(findMoments(text).map((m) => [m.seconds, m.until])).toEqual(times);
});

test("a time behind the clip's end is none", () => {
  expect(findMoments("at 14:30 and at 0:05", 20).map((m) => m.seconds)).toEqual([5]);
});

test("events as files", () => {
  const moments = findMoments("0:01 one\n0:02 two, \"quoted\"");
  expect(writeEvents(moments, "srt")).toBe(
    '1\n00:00:01,000 --> 00:00:02,000\n0:01 one\n\n2\n00:00:02,000 --> 00:00:05,000\n0:02 two, "quoted"\n');
  expect(writeEvents(moments, "vtt")).toMatch(/^WEBVTT\n\n00:00:01\.000 --> 00:00:02\.000\n/);
  expect(writeEvents(moments, "csv")).toBe('start_s,end_s,text\r\n1,2,0:01 one\r\n2,5,"0:02 two, ""quoted"""\r\n');
  expect(JSON.parse(writeEvents(moments, "json"))).toHaveLength(2);
});

test("clock and cells", () => {
  expect([clock(1.6), clock(75), clock(3723)]).toEqual(["0:01.6", "1:15", "1:02:03"]);
  expect(["=1+1", "-2", "-2+3", "+1.5%", "@x"].map(csvCell)).toEqual(["'=1+1", "-2", "'-2+3", "+1.5%", "'@x"]);
});
