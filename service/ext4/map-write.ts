/**
 * Changes of where a file's blocks are: the one front for both kinds of maps. All functions here belong into an open
 * handle.
 */
import { Errno } from '../../shared/errno.ts';
import type { CachedBlock } from './buffer-cache.ts';
import { FsError } from './errors.ts';
import { convertExtents } from './extent-convert.ts';
import { insertExtent } from './extent-insert.ts';
import { initExtentRoot, isUnwritten, lenOf, maxExtentLen } from './extent-node.ts';
import { ExtentPath } from './extent-path.ts';
import { removeExtents } from './extent-remove.ts';
import { indirectReach } from './indirect-map.ts';
import { removeIndirect } from './indirect-remove.ts';
import { allocateIndirect, initIndirectMap } from './indirect-write.ts';
import type { Inode } from './inode.ts';
import { chargeBlocks } from './inode-blocks.ts';
import { EXTENT_LBLK_END } from './layout/extent.ts';
import { InodeFlag } from './layout/inode.ts';
import { Mapping, MappingType } from './mapping.ts';
import { BlockRun, type WriteContext } from './write-context.ts';

const path = new ExtentPath();
const run = new BlockRun();
const fileBlockMapping = new Mapping();

export const hasExtents = (inode: Inode): boolean => (inode.flags & InodeFlag.EXTENTS) !== 0;

/** Largest size that the inode's map can describe, in bytes. */
export const maxSizeBytes = (ctx: WriteContext, inode: Inode): number =>
  (hasExtents(inode) ? EXTENT_LBLK_END : indirectReach(ctx.blockSize)) * ctx.blockSize;

/** Makes i_block an empty map of the kind that the inode's flags say. */
export function initMapping(ctx: WriteContext, inode: Inode): void {
  if (hasExtents(inode)) initExtentRoot(ctx, inode);
  else initIndirectMap(ctx, inode);
}

/**
 * Fills the hole at `lblk` with 1 to `wantBlocks` new blocks of the given type and tells which in `out`. Where there
 * is no hole it tells what is there. Inodes with block pointers have no unwritten blocks: theirs are written.
 */
export function allocateBlocks(
  ctx: WriteContext,
  inode: Inode,
  lblk: number,
  wantBlocks: number,
  type: number,
  out: Mapping,
): void {
  if (!hasExtents(inode)) {
    allocateIndirect(ctx, inode, lblk, wantBlocks, false, out);
    return;
  }
  if (answerMapped(ctx, inode, lblk, out)) return;
  const unwritten = type === MappingType.UNWRITTEN;
  const want = Math.min(wantBlocks, path.ceiling - lblk, maxExtentLen(unwritten));
  ctx.blocks.allocateData(inode, lblk, extentGoal(ctx, inode, lblk), want, run);
  const { pblk, lenBlocks } = run;
  insertExtent(ctx, inode, lblk, pblk, lenBlocks, unwritten, false);
  chargeBlocks(ctx, inode, lenBlocks);
  out.set(type, lblk, pblk, lenBlocks);
}

/** Fills the hole at `lblk` with a block of zeros that goes through the journal: directories, symlinks, attributes. */
export function allocateFileBlock(ctx: WriteContext, inode: Inode, lblk: number): CachedBlock {
  const out = fileBlockMapping;
  if (!hasExtents(inode)) {
    allocateIndirect(ctx, inode, lblk, 1, true, out);
  } else if (!answerMapped(ctx, inode, lblk, out)) {
    const pblk = ctx.blocks.allocateMetadata(extentGoal(ctx, inode, lblk), false, true);
    insertExtent(ctx, inode, lblk, pblk, 1, false, false);
    chargeBlocks(ctx, inode, 1);
    out.set(MappingType.WRITTEN, lblk, pblk, 1);
  }
  const block = ctx.handle.fresh(out.pblk + (lblk - out.lblk));
  block.owner = inode.ino;
  block.ownerGeneration = inode.generation;
  return block;
}

/** Leads `path` to `lblk`; false when that is a hole. */
function answerMapped(ctx: WriteContext, inode: Inode, lblk: number, out: Mapping): boolean {
  if (lblk >= EXTENT_LBLK_END) throw new FsError(Errno.EFBIG, `inode ${inode.ino} can't have a block ${lblk}`);
  path.find(ctx, inode, lblk);
  const index = path.index(path.depth);
  if (index < 0) return false;
  const rawLen = path.rawLen(index);
  const begin = path.lblk(index);
  if (lblk >= begin + lenOf(rawLen)) return false;
  out.set(isUnwritten(rawLen) ? MappingType.UNWRITTEN : MappingType.WRITTEN, begin, path.pblk(index), lenOf(rawLen));
  return true;
}

/** Where `lblk` would be if the file were in one piece with the extent before or behind; `path` leads there. */
function extentGoal(ctx: WriteContext, inode: Inode, lblk: number): number {
  const index = path.index(path.depth);
  let goal = 0;
  if (index >= 0) goal = path.pblk(index) + (lblk - path.lblk(index));
  else if (path.entries(path.depth) > 0) goal = path.pblk(0) - (path.lblk(0) - lblk);
  const isPossible = goal > ctx.geometry.firstDataBlock && goal < ctx.geometry.blocksCount;
  return isPossible ? goal : ctx.blocks.goalFor(inode);
}

/** Makes all unwritten blocks of the range written. Their content is on its way to the device already. */
export function convertToWritten(ctx: WriteContext, inode: Inode, lblk: number, lenBlocks: number): void {
  for (let at = lblk; at < lblk + lenBlocks; ) at = convertSome(ctx, inode, at, lblk + lenBlocks, false);
}

/**
 * Makes the mapped blocks of [from, end) all written, or all unwritten, as much as one handle should. Returns how far
 * it came. Inodes with block pointers have nothing to convert.
 */
export function convertSome(ctx: WriteContext, inode: Inode, from: number, end: number, unwritten: boolean): number {
  return hasExtents(inode) ? convertExtents(ctx, inode, from, end, unwritten) : end;
}

/** Frees file blocks [from, end) from the end backwards, as much as one handle should; true when all is done. */
export function removeBlocks(ctx: WriteContext, inode: Inode, from: number, end: number, isMetadata: boolean): boolean {
  if (from >= end) return true;
  return hasExtents(inode)
    ? removeExtents(ctx, inode, from, Math.min(end, EXTENT_LBLK_END), isMetadata)
    : removeIndirect(ctx, inode, from, end, isMetadata);
}
