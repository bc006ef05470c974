// The schema of the fields mode as rows of name, type and whether the field must be there, and back.

export const FIELD_TYPES = ["text", "number", "integer", "boolean", "list"] as const;
export type FieldType = (typeof FIELD_TYPES)[number];

export interface Field {
  name: string;
  type: FieldType;
  isRequired: boolean;
}

const SCHEMAS: Record<FieldType, object> = {
  text: { type: "string" },
  number: { type: "number" },
  integer: { type: "integer" },
  boolean: { type: "boolean" },
  list: { type: "array", items: { type: "string" } },
};

/** "" for no fields; rows without a name are not counted. */
export function schemaOfFields(fields: Field[]): string {
  const named = fields.map((one) => ({ ...one, name: one.name.trim() })).filter((one) => one.name !== "");
  if (named.length === 0) return "";
  const schema = {
    type: "object",
    properties: Object.fromEntries(named.map((one) => [one.name, SCHEMAS[one.type]])),
    required: [...new Set(named.filter((one) => one.isRequired).map((one) => one.name))],
    additionalProperties: false,
  };
  return JSON.stringify(schema, null, 2);
}

/** null: more than rows can say. */
export function fieldsOfSchema(text: string): Field[] | null {
  if (text.trim() === "") return [];
  let schema: { type?: unknown; properties?: unknown; required?: unknown };
  try {
    schema = JSON.parse(text) as typeof schema;
  } catch {
    return null;
  }
  const known = new Set(["type", "properties", "required", "additionalProperties"]);
  if (typeof schema !== "object" || schema === null || schema.type !== "object" || Object.keys(schema).some((key) => !known.has(key))) return null;
  const required = Array.isArray(schema.required) ? schema.required : [];
  const out: Field[] = [];
  for (const [name, one] of Object.entries((schema.properties ?? {}) as Record<string, unknown>)) {
    const type = FIELD_TYPES.find((candidate) => JSON.stringify(SCHEMAS[candidate]) === JSON.stringify(one));
    if (!type) return null;
    out.push({ name, type, isRequired: required.includes(name) });
  }
  return out;
}
