import { putU32le, u32le, viewOf } from '../../shared/bytes.ts';

/**
 * Bits of a bitmap as the format has them: bit n is bit n % 8 of byte n / 8, which makes it bit n % 32 of
 * little-endian word n / 32. Searches take two bitmaps, where a bit set in either counts as used: what is in use on
 * disk, and what is not to be had for another reason (`NO_BITS` when there is none).
 */

/** As many zero bits as the largest bitmap has. */
export const NO_BITS = viewOf(new Uint8Array(65536));

/** Bits [from, end) of a word, where both lie in one word and `end` may be 32 bits further than its start. */
const maskOf = (from: number, end: number): number => (-1 << (from & 31)) & (-1 >>> (31 - ((end - 1) & 31)));

const lowestBit = (word: number): number => 31 - Math.clz32(word & -word);

/** First bit in [from, end) that is clear in both, or `end`. */
export function nextClear(bits: DataView, others: DataView, from: number, end: number): number {
  if (from >= end) return end;
  const lastAt = ((end - 1) >>> 5) << 2;
  let at = (from >>> 5) << 2;
  let clear = ~(u32le(bits, at) | u32le(others, at)) & (-1 << (from & 31));
  while (clear === 0) {
    at += 4;
    if (at > lastAt) return end;
    clear = ~(u32le(bits, at) | u32le(others, at));
  }
  return Math.min(end, (at << 3) + lowestBit(clear));
}

/** First bit in [from, end) that is set in either, or `end`. */
export function nextSet(bits: DataView, others: DataView, from: number, end: number): number {
  if (from >= end) return end;
  const lastAt = ((end - 1) >>> 5) << 2;
  let at = (from >>> 5) << 2;
  let set = (u32le(bits, at) | u32le(others, at)) & (-1 << (from & 31));
  while (set === 0) {
    at += 4;
    if (at > lastAt) return end;
    set = u32le(bits, at) | u32le(others, at);
  }
  return Math.min(end, (at << 3) + lowestBit(set));
}

/** Where the clear bits just before `end` begin: behind the last bit below `end` that is set in either, or `floor`. */
export function clearRunStart(bits: DataView, others: DataView, floor: number, end: number): number {
  if (end <= floor) return end;
  const firstAt = (floor >>> 5) << 2;
  let at = ((end - 1) >>> 5) << 2;
  let set = (u32le(bits, at) | u32le(others, at)) & (-1 >>> (31 - ((end - 1) & 31)));
  while (set === 0) {
    at -= 4;
    if (at < firstAt) return floor;
    set = u32le(bits, at) | u32le(others, at);
  }
  return Math.max(floor, (at << 3) + 32 - Math.clz32(set));
}

/** First word from `from` on that is clear in both, as the number of its first bit; at or behind `end` if none is. */
function nextClearWord(bits: DataView, others: DataView, from: number, end: number): number {
  let at = ((from + 31) >>> 5) << 2;
  const endAt = (end >>> 5) << 2;
  while (at < endAt && (u32le(bits, at) | u32le(others, at)) !== 0) at += 4;
  return at < endAt ? at << 3 : end;
}

/** A run of clear bits. Reused by callers. */
export class ClearRun {
  start = 0;
  length = 0;
}

/** Runs of at least this many bits contain a whole word. */
const WHOLE_WORD_RUN = 63;

/**
 * First run of at least `enough` clear bits in [from, end), cut to `wanted`. When there is none: returns false, with
 * the longest run in `out`. For `enough` over 63 runs of up to 63 bits may be overlooked.
 */
export function findClearRun(
  bits: DataView,
  others: DataView,
  from: number,
  end: number,
  enough: number,
  wanted: number,
  out: ClearRun,
): boolean {
  out.length = 0;
  const byWords = enough > WHOLE_WORD_RUN;
  let start = nextClear(bits, others, from, end);
  while (start < end) {
    const runEnd = nextSet(bits, others, start, Math.min(end, start + wanted));
    if (runEnd - start > out.length) {
      out.start = start;
      out.length = runEnd - start;
      if (out.length >= enough) return true;
    }
    if (byWords) {
      const word = nextClearWord(bits, others, runEnd, end);
      start =
        word < end
          ? clearRunStart(bits, others, runEnd, word)
          : nextClear(bits, others, Math.max(runEnd, end - WHOLE_WORD_RUN), end);
    } else {
      start = nextClear(bits, others, runEnd, end);
    }
  }
  return false;
}

export function setBits(bits: DataView, from: number, count: number): void {
  const end = from + count;
  for (let bit = from; bit < end; ) {
    const next = Math.min(end, (bit | 31) + 1);
    const at = (bit >>> 5) << 2;
    putU32le(bits, at, u32le(bits, at) | maskOf(bit, next));
    bit = next;
  }
}

export function clearBits(bits: DataView, from: number, count: number): void {
  const end = from + count;
  for (let bit = from; bit < end; ) {
    const next = Math.min(end, (bit | 31) + 1);
    const at = (bit >>> 5) << 2;
    putU32le(bits, at, u32le(bits, at) & ~maskOf(bit, next));
    bit = next;
  }
}

/** How many of the bits [0, end) are clear. */
export function countClear(bits: DataView, end: number): number {
  let set = 0;
  const words = end >>> 5;
  for (let index = 0; index < words; index++) set += popcount(u32le(bits, index << 2));
  if ((end & 31) !== 0) set += popcount(u32le(bits, words << 2) & maskOf(0, end));
  return end - set;
}

function popcount(word: number): number {
  let sums = word - ((word >>> 1) & 0x55555555);
  sums = (sums & 0x33333333) + ((sums >>> 2) & 0x33333333);
  return Math.imul((sums + (sums >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
