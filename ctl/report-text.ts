import { errnoText } from '../shared/errno-text.ts';
import type { MountStatistics } from '../shared/mount-statistics.ts';
import type { MountReport } from './overview.ts';
import { bytesText, durationText, shareText } from './quantities.ts';
import { type Column, formatTable, printable } from './table.ts';

const NONE = '-';

const told = (report: MountReport, text: (statistics: MountStatistics) => string): string =>
  report.statistics === null ? NONE : text(report.statistics);

export const cpuSeconds = ({ unit, statistics }: MountReport): number | null => {
  if (unit?.cpuSeconds !== undefined && unit.cpuSeconds !== null) return unit.cpuSeconds;
  if (statistics === null) return null;
  return (statistics.process.userMicroseconds + statistics.process.systemMicroseconds) / 1e6;
};

export const requestsOf = (statistics: MountStatistics): number =>
  statistics.operations.reduce((sum, operation) => sum + operation.requests, 0);

const errorsOf = (statistics: MountStatistics): number =>
  statistics.operations.reduce((sum, operation) => sum + operation.errors, 0);

const hitsOf = ({ cache }: MountStatistics): string => shareText(cache.hits, cache.hits + cache.misses);

const logUse = ({ journal }: MountStatistics): string =>
  journal.logBlocks === 0 ? NONE : shareText(journal.logBlocks - journal.logBlocksFree, journal.logBlocks);

/** Of the whole unit where systemd counts that, else the most that the server ever had. */
function memoryText({ unit, statistics }: MountReport): string {
  if (unit?.memoryBytes !== undefined && unit.memoryBytes !== null) return bytesText(unit.memoryBytes);
  return statistics === null ? NONE : `<${bytesText(statistics.process.peakResidentKiB * 1024)}`;
}

function cpuText(report: MountReport): string {
  const seconds = cpuSeconds(report);
  return seconds === null ? NONE : `${seconds.toFixed(1)}s`;
}

export const LIST_COLUMNS: readonly Column<MountReport>[] = [
  { title: 'DEVICE', isNumber: false, cell: (report) => report.device },
  { title: 'MOUNT POINT', isNumber: false, cell: (report) => report.mountPoint },
  { title: 'STATE', isNumber: false, cell: (report) => report.problem ?? told(report, ({ state }) => state) },
  {
    title: 'UPTIME',
    isNumber: true,
    cell: (report) => told(report, ({ uptimeSeconds }) => durationText(uptimeSeconds)),
  },
  { title: 'MEMORY', isNumber: true, cell: memoryText },
  { title: 'CPU', isNumber: true, cell: cpuText },
  {
    title: 'REQUESTS',
    isNumber: true,
    cell: (report) => told(report, (statistics) => String(requestsOf(statistics))),
  },
  { title: 'CACHE HITS', isNumber: true, cell: (report) => told(report, hitsOf) },
  { title: 'LOG IN USE', isNumber: true, cell: (report) => told(report, logUse) },
  { title: 'UNIT', isNumber: false, cell: ({ unit }) => unit?.name ?? NONE },
];

/** Everything about one mount, over several lines. */
export function statusText(report: MountReport): string {
  const { statistics, unit } = report;
  const lines: [string, string][] = [];
  lines.push(['Mount point', report.mountPoint], ['Type', report.type]);
  if (report.problem !== null) lines.push(['Problem', report.problem]);
  if (statistics !== null) lines.push(...serverLines(statistics));
  lines.push(['Unit', unit === null ? NONE : `${unit.name} (${unit.activeState})`]);
  if (unit?.activeSince !== undefined && unit.activeSince !== null) lines.push(['Active since', unit.activeSince]);
  lines.push(['Memory', memoryText(report)], ['CPU time', cpuText(report)]);
  const width = Math.max(...lines.map(([title]) => title.length));
  const head = `${printable(report.device)}\n`;
  const body = lines.map(([title, text]) => `  ${title.padEnd(width)}  ${printable(text)}\n`).join('');
  return head + body + operationsText(statistics);
}

function serverLines(statistics: MountStatistics): [string, string][] {
  const { cache, journal } = statistics;
  const size = bytesText(cache.blocks * cache.blockSizeBytes);
  const budget = bytesText(cache.capacityBlocks * cache.blockSizeBytes);
  return [
    ['State', statistics.state],
    ['Server', `fuse4fs ${statistics.program}, process ${statistics.pid}`],
    ['Uptime', durationText(statistics.uptimeSeconds)],
    ['Requests', `${requestsOf(statistics)}, ${errorsOf(statistics)} of them answered with an error`],
    ['Metadata cache', `${hitsOf(statistics)} hits, ${size} of ${budget}, shrunk ${cache.pressures} times`],
    ['Journal', journalText(statistics)],
    ['Changes', `${journal.runningBlocks} blocks not committed, ${journal.pendingBlocks} not at their places`],
  ];
}

function journalText({ state, journal }: MountStatistics): string {
  if (state === 'read-only') return 'not written';
  const log = journal.logBlocks === 0 ? 'no log' : `log of ${journal.logBlocks} blocks`;
  const use = journal.logBlocks === 0 ? '' : `, ${journal.logBlocks - journal.logBlocksFree} in use`;
  const abort = journal.abortErrno === 0 ? '' : `, ABORTED: ${errnoText(journal.abortErrno)}`;
  return `${log}${use}, ${journal.commits} commits${abort}`;
}

function operationsText(statistics: MountStatistics | null): string {
  if (statistics === null || statistics.operations.length === 0) return '';
  const operations = [...statistics.operations].sort((a, b) => b.requests - a.requests);
  const table = formatTable(
    [
      { title: 'OPERATION', isNumber: false, cell: ({ name }) => name },
      { title: 'REQUESTS', isNumber: true, cell: ({ requests }) => String(requests) },
      { title: 'ERRORS', isNumber: true, cell: ({ errors }) => String(errors) },
    ],
    operations,
  );
  return `\n${table.replace(/^/gm, '  ').trimEnd()}\n`;
}
