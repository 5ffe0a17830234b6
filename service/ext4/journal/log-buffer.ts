import { viewOf } from '../../../shared/bytes.ts';

/** Bytes of one piece of memory: what is written in one go. */
const SEGMENT_BYTES = 256 * 1024;

/** Memory for one block on its way to the log. */
export interface LogSlot {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

/**
 * Memory for the blocks of one transaction on their way to the log, numbered from 0. Grows to the largest
 * transaction and is used again. Neighbouring blocks of a segment are neighbours in memory.
 */
export class LogBuffer {
  readonly #blockSize: number;
  readonly #blocksPerSegment: number;
  readonly #allocate: (bytes: number) => Uint8Array;
  readonly #segments: Uint8Array[] = [];
  readonly #slots: LogSlot[] = [];

  /** `allocate` returns memory that is aligned as direct I/O wants it. */
  constructor(blockSize: number, allocate: (bytes: number) => Uint8Array) {
    this.#blockSize = blockSize;
    this.#blocksPerSegment = Math.max(1, Math.floor(SEGMENT_BYTES / blockSize));
    this.#allocate = allocate;
  }

  slot(index: number): LogSlot {
    while (this.#slots.length <= index) this.#grow();
    return this.#slots[index];
  }

  /** The longest stretch of at most `count` blocks from `index` on that is one piece of memory; its block count. */
  contiguous(index: number, count: number): number {
    return Math.min(count, this.#blocksPerSegment - (index % this.#blocksPerSegment));
  }

  /** `count` blocks from `index` on, which are one piece of memory. */
  bytes(index: number, count: number): Uint8Array {
    const segment = this.#segments[Math.floor(index / this.#blocksPerSegment)];
    const start = (index % this.#blocksPerSegment) * this.#blockSize;
    return segment.subarray(start, start + count * this.#blockSize);
  }

  #grow(): void {
    const segment = this.#allocate(this.#blocksPerSegment * this.#blockSize);
    this.#segments.push(segment);
    for (let start = 0; start < segment.length; start += this.#blockSize) {
      const bytes = segment.subarray(start, start + this.#blockSize);
      this.#slots.push({ bytes, view: viewOf(bytes) });
    }
  }
}
