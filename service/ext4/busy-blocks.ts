import { viewOf } from '../../shared/bytes.ts';
import { clearBits, NO_BITS, setBits } from './bitmap.ts';

/** Bitmaps of groups that have become idle are kept for the next one. */
const MAX_SPARE_BITMAPS = 16;

class BusyBitmap {
  readonly view: DataView;
  count = 0;

  constructor(bytes: number) {
    this.view = viewOf(new Uint8Array(bytes));
  }
}

/**
 * Blocks that are free on disk and yet not to be had: freed by a transaction that has not committed, set aside for
 * the appends to a file, or being discarded. Each block is busy for one reason at a time.
 */
export class BusyBlocks {
  readonly #bitmapBytes: number;
  readonly #groups = new Map<number, BusyBitmap>();
  readonly #spare: BusyBitmap[] = [];

  constructor(bitmapBytes: number) {
    this.#bitmapBytes = bitmapBytes;
  }

  /** Bits that are set are busy. */
  bitsOf(group: number): DataView {
    const bitmap = this.#groups.get(group);
    return bitmap === undefined ? NO_BITS : bitmap.view;
  }

  add(group: number, bit: number, count: number): void {
    let bitmap = this.#groups.get(group);
    if (bitmap === undefined) {
      bitmap = this.#spare.pop() ?? new BusyBitmap(this.#bitmapBytes);
      this.#groups.set(group, bitmap);
    }
    setBits(bitmap.view, bit, count);
    bitmap.count += count;
  }

  remove(group: number, bit: number, count: number): void {
    const bitmap = this.#groups.get(group);
    if (bitmap === undefined) return;
    clearBits(bitmap.view, bit, count);
    bitmap.count -= count;
    if (bitmap.count > 0) return;
    this.#groups.delete(group);
    if (this.#spare.length < MAX_SPARE_BITMAPS) this.#spare.push(bitmap);
  }
}
