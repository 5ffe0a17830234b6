import type { MountReport } from './overview.ts';
import { shareText } from './quantities.ts';
import { cpuSeconds, LIST_COLUMNS, requestsOf } from './report-text.ts';
import type { Column } from './table.ts';

/** A mount now, and what it did since the look before. Null: there was none. */
export interface MountRates {
  readonly report: MountReport;
  readonly requestsPerSecond: number | null;
  /** Share of one processor. */
  readonly cpuShare: number | null;
}

/** Two looks at the same mounts, `seconds` apart. A server that was started anew begins from nothing. */
export function ratesBetween(
  before: readonly MountReport[],
  now: readonly MountReport[],
  seconds: number,
): MountRates[] {
  const earlier = new Map(before.map((report) => [keyOf(report), report]));
  return now.map((report) => {
    const previous = earlier.get(keyOf(report));
    const perSecond = (of: (report: MountReport) => number | null): number | null => {
      const [from, to] = [previous === undefined ? null : of(previous), of(report)];
      return from === null || to === null || seconds <= 0 ? null : Math.max(0, (to - from) / seconds);
    };
    return {
      report,
      requestsPerSecond: perSecond(({ statistics }) => (statistics === null ? null : requestsOf(statistics))),
      cpuShare: perSecond(cpuSeconds),
    };
  });
}

const keyOf = ({ mountPoint, statistics }: MountReport): string => `${statistics?.pid ?? 0} ${mountPoint}`;

const shown = LIST_COLUMNS.filter(({ title }) => title !== 'UPTIME' && title !== 'CPU' && title !== 'REQUESTS');

export const TOP_COLUMNS: readonly Column<MountRates>[] = [
  {
    title: 'REQUESTS/S',
    isNumber: true,
    cell: ({ requestsPerSecond }) => (requestsPerSecond === null ? '-' : requestsPerSecond.toFixed(0)),
  },
  { title: 'CPU', isNumber: true, cell: ({ cpuShare }) => (cpuShare === null ? '-' : shareText(cpuShare, 1)) },
  ...shown.map((column) => ({ ...column, cell: ({ report }: MountRates) => column.cell(report) })),
];

/** Those who work most stand first. */
export function byActivity(a: MountRates, b: MountRates): number {
  return (b.requestsPerSecond ?? 0) - (a.requestsPerSecond ?? 0);
}
