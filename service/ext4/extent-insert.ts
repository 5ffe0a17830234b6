import { beginsAt, endsAt, mergeWithNext } from './extent-merge.ts';
import { lenOf, maxExtentLen, openSlot, rawLenOf } from './extent-node.ts';
import { ExtentPath } from './extent-path.ts';
import { makeRoom } from './extent-split.ts';
import type { Inode } from './inode.ts';
import { putEntryLblk, putExtentPblk, putExtentRawLen } from './layout/extent.ts';
import type { WriteContext } from './write-context.ts';

const path = new ExtentPath();

/**
 * Maps `lenBlocks` file blocks from `lblk` on, which must be a hole, to the device's blocks from `pblk` on. Extends
 * a neighbour in the same leaf where it can. `lenBlocks` is at most `maxExtentLen(unwritten)`.
 * `essential`: the tree may grow into the very last free blocks for this.
 */
export function insertExtent(
  ctx: WriteContext,
  inode: Inode,
  lblk: number,
  pblk: number,
  lenBlocks: number,
  unwritten: boolean,
  essential: boolean,
): void {
  path.find(ctx, inode, lblk);
  const index = path.index(path.depth);
  const max = maxExtentLen(unwritten);
  if (endsAt(path, index, lblk, pblk, unwritten) && lenOf(path.rawLen(index)) + lenBlocks <= max) {
    lengthen(ctx, inode, index, lenBlocks);
  } else if (
    beginsAt(path, index + 1, lblk + lenBlocks, pblk + lenBlocks, unwritten) &&
    lenOf(path.rawLen(index + 1)) + lenBlocks <= max
  ) {
    beginEarlier(ctx, inode, index + 1, lenBlocks);
  } else {
    addExtent(ctx, inode, lblk, pblk, lenBlocks, unwritten, essential);
  }
}

function lengthen(ctx: WriteContext, inode: Inode, index: number, lenBlocks: number): void {
  const level = path.depth;
  path.touch(ctx, inode, level);
  putExtentRawLen(path.node(level).view, path.slot(level, index), path.rawLen(index) + lenBlocks);
  mergeWithNext(path, index);
}

function beginEarlier(ctx: WriteContext, inode: Inode, index: number, lenBlocks: number): void {
  const level = path.depth;
  const { view } = path.node(level);
  const slot = path.slot(level, index);
  path.touch(ctx, inode, level);
  putEntryLblk(view, slot, path.lblk(index) - lenBlocks);
  putExtentPblk(view, slot, path.pblk(index) - lenBlocks);
  putExtentRawLen(view, slot, path.rawLen(index) + lenBlocks);
  if (index === 0) path.firstEntryMoved(ctx, inode, level);
}

/** As `insertExtent`, but always as an entry of its own. */
export function addExtent(
  ctx: WriteContext,
  inode: Inode,
  lblk: number,
  pblk: number,
  lenBlocks: number,
  unwritten: boolean,
  essential: boolean,
): void {
  makeRoom(ctx, inode, path, lblk, essential);
  const level = path.depth;
  const index = path.index(level) + 1;
  const slot = path.slot(level, index);
  const leaf = path.node(level);
  path.touch(ctx, inode, level);
  openSlot(leaf, path.at(level), index);
  putEntryLblk(leaf.view, slot, lblk);
  putExtentPblk(leaf.view, slot, pblk);
  putExtentRawLen(leaf.view, slot, rawLenOf(lenBlocks, unwritten));
  if (index === 0) path.firstEntryMoved(ctx, inode, level);
}
