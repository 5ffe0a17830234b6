import { totalmem } from 'node:os';
import { crc32c } from '../native/crc32c.ts';
import type { Log } from '../shared/log.ts';
import type { Filesystem, OpenOptions } from './ext4/filesystem.ts';
import type { Session } from './fuse/session.ts';
import type { Options } from './options.ts';
import type { StatisticsSource } from './statistics.ts';

const CACHE_BYTES_MAX_DEFAULT = 32 * 2 ** 20;
/** Default share of the machine's memory for the metadata cache. */
const CACHE_MEMORY_SHARE = 20;

/** Threads that read file data, and as many that write it. */
export const DATA_THREADS = 4;

/** Longer than a client takes to come back with its next request, shorter than two wake-ups across CPUs. */
export const SPIN_MICROSECONDS = 50;

/** A file system and the conversation with the kernel about it. */
export interface ServedFilesystem {
  readonly isWritable: boolean;
  readonly filesystem: Filesystem;
  readonly fuse: Session;
  /** What the mount must call its root. */
  readonly rootNodeId: number;
  readonly statistics: StatisticsSource;
  /** Brings changes a step closer to their places, without waiting for it. */
  settle(): void;
  /** After the conversation: brings everything to the device and lets go of it. Returns 0 or a positive errno. */
  finish(): number;
}

/** What the mount's options say about opening a file system. */
export function openOptions(options: Options, log: Log): OpenOptions {
  return {
    crc32c,
    cacheBytes: options.cacheSizeBytes ?? Math.min(CACHE_BYTES_MAX_DEFAULT, totalmem() / CACHE_MEMORY_SHARE),
    superblockKiB: options.superblockKiB ?? 0,
    noRecovery: options.noRecovery,
    log: (text) => log.notice(text),
  };
}
