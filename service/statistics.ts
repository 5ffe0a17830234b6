import { getHeapStatistics } from 'node:v8';
import {
  type MountState,
  type MountStatistics,
  NAME_CHARACTERS_MAX,
  type ProcessStatistics,
  STATISTICS_VERSION,
} from '../shared/mount-statistics.ts';
import { type ByteString, fromByteString } from '../shared/service-protocol/byte-string.ts';
import { VERSION } from '../shared/version.ts';
import type { Filesystem } from './ext4/filesystem.ts';
import type { Session } from './fuse/session.ts';
import type { Options } from './options.ts';

/** Gathers what can be told of one mount. Nothing is opened for it. */
export class StatisticsSource {
  readonly #options: Options;
  readonly #filesystem: Filesystem;
  readonly #isWritable: boolean;
  readonly #beginMs = performance.now();
  /** Whose requests are counted, once there is one. */
  session: Session | null = null;

  constructor(options: Options, filesystem: Filesystem, isWritable: boolean) {
    this.#options = options;
    this.#filesystem = filesystem;
    this.#isWritable = isWritable;
  }

  read(): MountStatistics {
    const { cache, journalStatistics: journal } = this.#filesystem;
    return {
      version: STATISTICS_VERSION,
      program: VERSION,
      pid: process.pid,
      device: nameOf(this.#options.device),
      mountPoint: nameOf(this.#options.mountPoint),
      uptimeSeconds: Math.floor((performance.now() - this.#beginMs) / 1000),
      state: this.#state(),
      operations: this.session?.counts() ?? [],
      cache: {
        blockSizeBytes: cache.blockSize,
        blocks: cache.sizeBlocks,
        capacityBlocks: cache.capacityBlocks,
        hits: cache.hits,
        misses: cache.misses,
        pressures: cache.shrinkings,
      },
      journal: {
        logBlocks: journal.logBlocks,
        logBlocksFree: journal.logBlocksFree,
        commits: journal.commits,
        runningBlocks: journal.runningBlocks,
        pendingBlocks: journal.pendingBlocks,
        abortErrno: journal.abortErrno,
      },
      process: processStatistics(),
    };
  }

  #state(): MountState {
    if (!this.#isWritable) return 'read-only';
    return this.#filesystem.journalStatistics.abortErrno === 0 ? 'read-write' : 'aborted';
  }
}

/** `process.memoryUsage` would open a file of /proc. */
function processStatistics(): ProcessStatistics {
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
  const heap = getHeapStatistics();
  return {
    userMicroseconds: userCPUTime,
    systemMicroseconds: systemCPUTime,
    peakResidentKiB: maxRSS,
    heapBytes: heap.total_heap_size,
    externalBytes: heap.external_memory,
  };
}

function nameOf(word: ByteString): string {
  return fromByteString(word).slice(0, NAME_CHARACTERS_MAX);
}
