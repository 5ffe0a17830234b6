/** A column is as wide as its widest cell; numbers stand on the right. */
export interface Column<Row> {
  readonly title: string;
  readonly isNumber: boolean;
  readonly cell: (row: Row) => string;
}

const GAP = '  ';

export function formatTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const lines = [
    columns.map((column) => column.title),
    ...rows.map((row) => columns.map((column) => column.cell(row))),
  ];
  const safe = lines.map((cells) => cells.map(printable));
  const widths = columns.map((_, index) => Math.max(...safe.map((cells) => cells[index].length)));
  const pad = (cell: string, index: number): string =>
    columns[index].isNumber ? cell.padStart(widths[index]) : cell.padEnd(widths[index]);
  return safe.map((cells) => `${cells.map(pad).join(GAP).trimEnd()}\n`).join('');
}

/** Names come from whoever mounts, texts from servers: nothing of them may steer a terminal. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, '?');
}
