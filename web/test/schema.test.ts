import { expect, test } from "vitest";
import { fieldsOfSchema, schemaOfFields, type Field } from "../src/schema";

const FIELDS: Field[] = [
  { name: "no", type: "text", isRequired: true },
  { name: "total", type: "number", isRequired: true },
  { name: "count", type: "integer", isRequired: false },
  { name: "paid", type: "boolean", isRequired: false },
  { name: "items", type: "list", isRequired: false },
];

test("rows make a schema, and it makes them again", () => {
  expect(JSON.parse(schemaOfFields(FIELDS))).toEqual({
    type: "object",
    properties: {
      no: { type: "string" }, total: { type: "number" }, count: { type: "integer" }, paid: { type: "boolean" },
      items: { type: "array", items: { type: "string" } },
    },
    required: ["no", "total"],
    additionalProperties: false,
  });
  expect(fieldsOfSchema(schemaOfFields(FIELDS))).toEqual(FIELDS);
});

test("rows without a name are not there yet", () => {
  expect(schemaOfFields([{ name: " ", type: "text", isRequired: true }])).toBe("");
  expect(fieldsOfSchema("")).toEqual([]);
});

test.each(["{", "1", "null", '{"type":"array"}', '{"type":"object","properties":{"a":{"type":"object"}}}',
  '{"type":"object","properties":{"a":{"type":"string","maxLength":3}}}', '{"type":"object","$defs":{}}'])("rows cannot say %s", (text) => {
  expect(fieldsOfSchema(text)).toBeNull();
});
