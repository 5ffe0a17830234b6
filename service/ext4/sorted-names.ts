/**
 * The entries of a few directory blocks in hash order. Columns of numbers that grow when they must and
 * are used again and again: a listing makes no garbage.
 */

/** More names than this with one and the same 31-bit hash are no accident. Also keeps ordinals within 16 bits. */
export const MAX_NAMES = 65_000;

const FIRST_CAPACITY = 512;

export class SortedNames {
  count = 0;
  /** Indexes of the columns below, in hash order once `sort` has run. */
  order = new Uint32Array(FIRST_CAPACITY);
  major = new Uint32Array(FIRST_CAPACITY);
  minor = new Uint32Array(FIRST_CAPACITY);
  /** Which of the gathered blocks, and the entry's offset in it. */
  block = new Uint32Array(FIRST_CAPACITY);
  offset = new Uint32Array(FIRST_CAPACITY);
  #scratch = new Uint32Array(FIRST_CAPACITY);

  clear(): void {
    this.count = 0;
  }

  /** False when there is no room for one more. */
  add(major: number, minor: number, block: number, offset: number): boolean {
    const index = this.count;
    if (index === MAX_NAMES) return false;
    if (index === this.major.length) this.#grow();
    this.major[index] = major;
    this.minor[index] = minor;
    this.block[index] = block;
    this.offset[index] = offset;
    this.count = index + 1;
    return true;
  }

  /** Sorts by hash; equal hashes stay in the order in which they were added. Bottom-up merge sort. */
  sort(): void {
    for (let index = 0; index < this.count; index++) this.order[index] = index;
    for (let width = 1; width < this.count; width *= 2) {
      for (let start = 0; start < this.count; start += 2 * width) this.#merge(start, width);
      const merged = this.#scratch;
      this.#scratch = this.order;
      this.order = merged;
    }
  }

  #merge(start: number, width: number): void {
    const { order, count } = this;
    const into = this.#scratch;
    const middle = Math.min(start + width, count);
    const end = Math.min(middle + width, count);
    let left = start;
    let right = middle;
    for (let at = start; at < end; at++) {
      const takeLeft = left < middle && (right >= end || !this.#isBefore(order[right], order[left]));
      into[at] = takeLeft ? order[left++] : order[right++];
    }
  }

  #isBefore(a: number, b: number): boolean {
    const { major, minor } = this;
    return major[a] < major[b] || (major[a] === major[b] && minor[a] < minor[b]);
  }

  #grow(): void {
    const capacity = this.major.length * 2;
    this.major = grown(this.major, capacity);
    this.minor = grown(this.minor, capacity);
    this.block = grown(this.block, capacity);
    this.offset = grown(this.offset, capacity);
    this.order = new Uint32Array(capacity);
    this.#scratch = new Uint32Array(capacity);
  }
}

function grown(column: Uint32Array<ArrayBuffer>, capacity: number): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(capacity);
  larger.set(column);
  return larger;
}
