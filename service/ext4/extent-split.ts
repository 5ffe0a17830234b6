import { putU16le } from '../../shared/bytes.ts';
import { Errno } from '../../shared/errno.ts';
import { FsError } from './errors.ts';
import { newNode, nodeIsFull, openSlot, putNodeHeader, slotAt } from './extent-node.ts';
import type { ExtentPath } from './extent-path.ts';
import { ROOT_CAPACITY } from './extent-tree.ts';
import type { Inode } from './inode.ts';
import { EXTENT_HEADER, EXTENT_MAX_DEPTH, entryLblk, putEntryLblk, putIndexLeaf } from './layout/extent.ts';
import type { WriteContext } from './write-context.ts';

/**
 * Leads `path` to a leaf with room for an entry that begins at `lblk`. Full nodes are split from the top down:
 * each round splits one node whose parent has room, or puts a new level below the root, so that there are
 * at most two rounds for each level.
 */
export function makeRoom(ctx: WriteContext, inode: Inode, path: ExtentPath, lblk: number, essential: boolean): void {
  path.find(ctx, inode, lblk);
  while (isFull(path, path.depth)) {
    let level = path.depth - 1;
    while (level >= 0 && isFull(path, level)) level--;
    if (level < 0) growRoot(ctx, inode, path, essential);
    else splitNode(ctx, inode, path, level + 1, lblk, essential);
    path.find(ctx, inode, lblk);
  }
}

const isFull = (path: ExtentPath, level: number): boolean => nodeIsFull(path.node(level).view, path.at(level));

/** Moves the root's entries into a new node, the only one below the root then. */
function growRoot(ctx: WriteContext, inode: Inode, path: ExtentPath, essential: boolean): void {
  if (path.depth === EXTENT_MAX_DEPTH) {
    throw new FsError(Errno.EFBIG, `the extent tree of inode ${inode.ino} can't have more levels`);
  }
  const root = path.node(0);
  const at = path.at(0);
  const entries = path.entries(0);
  const node = newNode(ctx, inode, ctx.blocks.goalFor(inode), path.depth, essential);
  path.touch(ctx, inode, 0);
  node.bytes.set(root.bytes.subarray(slotAt(at, 0), slotAt(at, entries)), slotAt(0, 0));
  putU16le(node.view, EXTENT_HEADER.eh_entries, entries);
  const slot = slotAt(at, 0);
  root.bytes.fill(0, slot, slotAt(at, ROOT_CAPACITY));
  putNodeHeader(root.view, at, 1, ROOT_CAPACITY, path.depth + 1);
  putEntryLblk(root.view, slot, entryLblk(node.view, slotAt(0, 0)));
  putIndexLeaf(root.view, slot, node.blockNr);
}

/**
 * Moves the later half of the node at `level` into a new one. Where the node grows at its end, as files that are
 * written from front to back do, it stays full instead, and only what comes goes into the new one.
 */
function splitNode(
  ctx: WriteContext,
  inode: Inode,
  path: ExtentPath,
  level: number,
  lblk: number,
  essential: boolean,
): void {
  const node = path.node(level);
  const entries = path.entries(level);
  const isLeaf = level === path.depth;
  const atEnd = path.index(level) === entries - 1;
  const keep = keptEntries(entries, atEnd, isLeaf);
  const sibling = newNode(ctx, inode, node.blockNr + 1, path.depth - level, essential);
  if (keep < entries) {
    path.touch(ctx, inode, level);
    sibling.bytes.set(node.bytes.subarray(slotAt(0, keep), slotAt(0, entries)), slotAt(0, 0));
    putU16le(sibling.view, EXTENT_HEADER.eh_entries, entries - keep);
    putU16le(node.view, EXTENT_HEADER.eh_entries, keep);
  }
  const above = level - 1;
  const slotIndex = path.index(above) + 1;
  path.touch(ctx, inode, above);
  openSlot(path.node(above), path.at(above), slotIndex);
  const slot = path.slot(above, slotIndex);
  putEntryLblk(path.node(above).view, slot, keep < entries ? entryLblk(sibling.view, slotAt(0, 0)) : lblk);
  putIndexLeaf(path.node(above).view, slot, sibling.blockNr);
}

/** An inner node may not be empty, a leaf gets its first entry at once. */
function keptEntries(entries: number, atEnd: boolean, isLeaf: boolean): number {
  if (!atEnd) return entries >>> 1;
  return isLeaf ? entries : entries - 1;
}
