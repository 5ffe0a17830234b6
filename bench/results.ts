/** What a number means, so that ratios can be read the right way round. */
export type Unit = 'us' | 's' | 'ms' | 'MiB' | 'MiB/s' | 'entries/s' | 'IOPS';

export interface Row {
  readonly name: string;
  readonly unit: Unit;
  readonly values: Map<string, number[]>;
}

/**
 * What fuse4fs shall reach in the rows named: times and sizes at most, rates at least `factor` times what the rival
 * has in the same row, or fuse4fs itself has in another.
 */
export interface Bar {
  readonly rows: readonly string[];
  readonly rival: string;
  readonly factor: number;
  /** The row to compare with, where it is another. */
  readonly base?: string;
  /** Allowed on top, in the row's unit. */
  readonly plus?: number;
}

const HIGHER_IS_BETTER: readonly Unit[] = ['MiB/s', 'entries/s', 'IOPS'];

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export const isHigherBetter = (unit: Unit): boolean => HIGHER_IS_BETTER.includes(unit);

const text = (value: number | undefined): string =>
  value === undefined ? '' : value >= 100 ? value.toFixed(0) : value.toPrecision(3);

/** All values of all rounds, by measure and contender. */
export class Results {
  readonly rows: Row[] = [];
  readonly #bars: readonly Bar[];

  constructor(bars: readonly Bar[]) {
    this.#bars = bars;
  }

  add(name: string, unit: Unit, contender: string, value: number): void {
    let row = this.#row(name);
    if (row === undefined) {
      row = { name, unit, values: new Map() };
      this.rows.push(row);
    }
    const values = row.values.get(contender) ?? [];
    values.push(value);
    row.values.set(contender, values);
  }

  median(row: Row, contender: string): number | undefined {
    const values = row.values.get(contender);
    return values === undefined ? undefined : median(values);
  }

  /** Markdown: medians, what fuse4fs reaches of the others, and where there are bars, whether that is enough. */
  table(machine: string): string {
    const head = ['measure', 'unit', 'kernel ext4', 'fuse2fs', 'fuse4fs', 'min-max', 'of kernel', 'of fuse2fs'];
    if (this.#bars.length > 0) head.push('bar', 'met');
    const lines = [`${machine}.`, '', `| ${head.join(' | ')} |`, `|${head.map(() => '---|').join('')}`];
    for (const row of this.rows) lines.push(`| ${this.#cells(row).join(' | ')} |`);
    return `${lines.join('\n')}\n`;
  }

  #row(name: string): Row | undefined {
    return this.rows.find((candidate) => candidate.name === name);
  }

  #cells(row: Row): string[] {
    const ours = this.median(row, 'fuse4fs');
    const ratio = (rival: string): string => {
      const other = this.median(row, rival);
      return ours === undefined || other === undefined ? '' : `${text(ours / other)} x`;
    };
    const all = row.values.get('fuse4fs') ?? [];
    const range = all.length === 0 ? '' : `${text(Math.min(...all))}-${text(Math.max(...all))}`;
    const medians = ['kernel', 'fuse2fs', 'fuse4fs'].map((name) => text(this.median(row, name)));
    const cells = [row.name, row.unit, ...medians, range, ratio('kernel'), ratio('fuse2fs')];
    if (this.#bars.length > 0) cells.push(...this.#judgement(row, ours));
    return cells;
  }

  /** The bars of a row, and whether they are met. */
  #judgement(row: Row, ours: number | undefined): [string, string] {
    const bars = this.#bars.filter((bar) => bar.rows.includes(row.name));
    const verdicts = bars.map((bar) => this.#verdict(bar, row, ours));
    return [bars.map((bar) => barText(bar, row.unit)).join(', '), verdicts.join(', ')];
  }

  #verdict(bar: Bar, row: Row, ours: number | undefined): string {
    const base = bar.base === undefined ? row : this.#row(bar.base);
    const other = base === undefined ? undefined : this.median(base, bar.rival);
    if (ours === undefined || other === undefined) return 'not measured';
    const limit = other * bar.factor + (bar.plus ?? 0);
    return (isHigherBetter(row.unit) ? ours >= limit : ours <= limit) ? 'met' : 'missed';
  }
}

function barText(bar: Bar, unit: Unit): string {
  const comparison = isHigherBetter(unit) ? '>=' : '<=';
  if (bar.factor === 0) return `${comparison} ${bar.plus} ${unit}`;
  const than = bar.base === undefined ? bar.rival : `"${bar.base}"`;
  const plus = bar.plus === undefined ? '' : ` + ${bar.plus} ${unit}`;
  return `${comparison} ${bar.factor} x ${than}${plus}`;
}
