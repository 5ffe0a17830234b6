/** Taking a range out of the middle of a file, and putting one in, by moving the extents behind it. */
import { Errno } from '../../shared/errno.ts';
import { FsError } from './errors.ts';
import { mappedEnd, shiftLeft, shiftRight, splitExtentAt } from './extent-shift.ts';
import { requirePossibleSize, setFileSize } from './file-size.ts';
import { touchWritten } from './file-times.ts';
import { inHandles } from './handle-budget.ts';
import type { Inode } from './inode.ts';
import { atomically } from './journal/atomically.ts';
import { EXTENT_LBLK_END } from './layout/extent.ts';
import { removeBlocks } from './map-write.ts';
import type { WriteContext } from './write-context.ts';

/** Removes bytes; what is behind them moves up. Whole blocks only, and not to the end, which is truncate's. */
export function collapseRange(ctx: WriteContext, inode: Inode, offset: number, length: number): void {
  requireWholeBlocks(ctx, offset, length);
  if (offset + length >= inode.sizeBytes) throw invalid(`range ${offset}, ${length} reaches the end of the file`);
  const first = offset / ctx.blockSize;
  const delta = length / ctx.blockSize;
  let next = first + delta;
  let isHole = false;
  ctx.blocks.discardReservation(inode.ino);
  inHandles(ctx, () => {
    touchWritten(ctx, inode);
    if (!isHole) isHole = removeBlocks(ctx, inode, first, first + delta, false);
    if (!isHole) return false;
    next = shiftLeft(ctx, inode, next, delta);
    if (next < EXTENT_LBLK_END) return false;
    setFileSize(ctx, inode, inode.sizeBytes - length);
    return true;
  });
}

/** Puts a hole before the byte at `offset`; what is behind it moves on. Whole blocks only, and not at the end. */
export function insertRange(ctx: WriteContext, inode: Inode, offset: number, length: number): void {
  requireWholeBlocks(ctx, offset, length);
  if (offset >= inode.sizeBytes) throw invalid(`offset ${offset} is not inside the file`);
  requirePossibleSize(ctx, inode, inode.sizeBytes + length);
  const first = offset / ctx.blockSize;
  const delta = length / ctx.blockSize;
  if (mappedEnd(ctx, inode) + delta > EXTENT_LBLK_END)
    throw invalid('blocks behind the end of the file are in the way');
  ctx.blocks.discardReservation(inode.ino);
  // First the size, so that at no time blocks with data are behind it.
  atomically(ctx.handle, () => {
    touchWritten(ctx, inode);
    setFileSize(ctx, inode, inode.sizeBytes + length);
    splitExtentAt(ctx, inode, first);
  });
  let end = EXTENT_LBLK_END;
  inHandles(ctx, () => {
    end = shiftRight(ctx, inode, first, end, delta);
    return end <= first;
  });
}

function requireWholeBlocks(ctx: WriteContext, offset: number, length: number): void {
  if (offset % ctx.blockSize !== 0 || length % ctx.blockSize !== 0) throw invalid('the range is not of whole blocks');
}

const invalid = (why: string): FsError => new FsError(Errno.EINVAL, why);
