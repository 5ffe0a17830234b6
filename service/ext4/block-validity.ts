import { CorruptionError, DeviceError } from './errors.ts';
import type { Geometry } from './geometry.ts';
import type { GroupDescriptors } from './group-descriptors.ts';

/** Groups whose system blocks are looked up together when flex_bg does not say how they are packed. */
const DEFAULT_SPAN_GROUPS = 16;
/**
 * Larger flexible groups are looked at in pieces of this many groups: bitmaps and tables that lie in
 * another piece than their group are then not seen.
 */
const MAX_SPAN_GROUPS = 4096;
/** Remembered ranges over all spans, about 16 bytes each. */
const MAX_REMEMBERED_RANGES = 65536;

/** Sorted, disjoint [start, end) pairs, flattened. */
type Ranges = Float64Array;

/**
 * Knows which blocks hold superblocks, descriptors, bitmaps and inode tables, so that no file can
 * claim them. The knowledge is gathered for one flexible group at a time, when a block in it is asked
 * about, and forgotten again when it grows beyond a bound.
 */
export class BlockValidity {
  readonly #geometry: Geometry;
  readonly #descriptors: GroupDescriptors;
  readonly #spanGroups: number;
  readonly #spans = new Map<number, Ranges>();
  #rememberedRanges = 0;
  #lastSpan = -1;
  #lastRanges: Ranges = new Float64Array(0);

  constructor(geometry: Geometry, descriptors: GroupDescriptors) {
    this.#geometry = geometry;
    this.#descriptors = descriptors;
    const wanted = geometry.groupsPerFlex > 1 ? geometry.groupsPerFlex : DEFAULT_SPAN_GROUPS;
    this.#spanGroups = Math.min(wanted, MAX_SPAN_GROUPS);
  }

  /** Throws CorruptionError unless all blocks of the run can belong to a file. */
  check(pblk: number, lenBlocks: number, structure: string, ino: number): void {
    const geometry = this.#geometry;
    const end = pblk + lenBlocks;
    if (pblk <= geometry.firstDataBlock || end > geometry.blocksCount) {
      const finding = `blocks ${pblk}..${end - 1} are outside the file system's ${geometry.blocksCount} blocks`;
      throw new CorruptionError(structure, finding, { inode: ino });
    }
    const firstSpan = Math.floor(geometry.groupOfBlock(pblk) / this.#spanGroups);
    const lastSpan = Math.floor(geometry.groupOfBlock(end - 1) / this.#spanGroups);
    for (let span = firstSpan; span <= lastSpan; span++) {
      if (!overlaps(span === this.#lastSpan ? this.#lastRanges : this.#rangesOf(span), pblk, end)) continue;
      const finding = `blocks ${pblk}..${end - 1} overlap superblock, descriptors, bitmaps or inode tables`;
      throw new CorruptionError(structure, finding, { inode: ino, block: pblk });
    }
  }

  /** Blocks in [first, end) that hold the file system's own structures, as pairs [start, end), flattened. */
  systemRangesWithin(first: number, end: number): number[] {
    const geometry = this.#geometry;
    const firstSpan = Math.floor(geometry.groupOfBlock(first) / this.#spanGroups);
    const lastSpan = Math.floor(geometry.groupOfBlock(end - 1) / this.#spanGroups);
    const within: number[] = [];
    for (let span = firstSpan; span <= lastSpan; span++) {
      const ranges = this.#rangesOf(span);
      for (let index = 0; index < ranges.length; index += 2) {
        const start = Math.max(first, ranges[index]);
        const stop = Math.min(end, ranges[index + 1]);
        if (start < stop) within.push(start, stop);
      }
    }
    return within;
  }

  #rangesOf(span: number): Ranges {
    let ranges = this.#spans.get(span);
    if (ranges === undefined) {
      ranges = this.#gather(span);
      this.#remember(span, ranges);
    }
    this.#lastSpan = span;
    this.#lastRanges = ranges;
    return ranges;
  }

  #remember(span: number, ranges: Ranges): void {
    this.#rememberedRanges += ranges.length / 2;
    for (const [oldest, forgotten] of this.#spans) {
      if (this.#rememberedRanges <= MAX_REMEMBERED_RANGES) break;
      this.#spans.delete(oldest);
      this.#rememberedRanges -= forgotten.length / 2;
    }
    this.#spans.set(span, ranges);
  }

  #gather(span: number): Ranges {
    const geometry = this.#geometry;
    const descriptors = this.#descriptors;
    const first = span * this.#spanGroups;
    const end = Math.min(first + this.#spanGroups, geometry.groupCount);
    const ranges: [number, number][] = [];
    for (let group = first; group < end; group++) {
      const head = geometry.groupFirstBlock(group);
      ranges.push([head, head + geometry.groupHeadBlocks(group)]);
      try {
        const table = descriptors.inodeTable(group);
        ranges.push([table, table + geometry.inodeTableBlocks]);
        const blockBitmap = descriptors.blockBitmap(group);
        ranges.push([blockBitmap, blockBitmap + 1]);
        const inodeBitmap = descriptors.inodeBitmap(group);
        ranges.push([inodeBitmap, inodeBitmap + 1]);
      } catch (error) {
        // Files elsewhere stay readable when a descriptor is lost; its own inodes are refused when asked for.
        if (!(error instanceof CorruptionError || error instanceof DeviceError)) throw error;
      }
    }
    return merge(ranges);
  }
}

function merge(ranges: [number, number][]): Ranges {
  ranges.sort((a, b) => a[0] - b[0]);
  const merged: number[] = [];
  for (const [start, end] of ranges) {
    if (start === end) continue;
    const last = merged.length - 1;
    if (last > 0 && start <= merged[last]) merged[last] = Math.max(merged[last], end);
    else merged.push(start, end);
  }
  return Float64Array.from(merged);
}

/** True when a range meets [start, end): the first one that ends behind `start` begins before `end`. */
function overlaps(ranges: Ranges, start: number, end: number): boolean {
  let low = 0;
  let high = ranges.length >>> 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ranges[2 * middle + 1] <= start) low = middle + 1;
    else high = middle;
  }
  return 2 * low < ranges.length && ranges[2 * low] < end;
}
