import { addExtent } from './extent-insert.ts';
import {
  closeSlot,
  isUnwritten,
  lenOf,
  nodeDepth,
  nodeEntries,
  putNodeHeader,
  rawLenOf,
  slotAt,
} from './extent-node.ts';
import { ExtentPath } from './extent-path.ts';
import { ROOT_CAPACITY } from './extent-tree.ts';
import { handleIsFull, stepBlocks } from './handle-budget.ts';
import type { Inode } from './inode.ts';
import { unchargeBlocks } from './inode-blocks.ts';
import { putEntryLblk, putExtentPblk, putExtentRawLen } from './layout/extent.ts';
import { INODE } from './layout/inode.ts';
import type { WriteContext } from './write-context.ts';

const path = new ExtentPath();
/** The present removal has not removed anything yet. */
let isFirst = true;

/** What a leaf was left with. */
const LeafOutcome = Object.freeze({
  /** Nothing of the range is before this leaf's remaining extents. */
  RANGE_DONE: 0,
  /** There may be more of the range in leaves before this one. */
  GO_ON: 1,
  HANDLE_FULL: 2,
});

/**
 * Takes file blocks [from, end) out of the tree and gives their blocks back, from the end backwards, as much as
 * the open handle should do, at least one extent. Returns true when all is done. `isMetadata`: the blocks were
 * changed through the journal (directories and the like).
 */
export function removeExtents(
  ctx: WriteContext,
  inode: Inode,
  from: number,
  end: number,
  isMetadata: boolean,
): boolean {
  let outcome: number = LeafOutcome.GO_ON;
  let before = end;
  isFirst = true;
  while (outcome === LeafOutcome.GO_ON && before > from) {
    path.find(ctx, inode, before - 1);
    if (path.index(path.depth) < 0) break;
    const leafBegin = path.lblk(0);
    outcome = emptyLeaf(ctx, inode, from, before, isMetadata);
    before = leafBegin;
  }
  shrinkRoot(ctx, inode);
  return outcome !== LeafOutcome.HANDLE_FULL;
}

function emptyLeaf(ctx: WriteContext, inode: Inode, from: number, end: number, isMetadata: boolean): number {
  let outcome: number = LeafOutcome.GO_ON;
  let isTouched = false;
  let index = path.index(path.depth);
  while (index >= 0) {
    const lblk = path.lblk(index);
    const extentEnd = lblk + lenOf(path.rawLen(index));
    if (extentEnd <= from) {
      outcome = LeafOutcome.RANGE_DONE;
      break;
    }
    if (lblk >= end) {
      index--;
      continue;
    }
    if (!isFirst && handleIsFull(ctx)) {
      outcome = LeafOutcome.HANDLE_FULL;
      break;
    }
    if (!isTouched) path.touch(ctx, inode, path.depth);
    isTouched = true;
    isFirst = false;
    const begin = Math.max(lblk, from);
    const last = Math.min(extentEnd, end);
    const first = last < extentEnd ? begin : Math.max(begin, last - stepBlocks(isMetadata));
    giveBack(ctx, inode, path.pblk(index) + first - lblk, last - first, isMetadata);
    if (first > lblk && last < extentEnd) {
      cutMiddle(ctx, inode, index, first, last);
      return LeafOutcome.RANGE_DONE;
    }
    cutEdge(ctx, inode, index, first, last);
    if (first === begin) index--;
  }
  if (path.entries(path.depth) === 0) dropEmptyNodes(ctx, inode);
  return outcome;
}

function giveBack(ctx: WriteContext, inode: Inode, pblk: number, lenBlocks: number, isMetadata: boolean): void {
  ctx.checkDataBlocks(pblk, lenBlocks, 'extent', inode.ino);
  if (isMetadata) ctx.blocks.freeMetadata(pblk, lenBlocks);
  else ctx.blocks.free(pblk, lenBlocks);
  unchargeBlocks(ctx, inode, lenBlocks);
}

/** Takes [first, last) out of the extent `index`, which reaches to at least one edge of it. */
function cutEdge(ctx: WriteContext, inode: Inode, index: number, first: number, last: number): void {
  const level = path.depth;
  const leaf = path.node(level);
  const slot = path.slot(level, index);
  const lblk = path.lblk(index);
  const rawLen = path.rawLen(index);
  const end = lblk + lenOf(rawLen);
  if (first > lblk) {
    putExtentRawLen(leaf.view, slot, rawLen - (end - first));
    return;
  }
  if (last === end) {
    closeSlot(leaf, path.at(level), index);
    if (index > 0 || path.entries(level) === 0) return;
  } else {
    putExtentPblk(leaf.view, slot, path.pblk(index) + (last - lblk));
    putEntryLblk(leaf.view, slot, last);
    putExtentRawLen(leaf.view, slot, rawLen - (last - lblk));
  }
  if (index === 0) path.firstEntryMoved(ctx, inode, level);
}

/** Leaves of the extent `index` what is before `first` and what is behind `last`. Voids the path. */
function cutMiddle(ctx: WriteContext, inode: Inode, index: number, first: number, last: number): void {
  const level = path.depth;
  const lblk = path.lblk(index);
  const pblk = path.pblk(index);
  const unwritten = isUnwritten(path.rawLen(index));
  const end = lblk + lenOf(path.rawLen(index));
  putExtentRawLen(path.node(level).view, path.slot(level, index), rawLenOf(first - lblk, unwritten));
  addExtent(ctx, inode, last, pblk + (last - lblk), end - last, unwritten, true);
}

/** Gives back the leaf at the path's end, which has no entries, and the nodes above that have none without it. */
function dropEmptyNodes(ctx: WriteContext, inode: Inode): void {
  let level = path.depth;
  while (level > 0 && path.entries(level) === 0) {
    ctx.blocks.freeMetadata(path.node(level).blockNr, 1);
    unchargeBlocks(ctx, inode, 1);
    level--;
    path.touch(ctx, inode, level);
    closeSlot(path.node(level), path.at(level), path.index(level));
  }
  if (level === 0) {
    if (path.entries(0) === 0) putNodeHeader(path.node(0).view, path.at(0), 0, ROOT_CAPACITY, 0);
  }
  if (path.entries(level) > 0 && path.index(level) === 0) path.firstEntryMoved(ctx, inode, level);
}

/** While the root has a single child whose entries fit into the root, they take its place. */
function shrinkRoot(ctx: WriteContext, inode: Inode): void {
  const root = ctx.cache.get(inode.tableBlock);
  const at = inode.tableOffset + INODE.i_block;
  while (nodeEntries(root.view, at) === 1 && nodeDepth(root.view, at) > 0) {
    path.find(ctx, inode, 0);
    const child = path.node(1);
    const entries = path.entries(1);
    if (entries > ROOT_CAPACITY || entries === 0) return;
    path.touch(ctx, inode, 0);
    root.bytes.set(child.bytes.subarray(slotAt(0, 0), slotAt(0, entries)), slotAt(at, 0));
    putNodeHeader(root.view, at, entries, ROOT_CAPACITY, path.depth - 1);
    ctx.blocks.freeMetadata(child.blockNr, 1);
    unchargeBlocks(ctx, inode, 1);
  }
}
