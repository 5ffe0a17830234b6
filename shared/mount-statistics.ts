/**
 * What a server tells of one mount, as JSON text in the buffer of an ioctl that any file of the mount answers.
 *
 * Version 1. Fields may be added without a new version; readers ignore what they don't know. A changed meaning makes
 * a new version.
 */
export interface MountStatistics {
  readonly version: number;
  /** Version of the program. */
  readonly program: string;
  /** Process id of the server, as the server sees it. */
  readonly pid: number;
  /** As the user who mounted typed them, at most `NAME_CHARACTERS_MAX` characters. */
  readonly device: string;
  readonly mountPoint: string;
  readonly uptimeSeconds: number;
  readonly state: MountState;
  readonly operations: readonly OperationCount[];
  readonly cache: CacheStatistics;
  readonly journal: JournalStatistics;
  readonly process: ProcessStatistics;
}

export type MountState = 'read-write' | 'read-only' | 'aborted';

export interface OperationCount {
  readonly name: string;
  readonly requests: number;
  readonly errors: number;
}

/** The cache of metadata blocks. */
export interface CacheStatistics {
  readonly blockSizeBytes: number;
  readonly blocks: number;
  /** The present budget, which shrinks when memory is short. */
  readonly capacityBlocks: number;
  readonly hits: number;
  readonly misses: number;
  /** How often memory was short. */
  readonly pressures: number;
}

/** How changes become durable. All is 0 on a mount that is only read. */
export interface JournalStatistics {
  /** Size of the log; 0: there is none, blocks go straight to their places. */
  readonly logBlocks: number;
  readonly logBlocksFree: number;
  readonly commits: number;
  /** Changed blocks that the next commit will write. */
  readonly runningBlocks: number;
  /** Committed blocks that are not at their places yet. */
  readonly pendingBlocks: number;
  /** Why the journal was aborted, as a positive errno; 0: it was not. */
  readonly abortErrno: number;
}

export interface ProcessStatistics {
  readonly userMicroseconds: number;
  readonly systemMicroseconds: number;
  /** The most memory that was ever resident. */
  readonly peakResidentKiB: number;
  readonly heapBytes: number;
  /** Memory of buffers outside of the heap. */
  readonly externalBytes: number;
}

export const STATISTICS_VERSION = 1;
export const NAME_CHARACTERS_MAX = 256;

/** Of the ioctl's buffer. The text ends at the first zero byte. */
export const STATISTICS_BYTES = 0x3000;

/** _IOR(0xf4, 0xf4, char[STATISTICS_BYTES]), by the scheme of asm-generic/ioctl.h. */
export const STATISTICS_IOCTL = 0x80000000 + STATISTICS_BYTES * 2 ** 16 + 0xf4f4;

export const NO_JOURNAL: JournalStatistics = Object.freeze({
  logBlocks: 0,
  logBlocksFree: 0,
  commits: 0,
  runningBlocks: 0,
  pendingBlocks: 0,
  abortErrno: 0,
});

/** What a text must have to be believed: its fields and their types. */
const SPECIMEN: MountStatistics = Object.freeze({
  version: STATISTICS_VERSION,
  program: '',
  pid: 0,
  device: '',
  mountPoint: '',
  uptimeSeconds: 0,
  state: 'read-only',
  operations: [{ name: '', requests: 0, errors: 0 }],
  cache: { blockSizeBytes: 0, blocks: 0, capacityBlocks: 0, hits: 0, misses: 0, pressures: 0 },
  journal: NO_JOURNAL,
  process: { userMicroseconds: 0, systemMicroseconds: 0, peakResidentKiB: 0, heapBytes: 0, externalBytes: 0 },
});

const STATES: ReadonlySet<string> = new Set<MountState>(['read-write', 'read-only', 'aborted']);

export function encodeStatistics(statistics: MountStatistics): Uint8Array {
  return Buffer.from(JSON.stringify(statistics), 'utf8');
}

/** Null when the text is none of ours: the server behind a mount may be any program, or one that was taken over. */
export function decodeStatistics(buffer: Uint8Array): MountStatistics | null {
  const end = buffer.indexOf(0);
  const text = Buffer.from(buffer.buffer, buffer.byteOffset, end < 0 ? buffer.length : end).toString('utf8');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  return isStatistics(value) ? value : null;
}

function isStatistics(value: unknown): value is MountStatistics {
  if (!resembles(value, SPECIMEN)) return false;
  const { version, state } = value as MountStatistics;
  return version === STATISTICS_VERSION && STATES.has(state);
}

/** Numbers are counts: whole and not negative. */
function resembles(value: unknown, specimen: unknown): boolean {
  if (typeof specimen === 'number') return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
  if (Array.isArray(specimen)) return Array.isArray(value) && value.every((item) => resembles(item, specimen[0]));
  if (typeof specimen !== 'object' || specimen === null) return typeof value === typeof specimen;
  if (typeof value !== 'object' || value === null) return false;
  const fields = new Map<string, unknown>(Object.entries(value));
  return Object.entries(specimen).every(([name, example]) => resembles(fields.get(name), example));
}
