// Tables as files: rows of cells, the first one their head.

/** A cell that no spreadsheet takes for a formula. */
export function csvCell(value: string): string {
  const safe = /^[=+\-@\t\r]/.test(value) && !/^[+-]?\d+(?:[.,]\d+)*%?$/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export function rowsToCsv(rows: string[][]): string {
  return rows.map((row) => row.map(csvCell).join(",") + "\r\n").join("");
}

export function rowsToJson(rows: string[][]): string {
  const [head = [], ...body] = rows;
  return JSON.stringify(body.map((row) => Object.fromEntries(head.map((name, i) => [name || String(i + 1), row[i] ?? ""]))), null, 2) + "\n";
}
