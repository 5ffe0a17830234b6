import { addExtent, insertExtent } from './extent-insert.ts';
import { beginsAt, endsAt, mergeWithNext } from './extent-merge.ts';
import { closeSlot, isUnwritten, lenOf, maxExtentLen, rawLenOf } from './extent-node.ts';
import { ExtentPath } from './extent-path.ts';
import { handleIsFull } from './handle-budget.ts';
import type { Inode } from './inode.ts';
import { putEntryLblk, putExtentPblk, putExtentRawLen } from './layout/extent.ts';
import type { WriteContext } from './write-context.ts';

const path = new ExtentPath();

/** Data that is on the device must become part of the file; making a range zero may find no space. */
const mayNotFail = (unwritten: boolean): boolean => !unwritten;

/**
 * Makes the mapped blocks of [from, end) all unwritten, or all written, as much as the open handle should do.
 * Holes stay. Returns how far it came; `end` when all is done. A change of one extent adds two entries at most.
 */
export function convertExtents(ctx: WriteContext, inode: Inode, from: number, end: number, unwritten: boolean): number {
  let at = from;
  while (at < end) {
    path.find(ctx, inode, at);
    const index = path.index(path.depth);
    const extentEnd = index < 0 ? 0 : path.lblk(index) + lenOf(path.rawLen(index));
    if (at >= extentEnd) {
      at = path.ceiling;
    } else if (isUnwritten(path.rawLen(index)) === unwritten) {
      at = extentEnd;
    } else {
      if (at > from && handleIsFull(ctx)) return at;
      const last = Math.min(end, extentEnd, at + maxExtentLen(unwritten));
      convertPart(ctx, inode, index, at, last, unwritten);
      at = last;
    }
  }
  return end;
}

/** Gives [first, last), which lies in the extent `index` of the other kind, its new kind. */
function convertPart(
  ctx: WriteContext,
  inode: Inode,
  index: number,
  first: number,
  last: number,
  unwritten: boolean,
): void {
  path.touch(ctx, inode, path.depth);
  const lblk = path.lblk(index);
  const end = lblk + lenOf(path.rawLen(index));
  if (first === lblk) convertHead(ctx, inode, index, last, end, unwritten);
  else if (last === end) convertTail(ctx, inode, index, first, end, unwritten);
  else convertMiddle(ctx, inode, index, first, last, unwritten);
}

function convertHead(
  ctx: WriteContext,
  inode: Inode,
  index: number,
  last: number,
  end: number,
  unwritten: boolean,
): void {
  const { view } = path.node(path.depth);
  const lblk = path.lblk(index);
  const pblk = path.pblk(index);
  const lenBlocks = last - lblk;
  if (
    endsAt(path, index - 1, lblk, pblk, unwritten) &&
    lenOf(path.rawLen(index - 1)) + lenBlocks <= maxExtentLen(unwritten)
  ) {
    const before = path.slot(path.depth, index - 1);
    putExtentRawLen(view, before, path.rawLen(index - 1) + lenBlocks);
    if (last < end) {
      putExtent(index, last, pblk + lenBlocks, end - last, !unwritten);
    } else {
      closeSlot(path.node(path.depth), path.at(path.depth), index);
      mergeWithNext(path, index - 1);
    }
    return;
  }
  putExtent(index, lblk, pblk, lenBlocks, unwritten);
  if (last < end) addExtent(ctx, inode, last, pblk + lenBlocks, end - last, !unwritten, mayNotFail(unwritten));
  else mergeWithNext(path, index);
}

function convertTail(
  ctx: WriteContext,
  inode: Inode,
  index: number,
  first: number,
  end: number,
  unwritten: boolean,
): void {
  const lblk = path.lblk(index);
  const pblk = path.pblk(index) + (first - lblk);
  const endPblk = path.pblk(index) + (end - lblk);
  const lenBlocks = end - first;
  putExtent(index, lblk, path.pblk(index), first - lblk, !unwritten);
  if (
    beginsAt(path, index + 1, end, endPblk, unwritten) &&
    lenOf(path.rawLen(index + 1)) + lenBlocks <= maxExtentLen(unwritten)
  ) {
    putExtent(index + 1, first, pblk, lenOf(path.rawLen(index + 1)) + lenBlocks, unwritten);
    return;
  }
  insertExtent(ctx, inode, first, pblk, lenBlocks, unwritten, mayNotFail(unwritten));
}

function convertMiddle(
  ctx: WriteContext,
  inode: Inode,
  index: number,
  first: number,
  last: number,
  unwritten: boolean,
): void {
  const lblk = path.lblk(index);
  const pblk = path.pblk(index);
  const end = lblk + lenOf(path.rawLen(index));
  putExtent(index, lblk, pblk, first - lblk, !unwritten);
  addExtent(ctx, inode, first, pblk + (first - lblk), last - first, unwritten, mayNotFail(unwritten));
  addExtent(ctx, inode, last, pblk + (last - lblk), end - last, !unwritten, mayNotFail(unwritten));
}

function putExtent(index: number, lblk: number, pblk: number, lenBlocks: number, unwritten: boolean): void {
  const { view } = path.node(path.depth);
  const slot = path.slot(path.depth, index);
  putEntryLblk(view, slot, lblk);
  putExtentPblk(view, slot, pblk);
  putExtentRawLen(view, slot, rawLenOf(lenBlocks, unwritten));
}
