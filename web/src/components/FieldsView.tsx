// JSON of fields as a table, to be copied or saved.
import { t } from "../i18n";
import { copyText, download } from "../media";
import { rowsToCsv } from "../table";

/** The first JSON value in an answer, bare or in a code block; undefined where there is none. */
export function readJson(text: string): unknown {
  const fenced = /```(?:json)?\s*([\s\S]*?)```/.exec(text)?.[1];
  for (const candidate of [fenced, text.trim()]) {
    if (!candidate) continue;
    try {
      return JSON.parse(candidate);
    } catch {
      // The next one.
    }
  }
  return undefined;
}

function cell(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function rowsOf(value: unknown): { head: string[]; rows: string[][] } | null {
  if (Array.isArray(value) && value.length > 0 && value.every((one) => typeof one === "object" && one !== null && !Array.isArray(one))) {
    const head = [...new Set(value.flatMap((one) => Object.keys(one as object)))];
    return { head, rows: value.map((one) => head.map((key) => (key in (one as object) ? cell((one as Record<string, unknown>)[key]) : ""))) };
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return { head: [], rows: Object.entries(value).map(([key, one]) => [key, cell(one)]) };
  return null;
}

export function FieldsView({ text }: { text: string }) {
  const value = readJson(text);
  const table = rowsOf(value);
  if (!table) return null;
  const isObject = !Array.isArray(value);
  const head = isObject ? [t("table.field"), t("table.value")] : table.head;
  return (
    <div class="fields">
      <table>
        <thead><tr>{head.map((one) => <th key={one} scope="col">{one}</th>)}</tr></thead>
        <tbody>
          {table.rows.map((row, i) => (
            <tr key={i}>{row.map((one, j) => (j === 0 && isObject ? <th key={j} scope="row">{one}</th> : <td key={j}>{one}</td>))}</tr>
          ))}
        </tbody>
      </table>
      <button type="button" class="quiet" onClick={() => void copyText(table.rows.map((row) => row.join("\t")).join("\n"))}>{t("table.copy")}</button>
      <button type="button" class="quiet" onClick={() => download("fields.csv", "text/csv", rowsToCsv([head, ...table.rows]))}>{t("table.csv")}</button>
      <button type="button" class="quiet" onClick={() => download("fields.json", "application/json", JSON.stringify(value, null, 2) + "\n")}>{t("table.json")}</button>
    </div>
  );
}
