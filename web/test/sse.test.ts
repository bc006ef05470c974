import { expect, test } from "vitest";
import { EventReader } from "../src/sse";

const STREAM = ': ping\n\ndata: {"a":1}\n\nevent: progress\r\ndata: one\r\ndata: two\r\n\r\ndata:[DONE]\n\n';
const EVENTS = [
  { event: "message", data: '{"a":1}' },
  { event: "progress", data: "one\ntwo" },
  { event: "message", data: "[DONE]" },
];

test("events are the same wherever the stream is cut", () => {
  for (let i = 0; i <= STREAM.length; i++) {
    const reader = new EventReader();
    expect([...reader.push(STREAM.slice(0, i)), ...reader.push(STREAM.slice(i))]).toEqual(EVENTS);
  }
});

test("an unfinished event is not given out", () => {
  expect(new EventReader().push("data: half")).toEqual([]);
});
