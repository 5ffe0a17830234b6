import { addExtent } from './extent-insert.ts';
import { mergeWithNext } from './extent-merge.ts';
import { isUnwritten, lenOf, rawLenOf } from './extent-node.ts';
import { ExtentPath } from './extent-path.ts';
import { handleIsFull } from './handle-budget.ts';
import type { Inode } from './inode.ts';
import { EXTENT_LBLK_END, putEntryLblk, putExtentRawLen } from './layout/extent.ts';
import type { WriteContext } from './write-context.ts';

const path = new ExtentPath();

/** One past the last file block that is mapped, 0 when none is. */
export function mappedEnd(ctx: WriteContext, inode: Inode): number {
  path.find(ctx, inode, EXTENT_LBLK_END - 1);
  const index = path.index(path.depth);
  return index < 0 ? 0 : path.lblk(index) + lenOf(path.rawLen(index));
}

/** Makes sure that no extent reaches across the border before file block `lblk`. */
export function splitExtentAt(ctx: WriteContext, inode: Inode, lblk: number): void {
  path.find(ctx, inode, lblk);
  const index = path.index(path.depth);
  if (index < 0) return;
  const begin = path.lblk(index);
  const end = begin + lenOf(path.rawLen(index));
  if (begin === lblk || end <= lblk) return;
  const pblk = path.pblk(index);
  const unwritten = isUnwritten(path.rawLen(index));
  path.touch(ctx, inode, path.depth);
  const slot = path.slot(path.depth, index);
  putExtentRawLen(path.node(path.depth).view, slot, rawLenOf(lblk - begin, unwritten));
  addExtent(ctx, inode, lblk, pblk + (lblk - begin), end - lblk, unwritten, false);
}

/**
 * Moves the extents from file block `from` on towards the file's beginning by `delta` blocks, which are a hole,
 * as many as the open handle should. Returns where to go on, or EXTENT_LBLK_END when all are moved.
 */
export function shiftLeft(ctx: WriteContext, inode: Inode, from: number, delta: number): number {
  let next = from;
  while (next < EXTENT_LBLK_END && !handleIsFull(ctx)) {
    path.find(ctx, inode, next);
    const { ceiling } = path;
    const entries = path.entries(path.depth);
    let first = Math.max(0, path.index(path.depth));
    if (first < entries && path.lblk(first) < next) first++;
    if (first < entries) {
      next = leafCeiling(ctx, inode, entries - 1);
      moveEntries(ctx, inode, first, entries, -delta);
      mergeWithNext(path, first - 1);
    } else {
      next = ceiling;
    }
  }
  return next;
}

/** Where the leaf behind the path's leaf begins, whose last entry is number `last`. */
function leafCeiling(ctx: WriteContext, inode: Inode, last: number): number {
  path.find(ctx, inode, path.lblk(last));
  return path.ceiling;
}

/**
 * Moves the extents that begin in [from, end) away from the file's beginning by `delta` blocks, the last ones first,
 * as many as the open handle should. Returns the new `end` with which to go on, `from` when all are moved.
 */
export function shiftRight(ctx: WriteContext, inode: Inode, from: number, end: number, delta: number): number {
  let before = end;
  while (before > from && !handleIsFull(ctx)) {
    path.find(ctx, inode, before - 1);
    const last = path.index(path.depth);
    let first = last + 1;
    while (first > 0 && path.lblk(first - 1) >= from) first--;
    if (first > last) return from;
    before = path.lblk(first);
    moveEntries(ctx, inode, first, last + 1, delta);
  }
  return before;
}

function moveEntries(ctx: WriteContext, inode: Inode, first: number, end: number, delta: number): void {
  const level = path.depth;
  path.touch(ctx, inode, level);
  const { view } = path.node(level);
  for (let index = first; index < end; index++) putEntryLblk(view, path.slot(level, index), path.lblk(index) + delta);
  if (first === 0) path.firstEntryMoved(ctx, inode, level);
}
