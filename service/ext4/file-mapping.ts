import { requirePossibleSize } from './file-size.ts';
import { inHandles } from './handle-budget.ts';
import { expandInlineFile } from './inline-expand.ts';
import type { Inode } from './inode.ts';
import { atomically } from './journal/atomically.ts';
import { InodeFlag } from './layout/inode.ts';
import { allocateBlocks, hasExtents, maxSizeBytes, removeBlocks } from './map-write.ts';
import { type Mapping, MappingType } from './mapping.ts';
import { finishSome } from './planned-write.ts';
import type { SpaceAwaiting } from './space-awaiting.ts';
import { zeroUncached } from './uncached-write.ts';
import type { WriteContext } from './write-context.ts';

/** Files up to this size get no more than they are given data for: most never grow again. */
const SMALL_FILE_BYTES = 64 * 1024;
/** The most that is allocated ahead of an append: as much as the file has already, up to this. */
const AHEAD_BYTES_MAX = 32 * 2 ** 20;
/** No more is allocated ahead than this part of the blocks that can be had. */
const SCARCE = 32;
/** Blocks of a block map must be zeroed before anybody gets them. */
const MAPPED_BYTES_MAX = 2 ** 20;

interface FreeBlocks {
  /** How many can be had. */
  readonly spareBlocks: number;
}

/** Blocks behind the end of a file, which nobody else has asked for: file blocks [first, end). */
interface Surplus {
  first: number;
  end: number;
}

/**
 * Files whose data somebody else moves to and from the device: says where it is or shall go, and makes it part of the
 * file when it is there. Blocks are allocated ahead of appends, and given back when the file is closed.
 */
export class FileMapping {
  readonly #ctx: WriteContext;
  readonly #blocks: FreeBlocks;
  readonly #space: SpaceAwaiting;
  /** By inode. */
  readonly #surplus = new Map<number, Surplus>();

  constructor(ctx: WriteContext, blocks: FreeBlocks, space: SpaceAwaiting) {
    this.#ctx = ctx;
    this.#blocks = blocks;
    this.#space = space;
  }

  /**
   * Where data for the bytes [offset, offset + length) goes: tells in `out` about the blocks from the one of `offset`
   * on, after it has allocated some in a hole, perhaps fewer than for the whole length. Those are unwritten, or full of
   * zeros in files with block pointers. An inline file gets a block.
   */
  provide(inode: Inode, offset: number, length: number, allocatesAhead: boolean, out: Mapping): void {
    const ctx = this.#ctx;
    requirePossibleSize(ctx, inode, offset + 1);
    if (inode.hasFlag(InodeFlag.INLINE_DATA)) {
      this.#space.retry(() => atomically(ctx.handle, () => expandInlineFile(ctx, inode)));
    }
    const lblk = Math.floor(offset / ctx.blockSize);
    ctx.mapBlocks(inode, lblk, out);
    if (out.type !== MappingType.HOLE) return;
    const end = Math.min(offset + length, maxSizeBytes(ctx, inode));
    const holeBlocks = out.lblk + out.lenBlocks - lblk;
    const neededBlocks = Math.min(Math.ceil(end / ctx.blockSize) - lblk, holeBlocks);
    const ahead = allocatesAhead ? this.#aheadBlocks(inode, lblk + neededBlocks) : 0;
    const wantBlocks = Math.min(neededBlocks + ahead, holeBlocks);
    this.#space.retry(() => this.#fill(inode, lblk, wantBlocks, out));
    // What was allocated may continue what was there.
    ctx.mapBlocks(inode, lblk, out);
  }

  /**
   * The data of [offset, offset + length) is on the device, or in its cache: it becomes part of the file. `converts`:
   * some of it is in unwritten blocks. `grows`: the file reaches as far as that at least. Finds space in any case.
   */
  finish(inode: Inode, offset: number, length: number, converts: boolean, grows: boolean): void {
    const ctx = this.#ctx;
    const end = offset + length;
    const endBlock = Math.ceil(end / ctx.blockSize);
    let from = converts ? Math.floor(offset / ctx.blockSize) : endBlock;
    this.#space.retry(() =>
      inHandles(ctx, () => {
        from = finishSome(ctx, inode, from, end, grows);
        if (grows) this.#noteGrowth(inode);
        return from >= endBlock;
      }),
    );
  }

  /** First block of what was allocated ahead and can be given back now; -1 when there is nothing. */
  surplusBlock(inode: Inode): number {
    const surplus = this.#surplus.get(inode.ino);
    if (surplus === undefined) return -1;
    const first = Math.max(surplus.first, this.#endBlock(inode));
    return first < surplus.end ? first : -1;
  }

  /** Nobody writes to the file any more. */
  giveBackSurplus(inode: Inode): void {
    const ctx = this.#ctx;
    const first = this.surplusBlock(inode);
    const end = this.#surplus.get(inode.ino)?.end ?? 0;
    this.#surplus.delete(inode.ino);
    if (first < 0 || inode.linksCount === 0) return;
    inHandles(ctx, () => {
      if (!removeBlocks(ctx, inode, first, end, false)) return false;
      this.#leaveOrphans(inode);
      return true;
    });
  }

  /** Inodes with a surplus. */
  get withSurplus(): readonly number[] {
    return [...this.#surplus.keys()];
  }

  /** The file has got a new size by truncation; it was `oldBytes` before. */
  resized(inode: Inode, oldBytes: number): void {
    const surplus = this.#surplus.get(inode.ino);
    // Shorter files lose all blocks behind their end.
    if (surplus === undefined || (inode.sizeBytes > oldBytes && surplus.end > this.#endBlock(inode))) return;
    this.#surplus.delete(inode.ino);
    atomically(this.#ctx.handle, () => this.#leaveOrphans(inode));
  }

  /** Blocks behind the end of the file were asked for, and stay. */
  keepSurplus(inode: Inode): void {
    if (hasExtents(inode)) this.#surplus.delete(inode.ino);
  }

  /** The inode is gone. */
  forget(ino: number): void {
    this.#surplus.delete(ino);
  }

  #fill(inode: Inode, lblk: number, wantBlocks: number, out: Mapping): void {
    const ctx = this.#ctx;
    atomically(ctx.handle, () => {
      const want = hasExtents(inode) ? wantBlocks : Math.min(wantBlocks, Math.ceil(MAPPED_BYTES_MAX / ctx.blockSize));
      allocateBlocks(ctx, inode, lblk, want, MappingType.UNWRITTEN, out);
      if (hasExtents(inode)) return;
      zeroUncached(ctx, out.pblk * ctx.blockSize, out.lenBlocks * ctx.blockSize);
      // Written blocks behind the end of a file are an error, unless a crash has them truncated.
      if (out.lblk + out.lenBlocks > this.#endBlock(inode)) ctx.orphans.add(inode);
    });
    this.#noteSurplus(inode, out.lblk, out.lblk + out.lenBlocks);
  }

  #noteSurplus(inode: Inode, first: number, end: number): void {
    if (end <= this.#endBlock(inode)) return;
    const surplus = this.#surplus.get(inode.ino);
    if (surplus === undefined) {
      this.#surplus.set(inode.ino, { first, end });
    } else {
      surplus.first = Math.min(surplus.first, first);
      surplus.end = Math.max(surplus.end, end);
    }
  }

  /** Within the handle that has made the file longer. */
  #noteGrowth(inode: Inode): void {
    const surplus = this.#surplus.get(inode.ino);
    if (surplus === undefined || hasExtents(inode) || surplus.end > this.#endBlock(inode)) return;
    this.#leaveOrphans(inode);
  }

  /** A file without a name stays among them. */
  #leaveOrphans(inode: Inode): void {
    if (!hasExtents(inode) && inode.linksCount > 0) this.#ctx.orphans.remove(inode);
  }

  #aheadBlocks(inode: Inode, endBlock: number): number {
    const { blockSize } = this.#ctx;
    const endBytes = endBlock * blockSize;
    if (!hasExtents(inode) || endBytes <= SMALL_FILE_BYTES || endBytes < inode.sizeBytes) return 0;
    const most = Math.floor(Math.max(0, this.#blocks.spareBlocks) / SCARCE);
    return Math.min(Math.floor(Math.min(endBytes, AHEAD_BYTES_MAX) / blockSize), most);
  }

  #endBlock(inode: Inode): number {
    return Math.ceil(inode.sizeBytes / this.#ctx.blockSize);
  }
}
