// Which fields are to be read: as rows, or as the JSON Schema that they make.
import { signal } from "@preact/signals";
import { t, type Key } from "../i18n";
import { FIELD_TYPES, fieldsOfSchema, schemaOfFields, type Field, type FieldType } from "../schema";
import { schemaText } from "../state";
import { Icon } from "./Icon";

const rows = signal<Field[]>([]);
const isRaw = signal(false);

function put(fields: Field[]) {
  rows.value = fields;
  schemaText.value = schemaOfFields(fields);
}

function Row({ field, i }: { field: Field; i: number }) {
  const change = (part: Partial<Field>) => put(rows.value.map((one, j) => (j === i ? { ...one, ...part } : one)));
  return (
    <li class="field">
      <input value={field.name} placeholder={t("schema.name")} aria-label={t("schema.nameOf", i + 1)} spellcheck={false}
        onInput={(e) => change({ name: e.currentTarget.value })} />
      <select value={field.type} aria-label={t("schema.typeOf", i + 1)} onChange={(e) => change({ type: e.currentTarget.value as FieldType })}>
        {FIELD_TYPES.map((type) => <option key={type} value={type}>{t(`schema.${type}` as Key)}</option>)}
      </select>
      <label>
        <input type="checkbox" checked={field.isRequired} onChange={(e) => change({ isRequired: e.currentTarget.checked })} />
        {t("schema.required")}
      </label>
      <button type="button" class="icon" aria-label={t("schema.remove", i + 1)} title={t("schema.remove", i + 1)}
        onClick={() => put(rows.value.filter((_, j) => j !== i))}><Icon name="close" /></button>
    </li>
  );
}

function Rows() {
  return (
    <>
      {rows.value.length > 0 && <ul>{rows.value.map((field, i) => <Row key={i} field={field} i={i} />)}</ul>}
      {rows.value.length === 0 && <p class="hint">{t("schema.none")}</p>}
      <button type="button" onClick={() => put([...rows.value, { name: "", type: "text", isRequired: true }])}>{t("schema.add")}</button>
    </>
  );
}

export function SchemaEditor() {
  const fields = fieldsOfSchema(schemaText.value);
  const showRows = () => {
    if (!fields) return;
    rows.value = fields;
    isRaw.value = false;
  };
  return (
    <fieldset class="schema">
      <legend>{t("task.fields.schema")}</legend>
      {isRaw.value ? (
        <textarea rows={6} spellcheck={false} value={schemaText.value} aria-label={t("schema.json")}
          placeholder={'{"type": "object", "properties": {"total": {"type": "string"}}, "required": ["total"]}'}
          onInput={(e) => (schemaText.value = e.currentTarget.value)} />
      ) : <Rows />}
      {isRaw.value ? <button type="button" class="quiet" disabled={!fields} onClick={showRows}>{t("schema.asRows")}</button>
        : <button type="button" class="quiet" onClick={() => (isRaw.value = true)}>{t("schema.asJson")}</button>}
      {isRaw.value && !fields && <span class="hint">{t("schema.tooMuch")}</span>}
    </fieldset>
  );
}
