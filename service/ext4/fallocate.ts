import { Errno } from '../../shared/errno.ts';
import { FsError } from './errors.ts';
import { collapseRange, insertRange } from './fallocate-shift.ts';
import { requirePossibleSize, setFileSize } from './file-size.ts';
import { touchWritten } from './file-times.ts';
import { isOutOfSpace } from './file-write.ts';
import { handleIsFull, inHandles } from './handle-budget.ts';
import { expandInlineFile } from './inline-expand.ts';
import type { Inode } from './inode.ts';
import { atomically } from './journal/atomically.ts';
import { InodeFlag } from './layout/inode.ts';
import { allocateBlocks, convertSome, hasExtents, removeBlocks } from './map-write.ts';
import { Mapping, MappingType } from './mapping.ts';
import type { WriteContext } from './write-context.ts';
import { zeroBehindEnd, zeroInBlock } from './zero-fill.ts';

/** Bits of fallocate(2)'s mode. */
export const FallocateMode = Object.freeze({
  KEEP_SIZE: 0x1,
  PUNCH_HOLE: 0x2,
  COLLAPSE_RANGE: 0x8,
  ZERO_RANGE: 0x10,
  INSERT_RANGE: 0x20,
});

const M = FallocateMode;
const mapping = new Mapping();

/**
 * fallocate(2), in as many handles as it takes: a crash leaves part of it done. When space runs out, FsError ENOSPC,
 * what was allocated stays, and the size is that of it.
 */
export function fallocate(ctx: WriteContext, inode: Inode, mode: number, offset: number, length: number): void {
  if (!inode.isRegular) throw new FsError(Errno.ENODEV, `inode ${inode.ino} is no regular file`);
  if (!(offset >= 0 && length > 0)) throw new FsError(Errno.EINVAL, `range ${offset}, ${length} is impossible`);
  requirePossibleSize(ctx, inode, offset + length);
  if (inode.hasFlag(InodeFlag.INLINE_DATA)) atomically(ctx.handle, () => expandInlineFile(ctx, inode));
  if (!hasExtents(inode) && mode !== (M.PUNCH_HOLE | M.KEEP_SIZE)) {
    throw new FsError(Errno.EOPNOTSUPP, `inode ${inode.ino} has block pointers, not extents`);
  }
  const end = offset + length;
  if (mode === (M.PUNCH_HOLE | M.KEEP_SIZE)) punchHole(ctx, inode, offset, end);
  else if (mode === M.COLLAPSE_RANGE) collapseRange(ctx, inode, offset, length);
  else if (mode === M.INSERT_RANGE) insertRange(ctx, inode, offset, length);
  else if ((mode & ~(M.ZERO_RANGE | M.KEEP_SIZE)) === 0) fillRange(ctx, inode, mode, offset, end);
  else throw new FsError(Errno.EOPNOTSUPP, `fallocate mode 0x${mode.toString(16)}`);
}

function fillRange(ctx: WriteContext, inode: Inode, mode: number, offset: number, end: number): void {
  const keepSize = (mode & M.KEEP_SIZE) !== 0;
  if ((mode & M.ZERO_RANGE) === 0) fillWithUnwritten(ctx, inode, offset, end, keepSize);
  else zeroRange(ctx, inode, offset, end, keepSize);
}

/** Allocates unwritten blocks for all holes of the bytes [offset, end). */
function fillWithUnwritten(ctx: WriteContext, inode: Inode, offset: number, end: number, keepSize: boolean): void {
  const endBlock = Math.ceil(end / ctx.blockSize);
  let lblk = Math.floor(offset / ctx.blockSize);
  let oneByOne = false;
  while (lblk < endBlock) {
    try {
      inHandles(ctx, () => {
        const reached = fillSome(ctx, inode, lblk, endBlock, oneByOne);
        const reachedBytes = Math.min(end, reached * ctx.blockSize);
        if (!keepSize && reachedBytes > inode.sizeBytes) grow(ctx, inode, reachedBytes);
        touchWritten(ctx, inode);
        lblk = reached;
        return lblk >= endBlock;
      });
    } catch (error) {
      if (!isOutOfSpace(error) || oneByOne) throw error;
      oneByOne = true;
    }
  }
}

/** Returns the block up to which nothing is a hole any more. */
function fillSome(ctx: WriteContext, inode: Inode, from: number, end: number, oneRun: boolean): number {
  let lblk = from;
  do {
    ctx.mapBlocks(inode, lblk, mapping);
    if (mapping.type === MappingType.HOLE) {
      const holeEnd = Math.min(end, mapping.lblk + mapping.lenBlocks);
      allocateBlocks(ctx, inode, lblk, holeEnd - lblk, MappingType.UNWRITTEN, mapping);
    }
    lblk = Math.min(end, mapping.lblk + mapping.lenBlocks);
  } while (lblk < end && !oneRun && !handleIsFull(ctx));
  return lblk;
}

function grow(ctx: WriteContext, inode: Inode, sizeBytes: number): void {
  zeroBehindEnd(ctx, inode, sizeBytes);
  setFileSize(ctx, inode, sizeBytes);
}

/** Holes that reach beyond the file's end go on to the end of its last page. */
const PAGE_BYTES = 4096;

/** Blocks entirely inside become holes, the rest becomes zeros. */
function punchHole(ctx: WriteContext, inode: Inode, offset: number, wantedEnd: number): void {
  const { blockSize } = ctx;
  if (offset >= inode.sizeBytes) {
    atomically(ctx.handle, () => touchWritten(ctx, inode));
    return;
  }
  const unit = Math.max(blockSize, PAGE_BYTES);
  const end = wantedEnd > inode.sizeBytes ? Math.ceil(inode.sizeBytes / unit) * unit : wantedEnd;
  const firstBlock = Math.ceil(offset / blockSize);
  const endBlock = Math.floor(end / blockSize);
  ctx.blocks.discardReservation(inode.ino);
  zeroEdges(ctx, inode, offset, end);
  inHandles(ctx, () => {
    touchWritten(ctx, inode);
    return removeBlocks(ctx, inode, firstBlock, endBlock, false);
  });
}

/** Blocks entirely inside become unwritten, holes too; the rest becomes zeros. */
function zeroRange(ctx: WriteContext, inode: Inode, offset: number, end: number, keepSize: boolean): void {
  const { blockSize } = ctx;
  const endBlock = Math.floor(end / blockSize);
  zeroEdges(ctx, inode, offset, end);
  let lblk = Math.ceil(offset / blockSize);
  inHandles(ctx, () => {
    touchWritten(ctx, inode);
    lblk = convertSome(ctx, inode, lblk, endBlock, true);
    return lblk >= endBlock;
  });
  fillWithUnwritten(ctx, inode, offset, end, keepSize);
}

/**
 * Zeroes on the device what of the bytes [offset, end) is in blocks that are not entirely inside. Changes no metadata,
 * and yet only where a handle can be had, for after an abort no data is written either.
 */
function zeroEdges(ctx: WriteContext, inode: Inode, offset: number, end: number): void {
  const { blockSize } = ctx;
  const firstWhole = Math.ceil(offset / blockSize) * blockSize;
  const endWhole = Math.floor(end / blockSize) * blockSize;
  atomically(ctx.handle, () => {
    if (firstWhole > offset) zeroInBlock(ctx, inode, offset, Math.min(end, firstWhole));
    if (end > endWhole && endWhole >= firstWhole) zeroInBlock(ctx, inode, endWhole, end);
  });
}
