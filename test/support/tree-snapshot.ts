import { spawn } from 'node:child_process';
import { compiledTool } from './compiled-tool.ts';

/** Fields of one object by name; the values are text as tree-snapshot.c prints it. */
export type ObjectFields = ReadonlyMap<string, string>;

/** What a client sees of a mounted tree: hexadecimal path to the rest of the object's line. */
export type TreeSnapshot = ReadonlyMap<string, string>;

export interface SnapshotOptions {
  /** No single object may take longer. */
  readonly secondsPerObject?: number;
  readonly entriesMax?: number;
}

/** The line of statfs and the ioctls of the file system as a whole. */
export const FILE_SYSTEM = '';

export interface SnapshotResult {
  readonly snapshot: TreeSnapshot;
  readonly code: number | null;
  /** The walker itself was ended: SIGALRM says that one object took too long. */
  readonly signal: NodeJS.Signals | null;
}

export function parseSnapshot(text: string): Map<string, string> {
  const snapshot = new Map<string, string>();
  for (const line of text.split('\n')) {
    const tab = line.indexOf('\t');
    if (tab >= 0) snapshot.set(line.slice(0, tab), line.slice(tab + 1));
  }
  return snapshot;
}

function snapshotArguments(directory: string, options: SnapshotOptions): string[] {
  const args: string[] = [];
  if (options.secondsPerObject !== undefined) args.push('--seconds', String(options.secondsPerObject));
  if (options.entriesMax !== undefined) args.push('--entries', String(options.entriesMax));
  return [...args, directory];
}

/**
 * Walks a tree of which nothing may be expected. Asynchronous, because the server under test may write to a pipe that
 * this process reads.
 */
export function tryTakeSnapshot(directory: string, options: SnapshotOptions = {}): Promise<SnapshotResult> {
  return new Promise((resolve) => {
    const walker = spawn(compiledTool('tree-snapshot'), snapshotArguments(directory, options), {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const parts: Buffer[] = [];
    walker.stdout.on('data', (part: Buffer) => parts.push(part));
    walker.on('close', (code, signal) => {
      resolve({ snapshot: parseSnapshot(Buffer.concat(parts).toString('latin1')), code, signal });
    });
  });
}

/** Walks a tree that must be whole; 20 s for one object means that it hangs. */
export async function takeSnapshot(directory: string): Promise<TreeSnapshot> {
  const { snapshot, code, signal } = await tryTakeSnapshot(directory, { secondsPerObject: 20 });
  if (code !== 0) throw new Error(`walk of ${directory} ended by ${signal ?? code} after ${snapshot.size} objects`);
  return snapshot;
}

export function fieldsOf(line: string): ObjectFields {
  return new Map(line.split('\t').map((field) => splitAtFirst(field, '=')));
}

function splitAtFirst(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return [text.slice(0, at), text.slice(at + 1)];
}

export interface Allowance {
  /** Path as readable text, or undefined for every path. */
  readonly path?: string;
  /** Field name, or undefined for every field. */
  readonly field?: string;
  readonly why: string;
  /** Only values for which this holds; without it, any. */
  readonly accepts?: (expected: string, actual: string) => boolean;
}

/** All that may differ between the kernel's ext4 and a FUSE mount of the same image, and why. */
export const FUSE_ALLOWANCES: readonly Allowance[] = [
  { path: FILE_SYSTEM, field: 'type', why: 'statfs names the kernel driver: EXT4_SUPER_MAGIC here, FUSE there' },
  {
    path: FILE_SYSTEM,
    field: 'uuid',
    why: 'the ioctl declares 8 bytes and returns 24: FUSE passes on no more than is declared',
    accepts: (_, actual) => actual === '!ENOTTY',
  },
  ...['dirent', 'dirent:.', 'dirent:..'].map((field) => ({
    field,
    why: 'without the filetype feature ext4 does not know types while listing; READDIRPLUS reads the inode anyway',
    accepts: (expected: string, actual: string) => expected.endsWith(':0') && sameInode(expected, actual),
  })),
];

function sameInode(expected: string, actual: string): boolean {
  return expected.slice(0, expected.indexOf(':')) === actual.slice(0, actual.indexOf(':'));
}

/** Hexadecimal path to text that a person can read. */
export function readablePath(hexPath: string): string {
  return JSON.stringify(Buffer.from(hexPath, 'hex').toString('latin1')).slice(1, -1);
}

const shown = (value: string | undefined) =>
  value === undefined ? 'nothing' : value.length > 200 ? `${value.slice(0, 200)}... (${value.length})` : value;

function compareObject(path: string, expected: string, actual: string, allowances: readonly Allowance[]): string[] {
  const wanted = fieldsOf(expected);
  const found = fieldsOf(actual);
  const names = new Set([...wanted.keys(), ...found.keys()]);
  const isAllowed = (field: string) =>
    allowances.some(
      (one) =>
        (one.field === undefined || one.field === field) &&
        (one.path === undefined || one.path === path) &&
        (one.accepts?.(wanted.get(field) ?? '', found.get(field) ?? '') ?? true),
    );
  return [...names]
    .filter((name) => wanted.get(name) !== found.get(name) && !isAllowed(name))
    .map((name) => `${path || 'file system'}: ${name}: ${shown(wanted.get(name))}, but ${shown(found.get(name))}`);
}

/** Readable differences; no line means equal. */
export function compareSnapshots(
  expected: TreeSnapshot,
  actual: TreeSnapshot,
  allowances: readonly Allowance[] = [],
): string[] {
  const differences: string[] = [];
  for (const [hexPath, line] of expected) {
    const found = actual.get(hexPath);
    if (found === line) continue;
    const path = readablePath(hexPath);
    if (found === undefined) {
      differences.push(`${path}: missing`);
      continue;
    }
    differences.push(...compareObject(path, line, found, allowances));
  }
  for (const hexPath of actual.keys()) {
    if (!expected.has(hexPath)) differences.push(`${readablePath(hexPath)}: should not exist`);
  }
  return differences;
}

/** Differences for an assertion: enough to see the kind, not a hundred thousand lines. */
export function summarize(differences: readonly string[]): string[] {
  return differences.length <= 30
    ? [...differences]
    : [...differences.slice(0, 30), `... ${differences.length - 30} more`];
}
