import { requirePossibleSize, setFileSize } from './file-size.ts';
import { touchWritten } from './file-times.ts';
import { inHandles } from './handle-budget.ts';
import { readInlineData } from './inline-data.ts';
import { inlineCapacityBytes, writeInlineData } from './inline-data-write.ts';
import { expandInlineFile } from './inline-expand.ts';
import type { Inode } from './inode.ts';
import { atomically } from './journal/atomically.ts';
import { InodeFlag } from './layout/inode.ts';
import { removeBlocks } from './map-write.ts';
import { isFastSymlink } from './symlink.ts';
import type { WriteContext } from './write-context.ts';
import { zeroBehindEnd, zeroInBlock } from './zero-fill.ts';

/** Behind every file block. */
const ALL_BLOCKS = Number.MAX_SAFE_INTEGER;

/**
 * Gives a regular file a new size, in handles of its own. Growing makes a hole. Otherwise blocks behind the new end
 * are given back, also when the size stays: fallocate may have put them there. While that takes more than one handle
 * the inode is among the orphans, and a crash leaves the rest to `finishTruncate`.
 */
export function truncate(ctx: WriteContext, inode: Inode, sizeBytes: number): void {
  requirePossibleSize(ctx, inode, sizeBytes);
  const isDone = atomically(ctx.handle, () => {
    touchWritten(ctx, inode);
    if (inode.hasFlag(InodeFlag.INLINE_DATA) && truncateInline(ctx, inode, sizeBytes)) return true;
    if (sizeBytes > inode.sizeBytes) {
      zeroBehindEnd(ctx, inode, sizeBytes);
      setFileSize(ctx, inode, sizeBytes);
      return true;
    }
    return shorten(ctx, inode, sizeBytes);
  });
  if (!isDone) removeRest(ctx, inode);
}

/** True when nothing remains to be done in other handles. */
function shorten(ctx: WriteContext, inode: Inode, sizeBytes: number): boolean {
  ctx.blocks.discardReservation(inode.ino);
  setFileSize(ctx, inode, sizeBytes);
  const isDone = removeBehindEnd(ctx, inode);
  if (!isDone && !ctx.orphans.has(inode.ino)) ctx.orphans.add(inode);
  // Last, for this alone can't be undone.
  zeroRestOfLastBlock(ctx, inode);
  return isDone;
}

/** Goes on with a truncation that a crash has interrupted; takes the inode off the orphans. */
export function finishTruncate(ctx: WriteContext, inode: Inode): void {
  if (inode.hasFlag(InodeFlag.INLINE_DATA) || !inode.isRegular) {
    atomically(ctx.handle, () => ctx.orphans.remove(inode));
    return;
  }
  zeroRestOfLastBlock(ctx, inode);
  removeRest(ctx, inode);
}

/**
 * Gives back all blocks of the data of an inode of any type that has no name any more, in handles of its own. The
 * inode is, and stays, among the orphans.
 */
export function releaseAllBlocks(ctx: WriteContext, inode: Inode): void {
  ctx.blocks.discardReservation(inode.ino);
  if (!hasBlockMap(ctx, inode)) return;
  inHandles(ctx, () => {
    if (!inode.isSymlink && inode.sizeBytes !== 0) setFileSize(ctx, inode, 0);
    return removeBlocks(ctx, inode, 0, ALL_BLOCKS, !holdsFileData(inode));
  });
}

/** False when i_block holds something else than a map. */
function hasBlockMap(ctx: WriteContext, inode: Inode): boolean {
  if (inode.hasFlag(InodeFlag.INLINE_DATA)) return false;
  if (inode.isSymlink) return !isFastSymlink(ctx, inode);
  return inode.isRegular || inode.isDirectory;
}

/** Data of regular files doesn't go through the journal; values of extended attributes do. */
const holdsFileData = (inode: Inode): boolean => inode.isRegular && !inode.hasFlag(InodeFlag.EA_INODE);

/** Returns false when the data doesn't fit into the inode any more; it is in a block then. */
function truncateInline(ctx: WriteContext, inode: Inode, sizeBytes: number): boolean {
  if (sizeBytes > inlineCapacityBytes(ctx, inode)) {
    expandInlineFile(ctx, inode);
    return false;
  }
  const data = new Uint8Array(sizeBytes);
  data.set(readInlineData(ctx, inode).subarray(0, sizeBytes));
  writeInlineData(ctx, inode, data);
  setFileSize(ctx, inode, sizeBytes);
  return true;
}

function zeroRestOfLastBlock(ctx: WriteContext, inode: Inode): void {
  const inBlock = inode.sizeBytes % ctx.blockSize;
  if (inBlock !== 0) zeroInBlock(ctx, inode, inode.sizeBytes, inode.sizeBytes - inBlock + ctx.blockSize);
}

const removeBehindEnd = (ctx: WriteContext, inode: Inode): boolean =>
  removeBlocks(ctx, inode, Math.ceil(inode.sizeBytes / ctx.blockSize), ALL_BLOCKS, false);

/** A file that is unlinked besides stays among the orphans. */
function removeRest(ctx: WriteContext, inode: Inode): void {
  inHandles(ctx, () => {
    if (!removeBehindEnd(ctx, inode)) return false;
    if (inode.linksCount > 0) ctx.orphans.remove(inode);
    return true;
  });
}
