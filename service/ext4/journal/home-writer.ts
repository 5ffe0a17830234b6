import type { WritableBlockDevice } from '../block-device.ts';
import type { CachedBlock } from '../buffer-cache.ts';

/** Neighbouring blocks are written together up to this size. */
const MAX_WRITE_BYTES = 256 * 1024;

/** Writes cached blocks to their places on the device, through its page cache. */
export class HomeWriter {
  readonly #device: WritableBlockDevice;
  readonly #blockSize: number;
  readonly #gather: Uint8Array;
  readonly #sorted: CachedBlock[] = [];

  constructor(device: WritableBlockDevice, blockSize: number) {
    this.#device = device;
    this.#blockSize = blockSize;
    this.#gather = new Uint8Array(Math.max(blockSize, MAX_WRITE_BYTES));
  }

  /** Returns 0 or a positive errno: then some of the blocks may have been written. */
  write(blocks: readonly CachedBlock[]): number {
    const sorted = this.#sorted;
    for (const block of blocks) sorted.push(block);
    sorted.sort(byNumber);
    let errno = 0;
    for (let from = 0; from < sorted.length && errno === 0; ) {
      const end = this.#endOfRun(from);
      errno = end === from + 1 ? this.#writeOne(sorted[from]) : this.#writeRun(from, end);
      from = end;
    }
    sorted.length = 0;
    return errno;
  }

  #endOfRun(from: number): number {
    const limit = from + Math.floor(this.#gather.length / this.#blockSize);
    let end = from + 1;
    while (end < this.#sorted.length && end < limit && this.#isNext(end)) end++;
    return end;
  }

  #isNext(index: number): boolean {
    return this.#sorted[index].blockNr === this.#sorted[index - 1].blockNr + 1;
  }

  #writeOne(block: CachedBlock): number {
    return this.#device.write(block.blockNr * this.#blockSize, block.bytes);
  }

  #writeRun(from: number, end: number): number {
    for (let index = from; index < end; index++) {
      this.#gather.set(this.#sorted[index].bytes, (index - from) * this.#blockSize);
    }
    const bytes = this.#gather.subarray(0, (end - from) * this.#blockSize);
    return this.#device.write(this.#sorted[from].blockNr * this.#blockSize, bytes);
  }
}

const byNumber = (a: CachedBlock, b: CachedBlock): number => a.blockNr - b.blockNr;
