import type { Performance } from './sequence-performer.ts';
import { type Allowance, compareSnapshots, fieldsOf, parseSnapshot, type TreeSnapshot } from './tree-snapshot.ts';

/** A difference between FUSE and a file system of the kernel that no server can avoid. */
export interface StepAllowance {
  /** Name of the operation. */
  readonly step: RegExp;
  readonly why: string;
  readonly accepts: (expected: string, actual: string) => boolean;
}

/** Times since this second are those of the test; whoever sets times to the past uses earlier ones. */
const RECENT_SECONDS = 1_700_000_000;
const RECENT_SECONDS_END = 4_000_000_000;

const TIMES = ['atime', 'mtime', 'ctime', 'btime'];

/** What depends on where the file system puts things, not on what was done. */
const PLACEMENT = ['ino', 'generation', 'blksize', 'blocks'];

function comparableTime(value: string): string {
  const seconds = Number(value);
  return seconds >= RECENT_SECONDS && seconds < RECENT_SECONDS_END ? 'recent' : value;
}

const PAGE_BYTES = 4096;

/** Data segments by pages: where the kernel gathers writes, whole pages are written, whatever the blocks are. */
function comparableSegments(value: string, sizeBytes: number): string {
  const merged: number[] = [];
  for (const segment of value.split(',')) {
    const [from, to] = segment.split('-').map(Number);
    const start = from - (from % PAGE_BYTES);
    const end = Math.min(sizeBytes, Math.ceil(to / PAGE_BYTES) * PAGE_BYTES);
    if (start <= (merged.at(-1) ?? -1)) merged.splice(-1, 1, end);
    else merged.push(start, end);
  }
  return merged.join(',');
}

/**
 * Set-group-ID without group execute: when data or owners change, the kernel's own file systems take it from whoever is
 * not in the group. FUSE tells the server nothing of supplementary groups.
 */
function withoutLockingBit(mode: string): string {
  return mode.replace(/^(10)([2367])(\d[0246]\d)$/, (_, type: string, special: string, rest: string) => {
    return `${type}${Number(special) & ~2}${rest}`;
  });
}

function comparableResult(result: string): string {
  return result
    .split(' ')
    .map((word) => withoutLockingBit(word))
    .join(' ');
}

function comparableField(name: string, value: string, sizeBytes: number): string | undefined {
  if (name === 'data' && /^\d/.test(value)) return comparableSegments(value, sizeBytes);
  if (PLACEMENT.includes(name)) return undefined;
  if (name === 'mode') return withoutLockingBit(value);
  if (TIMES.includes(name)) return comparableTime(value);
  if (name.startsWith('dirent')) return value.slice(value.indexOf(':') + 1);
  return value;
}

/** Of larger files not all is read, but what lies around their data segments. */
const WHOLE_FILE_BYTES_MAX = 2 ** 24;
const CONTENT = ['read', 'sha256'];

/** A tree without what two file systems with the same history may differ in. */
export function comparableTree(tree: TreeSnapshot): TreeSnapshot {
  const comparable = new Map<string, string>();
  for (const [path, line] of tree) {
    if (path === '') continue;
    const fields: string[] = [];
    const all = fieldsOf(line);
    const sizeBytes = Number(all.get('size') ?? 0);
    const isWhole = sizeBytes <= WHOLE_FILE_BYTES_MAX;
    for (const [name, value] of all) {
      const kept = isWhole || !CONTENT.includes(name) ? comparableField(name, value, sizeBytes) : undefined;
      if (kept !== undefined) fields.push(`${name}=${kept}`);
    }
    comparable.set(path, fields.join('\t'));
  }
  return comparable;
}

function compareResults(
  steps: readonly string[],
  expected: readonly string[],
  actual: readonly string[],
  allowances: readonly StepAllowance[],
): string[] {
  const differences: string[] = [];
  for (let i = 0; i < Math.max(steps.length, expected.length, actual.length); i++) {
    const wanted = comparableResult(expected[i] ?? 'nothing');
    const found = comparableResult(actual[i] ?? 'nothing');
    const words = steps[i] ?? 'after the last step';
    if (wanted === found) continue;
    if (allowances.some((one) => one.step.test(words) && one.accepts(wanted, found))) continue;
    differences.push(`step ${i}: ${words}: ${wanted}, but ${found}`);
  }
  return differences;
}

/** Readable differences between what the kernel's ext4 and we made of a sequence. */
export function comparePerformances(
  steps: readonly string[],
  expected: Performance,
  actual: Performance,
  stepAllowances: readonly StepAllowance[],
  treeAllowances: readonly Allowance[],
): string[] {
  const wanted = comparableTree(parseSnapshot(expected.snapshot));
  const found = comparableTree(parseSnapshot(actual.snapshot));
  return [
    ...compareResults(steps, expected.results, actual.results, stepAllowances),
    ...compareSnapshots(wanted, found, treeAllowances),
  ];
}
