import { Errno } from '../../shared/errno.ts';
import type { GroupBlockAllocator } from './block-allocator.ts';
import { FsError } from './errors.ts';
import type { Geometry } from './geometry.ts';

/** What FITRIM asks for, in bytes. */
export interface TrimRange {
  readonly startBytes: number;
  readonly lengthBytes: number;
  /** Shorter free runs are left out. */
  readonly leastBytes: number;
}

/**
 * Goes over the free blocks of a part of the file system, one group at a time, so that other requests can be served
 * between them (FITRIM of ioctl(2), whose rules the range follows as in the kernel).
 */
export class Trim {
  readonly #geometry: Geometry;
  readonly #allocator: GroupBlockAllocator;
  readonly #end: number;
  readonly #leastBlocks: number;
  #next: number;
  #trimmedBlocks = 0;

  /** Throws FsError EINVAL for an impossible range. */
  constructor(geometry: Geometry, allocator: GroupBlockAllocator, range: TrimRange) {
    const { blockSize, blocksCount, blocksPerGroup, firstDataBlock } = geometry;
    const start = Math.floor(range.startBytes / blockSize);
    const leastBlocks = Math.floor(range.leastBytes / blockSize);
    if (leastBlocks > blocksPerGroup || start >= blocksCount || range.lengthBytes < blockSize) {
      throw new FsError(Errno.EINVAL, 'no such range to trim');
    }
    this.#geometry = geometry;
    this.#allocator = allocator;
    this.#next = Math.max(start, firstDataBlock);
    this.#end = Math.min(start + Math.floor(range.lengthBytes / blockSize), blocksCount);
    this.#leastBlocks = Math.max(1, leastBlocks);
  }

  /** Bytes of the runs returned so far. */
  get trimmedBytes(): number {
    return this.#trimmedBlocks * this.#geometry.blockSize;
  }

  /**
   * The free runs of the next group, as pairs of first block and count, perhaps none; null when all groups were gone
   * over. Nobody gets the blocks until `discarded` of the allocator is called for each run.
   */
  nextRuns(): readonly number[] | null {
    if (this.#next >= this.#end) return null;
    const group = this.#geometry.groupOfBlock(this.#next);
    const end = Math.min(this.#end, this.#geometry.groupEndBlock(group));
    const runs = this.#allocator.setAsideRuns(group, this.#next, end, this.#leastBlocks);
    this.#next = end;
    for (let index = 1; index < runs.length; index += 2) this.#trimmedBlocks += runs[index];
    return runs;
  }
}
