import { ClearRun, clearBits, clearRunStart, findClearRun, nextClear, nextSet, setBits } from './bitmap.ts';
import { allUsed, type BlockBitmaps } from './block-bitmap.ts';
import type { CachedBlock } from './buffer-cache.ts';
import { BusyBlocks } from './busy-blocks.ts';
import { CorruptionError, DeviceError } from './errors.ts';
import type { FreeCounts } from './free-counts.ts';
import { FreeRunIndex, levelOf } from './free-run-index.ts';
import type { Geometry } from './geometry.ts';
import type { GroupDescriptors } from './group-descriptors.ts';
import type { BlockRun } from './write-context.ts';

/** Groups that one search looks at in vain before it is content with the longest run that it has seen. */
const MAX_VAIN_VISITS = 24;
/** A run at the goal is as good as a long one elsewhere when it has this many blocks. */
const GOAL_RUN_BLOCKS = 64;
/** ...or this part of what is wanted. */
const GOAL_RUN_SHARE = 4;
/** Groups for which is remembered where their free blocks begin. */
const MAX_FIRST_FREE = 1024;

/**
 * The free blocks of all groups: finds, takes and gives back runs of them, and keeps bitmap, descriptor and counts
 * in step. A group whose bitmap can't be relied on is left alone.
 */
export class FreeSpace {
  readonly #geometry: Geometry;
  readonly #bitmaps: BlockBitmaps;
  readonly #descriptors: GroupDescriptors;
  readonly #counts: FreeCounts;
  readonly #report: (error: CorruptionError | DeviceError) => void;
  readonly #busy: BusyBlocks;
  readonly #index: FreeRunIndex;
  readonly #badGroups = new Set<number>();
  #unusableBlocks = 0;
  /** No block of the group below this one can be had, for groups in which single blocks were sought lately. */
  readonly #firstFree = new Map<number, number>();
  /** Groups from which the open handle has taken blocks. */
  readonly #takenFrom: number[] = [];
  readonly #run = new ClearRun();
  /** The longest run that the present search has seen. */
  readonly #best = new ClearRun();
  #bestGroup = 0;

  /** `report` is told once of each group that can't be used. */
  constructor(
    geometry: Geometry,
    bitmaps: BlockBitmaps,
    descriptors: GroupDescriptors,
    counts: FreeCounts,
    report: (error: CorruptionError | DeviceError) => void,
  ) {
    this.#geometry = geometry;
    this.#bitmaps = bitmaps;
    this.#descriptors = descriptors;
    this.#counts = counts;
    this.#report = report;
    this.#busy = new BusyBlocks(geometry.blockSize);
    this.#index = new FreeRunIndex(geometry.groupCount, (group) => this.#boundByCount(group));
  }

  /** Free blocks in groups that are left alone. */
  get unusableBlocks(): number {
    return this.#unusableBlocks;
  }

  /**
   * Finds up to `wanted` neighbouring free blocks in the groups below `endGroup`, at `goal` if possible, else in the
   * nearest group behind it that promises a run of that length, else the longest that can be found without looking
   * at too many groups. False: there is none at all; a group in which that was found is not looked at again.
   */
  find(goal: number, wanted: number, endGroup: number, out: BlockRun): boolean {
    const { firstDataBlock, blocksCount } = this.#geometry;
    const start = goal >= firstDataBlock && goal < blocksCount ? goal : firstDataBlock;
    const group = this.#geometry.groupOfBlock(start);
    if (group >= endGroup) return this.find(firstDataBlock, wanted, endGroup, out);
    const bit = start - this.#geometry.groupFirstBlock(group);
    return this.#findAt(group, bit, wanted, out) || this.#findNear(group, bit, wanted, endGroup, out);
  }

  /** Allocates free blocks of one group, within the open handle. They may be set aside for the caller. */
  take(pblk: number, lenBlocks: number): void {
    const group = this.#geometry.groupOfBlock(pblk);
    const block = this.#bitmaps.modify(group);
    setBits(block.view, pblk - this.#geometry.groupFirstBlock(group), lenBlocks);
    this.#descriptors.setFreeClusters(group, this.#descriptors.freeClusters(group) - lenBlocks);
    this.#counts.addClusters(-lenBlocks);
    this.#takenFrom.push(group);
  }

  /**
   * Frees blocks of one group, within the open handle; they are set aside until `giveBack`. False when the group is
   * left alone: the blocks stay lost to it until the file system is checked.
   */
  putBack(pblk: number, lenBlocks: number): boolean {
    const group = this.#geometry.groupOfBlock(pblk);
    if (this.#usable(group) === null) return false;
    const bit = pblk - this.#geometry.groupFirstBlock(group);
    clearBits(this.#bitmaps.modify(group).view, bit, lenBlocks);
    this.#descriptors.setFreeClusters(group, this.#descriptors.freeClusters(group) + lenBlocks);
    this.#counts.addClusters(lenBlocks);
    this.#busy.add(group, bit, lenBlocks);
    return true;
  }

  /** Throws CorruptionError unless the blocks, of one group, are in use. */
  requireUsed(pblk: number, lenBlocks: number): void {
    const group = this.#geometry.groupOfBlock(pblk);
    const block = this.#usable(group);
    if (block === null || allUsed(block, pblk - this.#geometry.groupFirstBlock(group), lenBlocks)) return;
    const finding = `blocks ${pblk}..${pblk + lenBlocks - 1} are to be freed, but not all of them are in use`;
    throw new CorruptionError('block bitmap', finding, { block: block.blockNr });
  }

  /** Keeps free blocks of one group from being found. */
  setAside(pblk: number, lenBlocks: number): void {
    const group = this.#geometry.groupOfBlock(pblk);
    this.#busy.add(group, pblk - this.#geometry.groupFirstBlock(group), lenBlocks);
  }

  /** Blocks that were set aside are about to be taken, or to be in use again as they were. */
  use(pblk: number, lenBlocks: number): void {
    const group = this.#geometry.groupOfBlock(pblk);
    this.#busy.remove(group, pblk - this.#geometry.groupFirstBlock(group), lenBlocks);
  }

  /** Blocks of one group that were set aside can be found again. */
  giveBack(pblk: number, lenBlocks: number): void {
    const group = this.#geometry.groupOfBlock(pblk);
    const bit = pblk - this.#geometry.groupFirstBlock(group);
    this.#busy.remove(group, bit, lenBlocks);
    if (bit < (this.#firstFree.get(group) ?? 0)) this.#firstFree.set(group, bit);
    if (this.#badGroups.has(group)) return;
    const block = this.#bitmaps.peek(group);
    this.#index.raise(
      group,
      block === null ? this.#boundByCount(group) : this.#levelAround(group, block, bit, lenBlocks),
    );
  }

  /** Sets aside free runs of `leastBlocks` or more in [first, end) of one group; appends them as pairs to `runs`. */
  setAsideRuns(group: number, first: number, end: number, leastBlocks: number, runs: number[]): void {
    const block = this.#usable(group);
    if (block === null) return;
    const groupFirst = this.#geometry.groupFirstBlock(group);
    const endBit = end - groupFirst;
    const busy = this.#busy.bitsOf(group);
    const begin = runs.length;
    let bit = nextClear(block.view, busy, first - groupFirst, endBit);
    while (bit < endBit) {
      const runEnd = nextSet(block.view, busy, bit, endBit);
      if (runEnd - bit >= leastBlocks) runs.push(groupFirst + bit, runEnd - bit);
      bit = nextClear(block.view, busy, runEnd, endBit);
    }
    for (let index = begin; index < runs.length; index += 2) this.setAside(runs[index], runs[index + 1]);
  }

  handleEnded(): void {
    this.#takenFrom.length = 0;
  }

  /** What the handle had taken is free again. */
  handleCancelled(): void {
    for (const group of this.#takenFrom) {
      this.#index.raise(group, this.#boundByCount(group));
      this.#firstFree.delete(group);
    }
    this.#takenFrom.length = 0;
  }

  #findAt(group: number, bit: number, wanted: number, out: BlockRun): boolean {
    if (this.#index.bound(group) === 0) return false;
    const block = this.#usable(group);
    if (block === null) return false;
    const size = this.#bitmaps.sizeOf(group);
    const end = nextSet(block.view, this.#busy.bitsOf(group), bit, Math.min(size, bit + wanted));
    const length = end - bit;
    if (length === 0 || (length < GOAL_RUN_BLOCKS && length * GOAL_RUN_SHARE < wanted)) return false;
    this.#answer(group, bit, length, out);
    return true;
  }

  #findNear(goalGroup: number, goalBit: number, wanted: number, endGroup: number, out: BlockRun): boolean {
    const top = levelOf(wanted);
    let vain = 0;
    this.#best.length = 0;
    for (let level = top; level > 0; level--) {
      const enough = level === top ? wanted : 2 ** (level - 1);
      let from = goalGroup;
      let end = endGroup;
      for (;;) {
        const group = this.#index.next(from, end, level);
        if (group < 0) {
          if (end !== endGroup || goalGroup === 0) break;
          from = 0;
          end = goalGroup;
          continue;
        }
        if (this.#findIn(group, group === goalGroup ? goalBit : 0, level, enough, wanted, out)) return true;
        vain++;
        if (vain >= MAX_VAIN_VISITS && this.#best.length > 0) {
          this.#answer(this.#bestGroup, this.#best.start, this.#best.length, out);
          return true;
        }
        from = group + 1;
      }
    }
    return false;
  }

  /** Looks for a run in one group, first behind `fromBit`. If there is none of that level, lowers the group's bound. */
  #findIn(group: number, fromBit: number, level: number, enough: number, wanted: number, out: BlockRun): boolean {
    if (wanted === 1) return this.#findOneIn(group, fromBit, out);
    const block = this.#usable(group);
    if (block === null) return false;
    const busy = this.#busy.bitsOf(group);
    const size = this.#bitmaps.sizeOf(group);
    const run = this.#run;
    let found = findClearRun(block.view, busy, fromBit, size, enough, wanted, run);
    let { start, length } = run;
    if (!found && fromBit > 0) {
      found = findClearRun(block.view, busy, 0, Math.min(size, fromBit + wanted), enough, wanted, run);
      if (run.length > length) ({ start, length } = run);
    }
    if (found || length >= 2 ** (level - 1)) {
      this.#answer(group, start, length, out);
      return true;
    }
    if (length > this.#best.length) {
      this.#best.start = start;
      this.#best.length = length;
      this.#bestGroup = group;
    }
    // Runs of less than two words may have been overlooked when longer ones were sought.
    this.#index.set(group, enough > 63 ? Math.max(levelOf(63), levelOf(length)) : levelOf(length));
    return false;
  }

  /** The same for single blocks, which many seek from the beginning of the group on. */
  #findOneIn(group: number, fromBit: number, out: BlockRun): boolean {
    const block = this.#usable(group);
    if (block === null) return false;
    const busy = this.#busy.bitsOf(group);
    const size = this.#bitmaps.sizeOf(group);
    const firstFree = this.#firstFree.get(group) ?? 0;
    let bit = nextClear(block.view, busy, Math.max(fromBit, firstFree), size);
    if (fromBit <= firstFree) this.#noteFirstFree(group, bit);
    else if (bit === size) bit = nextClear(block.view, busy, firstFree, size);
    if (bit === size) this.#index.set(group, 0);
    else this.#answer(group, bit, 1, out);
    return bit < size;
  }

  #noteFirstFree(group: number, bit: number): void {
    if (this.#firstFree.size >= MAX_FIRST_FREE && !this.#firstFree.has(group)) this.#firstFree.clear();
    this.#firstFree.set(group, bit);
  }

  #answer(group: number, bit: number, length: number, out: BlockRun): void {
    out.pblk = this.#geometry.groupFirstBlock(group) + bit;
    out.lenBlocks = length;
  }

  #levelAround(group: number, block: CachedBlock, bit: number, lenBlocks: number): number {
    const busy = this.#busy.bitsOf(group);
    const start = clearRunStart(block.view, busy, 0, bit);
    const end = nextSet(block.view, busy, bit + lenBlocks, this.#bitmaps.sizeOf(group));
    return levelOf(end - start);
  }

  #boundByCount(group: number): number {
    if (this.#badGroups.has(group)) return 0;
    try {
      return levelOf(Math.min(this.#descriptors.freeClusters(group), this.#geometry.blocksPerGroup));
    } catch (error) {
      this.#leaveAlone(group, error, 0);
      return 0;
    }
  }

  #usable(group: number): CachedBlock | null {
    if (this.#badGroups.size > 0 && this.#badGroups.has(group)) return null;
    try {
      return this.#bitmaps.get(group);
    } catch (error) {
      this.#leaveAlone(group, error, this.#freeClustersOf(group));
      this.#index.set(group, 0);
      return null;
    }
  }

  #freeClustersOf(group: number): number {
    try {
      return this.#descriptors.freeClusters(group);
    } catch (error) {
      if (error instanceof CorruptionError || error instanceof DeviceError) return 0;
      throw error;
    }
  }

  /** What could not be read is no reason to give the group up: perhaps it can be, the next time. */
  #leaveAlone(group: number, error: unknown, freeBlocks: number): void {
    if (!(error instanceof CorruptionError)) throw error;
    this.#badGroups.add(group);
    this.#unusableBlocks += freeBlocks;
    this.#report(error);
  }
}
