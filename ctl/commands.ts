import { readFileSync, realpathSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { MountClient } from './agent-process.ts';
import type { Order } from './command-line.ts';
import type { Verb } from './mount-requests.ts';
import { findMount, type Mount, parseMountTable } from './mount-table.ts';
import { gather, type Overview } from './overview.ts';
import { bytesText } from './quantities.ts';
import { byActivity, ratesBetween, TOP_COLUMNS } from './rates.ts';
import { LIST_COLUMNS, statusText } from './report-text.ts';
import { formatTable, printable } from './table.ts';
import type { Units } from './units.ts';

/** What commands work with. */
export interface Tools {
  readonly mountTable: () => string;
  readonly client: MountClient;
  readonly units: Units;
  readonly out: (text: string) => void;
  readonly note: (text: string) => void;
  /** The output is a terminal that can be written over. */
  readonly isTerminal: boolean;
}

/** The command failed; the message says why. */
export class Failure extends Error {}

const CLEAR_SCREEN = '\x1b[H\x1b[2J';

export const readMountTable = (): string => readFileSync('/proc/self/mountinfo', 'utf8');

/** Throws Failure. */
export async function carryOut(order: Order, tools: Tools): Promise<void> {
  switch (order.command) {
    case 'list':
      return list(order, tools);
    case 'status':
      return status(order, tools);
    case 'top':
      return top(order, tools);
    case 'sync':
    case 'trim':
    case 'shutdown':
      return act(order.command, order, tools);
    case 'completion':
      throw new Error('completion needs no mounts');
  }
}

async function list(order: Order, tools: Tools): Promise<void> {
  const overview = await gather(parseMountTable(tools.mountTable()), tools.client, tools.units);
  if (order.json) return tools.out(jsonOf(overview, 2));
  if (overview.mounts.length === 0) return tools.note('nothing is mounted');
  tools.out(formatTable(LIST_COLUMNS, overview.mounts));
  noteUnits(overview, tools);
}

async function status(order: Order, tools: Tools): Promise<void> {
  const mounts = parseMountTable(tools.mountTable());
  const wanted = order.target === null ? mounts : [requireMount(mounts, order.target)];
  const overview = await gather(wanted, tools.client, tools.units);
  if (order.json) tools.out(jsonOf(overview, 2));
  else if (overview.mounts.length === 0) tools.note('nothing is mounted');
  else tools.out(overview.mounts.map(statusText).join('\n'));
  if (!order.json) noteUnits(overview, tools);
  const silent = overview.mounts.find((report) => report.problem !== null);
  if (order.target !== null && silent !== undefined) throw new Failure(`${silent.mountPoint}: ${silent.problem}`);
}

async function top(order: Order, tools: Tools): Promise<void> {
  let before: Overview = { mounts: [], unitProblem: null };
  let beforeMs = performance.now();
  for (let round = 1; order.rounds === 0 || round <= order.rounds; round++) {
    const now = await gather(parseMountTable(tools.mountTable()), tools.client, tools.units);
    const nowMs = performance.now();
    const rates = ratesBetween(before.mounts, now.mounts, (nowMs - beforeMs) / 1000).sort(byActivity);
    if (order.json) tools.out(jsonOf({ mounts: rates, unitProblem: now.unitProblem }));
    else tools.out(`${tools.isTerminal ? CLEAR_SCREEN : ''}${formatTable(TOP_COLUMNS, rates)}`);
    if (!order.json && (tools.isTerminal || round === 1)) noteUnits(now, tools);
    before = now;
    beforeMs = nowMs;
    if (round !== order.rounds) await pause(order.delaySeconds * 1000);
  }
}

async function act(verb: Exclude<Verb, 'statistics'>, order: Order, tools: Tools): Promise<void> {
  const mount = requireMount(parseMountTable(tools.mountTable()), order.target ?? '');
  const { mountPoint, deviceNumber } = mount;
  const answer = await tools.client.ask({ verb, mountPoint, deviceNumber, leastBytes: order.leastBytes });
  if (!answer.ok) throw new Failure(`${mountPoint}: ${answer.reason}`);
  if (order.json) tools.out(jsonOf({ ...mount, done: verb, trimmedBytes: answer.trimmedBytes }));
  else if (verb === 'trim') {
    tools.out(`${printable(mountPoint)}: ${bytesText(answer.trimmedBytes)} (${answer.trimmedBytes} bytes) trimmed\n`);
  }
}

function requireMount(mounts: readonly Mount[], target: string): Mount {
  const uid = process.getuid?.() ?? 0;
  const names = [target, resolve(target), realName(target)];
  const mount = names.reduce<Mount | null>((found, name) => found ?? findMount(mounts, name, uid), null);
  if (mount === null) throw new Failure(`${target}: not a mount of fuse4fs, and not the device of one`);
  return mount;
}

/** Links on the way to a mount point are followed, the mount point itself isn't touched: its server may hang. */
function realName(target: string): string {
  const path = resolve(target);
  try {
    return path.startsWith('/dev/') ? realpathSync(path) : join(realpathSync(dirname(path)), basename(path));
  } catch {
    return path;
  }
}

function jsonOf(value: unknown, indent = 0): string {
  return `${JSON.stringify(value, null, indent).replace(CONTROLS_LEFT_BY_JSON, escaped)}\n`;
}

/** Steer terminals as the ones below a blank do, which JSON writes as escapes anyway. */
const CONTROLS_LEFT_BY_JSON = /[\u007f-\u009f]/g;

const escaped = (character: string): string => `\\u00${character.charCodeAt(0).toString(16)}`;

function noteUnits({ unitProblem }: Overview, tools: Tools): void {
  if (unitProblem !== null) tools.note(`units are not shown: ${unitProblem}`);
}
