import type { Unit } from './measures.ts';

export interface Row {
  readonly name: string;
  readonly unit: Unit;
  readonly values: Map<string, number[]>;
}

const HIGHER_IS_BETTER: readonly Unit[] = ['MiB/s', 'entries/s', 'IOPS'];

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export const isHigherBetter = (unit: Unit): boolean => HIGHER_IS_BETTER.includes(unit);

/** All values of all rounds, by measure and contender. */
export class Results {
  readonly rows: Row[] = [];

  add(name: string, unit: Unit, contender: string, value: number): void {
    let row = this.rows.find((candidate) => candidate.name === name);
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

  /** Markdown: medians, and what fuse4fs reaches of the others. */
  table(machine: string): string {
    const lines = [
      `${machine}.`,
      '',
      '| measure | unit | kernel ext4 | fuse2fs | fuse4fs | min-max | of kernel | of fuse2fs |',
      '|---|---|---|---|---|---|---|---|',
    ];
    for (const row of this.rows) lines.push(this.#line(row));
    return `${lines.join('\n')}\n`;
  }

  #line(row: Row): string {
    const ours = this.median(row, 'fuse4fs');
    const number = (value: number | undefined): string =>
      value === undefined ? '' : value >= 100 ? value.toFixed(0) : value.toPrecision(3);
    const ratio = (rival: string): string => {
      const other = this.median(row, rival);
      return ours === undefined || other === undefined ? '' : `${number(ours / other)} x`;
    };
    const all = row.values.get('fuse4fs') ?? [];
    const range = all.length === 0 ? '' : `${number(Math.min(...all))}-${number(Math.max(...all))}`;
    const medians = ['kernel', 'fuse2fs', 'fuse4fs'].map((name) => number(this.median(row, name)));
    const cells = [row.name, row.unit, ...medians, range, ratio('kernel'), ratio('fuse2fs')];
    return `| ${cells.join(' | ')} |`;
  }
}
