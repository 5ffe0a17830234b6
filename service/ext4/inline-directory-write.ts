/** Changes of directories kept inside the inode, until they need a block. */
import { putU32le, viewOf } from '../../shared/bytes.ts';
import type { CachedBlock } from './buffer-cache.ts';
import { appendDirectoryBlock } from './directory-append.ts';
import { initLeaf, leafEnd, putDots } from './directory-leaf-write.ts';
import { DirentChain, type NewEntry } from './dirent-chain.ts';
import { inlineCapacityBytes, removeInlineData, writeInlineData } from './inline-data-write.ts';
import { InlineAreas, PLAIN_REC_LEN } from './inline-directory.ts';
import type { Inode } from './inode.ts';
import {
  DIRENT,
  direntInode,
  direntRecLen,
  direntSize,
  INLINE_DIRECTORY,
  putDirentInode,
  putDirentRecLen,
} from './layout/dirent.ts';
import { Incompat } from './layout/features.ts';
import { INODE, InodeFlag } from './layout/inode.ts';
import { initMapping } from './map-write.ts';
import type { WriteContext } from './write-context.ts';

const areas = new InlineAreas();
const chain = new DirentChain();

/** Makes a new directory an inline one. False when the file system or the inode has no place for that. */
export function initInlineDirectory(ctx: WriteContext, dir: Inode, parentIno: number): boolean {
  if (!ctx.superblock.hasIncompat(Incompat.INLINE_DATA)) return false;
  if (inlineCapacityBytes(ctx, dir) < INODE.I_BLOCK_SIZE) return false;
  const bytes = new Uint8Array(INODE.I_BLOCK_SIZE);
  const view = viewOf(bytes);
  putU32le(view, INLINE_DIRECTORY.parent, parentIno);
  putDirentRecLen(view, INLINE_DIRECTORY.ENTRIES, INODE.I_BLOCK_SIZE - INLINE_DIRECTORY.ENTRIES);
  writeInlineData(ctx, dir, bytes);
  dir.sizeBytes = INODE.I_BLOCK_SIZE;
  return true;
}

/** False, with nothing changed, when the directory needs a block for this entry. */
export function addToInlineDirectory(ctx: WriteContext, dir: Inode, entry: NewEntry): boolean {
  const block = areas.open(ctx, dir);
  if (insertIntoArea(ctx, dir, block, areas.firstStart, areas.firstEnd, entry)) return true;
  if (areas.secondStart === areas.secondEnd && !addSecondArea(ctx, dir, entry.sizeBytes)) return false;
  return insertIntoArea(ctx, dir, block, areas.secondStart, areas.secondEnd, entry);
}

function insertIntoArea(
  ctx: WriteContext,
  dir: Inode,
  block: CachedBlock,
  start: number,
  end: number,
  entry: NewEntry,
): boolean {
  chain.open(block, start, end, PLAIN_REC_LEN);
  const at = chain.findRoom(entry.sizeBytes);
  if (at < 0) return false;
  ctx.inodes.modify(dir);
  chain.insert(at, entry);
  return true;
}

/** All that is left of the inode becomes room for entries, if that is at least `sizeBytes`. */
function addSecondArea(ctx: WriteContext, dir: Inode, sizeBytes: number): boolean {
  const capacityBytes = inlineCapacityBytes(ctx, dir);
  if (capacityBytes - INODE.I_BLOCK_SIZE < sizeBytes) return false;
  const bytes = new Uint8Array(capacityBytes);
  const head = ctx.cache.get(dir.tableBlock).bytes;
  const headAt = dir.tableOffset + INODE.i_block;
  bytes.set(head.subarray(headAt, headAt + INODE.I_BLOCK_SIZE));
  putDirentRecLen(viewOf(bytes), INODE.I_BLOCK_SIZE, capacityBytes - INODE.I_BLOCK_SIZE);
  writeInlineData(ctx, dir, bytes);
  dir.sizeBytes = capacityBytes;
  areas.open(ctx, dir);
  return true;
}

/** Moves the directory's entries to a block, where each has the offset that its position in a listing says. */
export function moveInlineDirectoryToBlock(ctx: WriteContext, dir: Inode): void {
  const { bytes } = areas.open(ctx, dir);
  const { parent, firstStart, firstEnd, secondStart, secondEnd } = areas;
  const entries = new Uint8Array(firstEnd - firstStart + secondEnd - secondStart);
  entries.set(bytes.subarray(firstStart, firstEnd));
  entries.set(bytes.subarray(secondStart, secondEnd), firstEnd - firstStart);
  removeInlineData(ctx, dir);
  if (ctx.superblock.hasIncompat(Incompat.EXTENTS)) dir.flags |= InodeFlag.EXTENTS;
  initMapping(ctx, dir);
  dir.sizeBytes = 0;
  const block = appendDirectoryBlock(ctx, dir);
  initLeaf(ctx, dir, block);
  putDots(ctx, dir, block, parent, direntSize(2));
  const entriesAt = direntSize(1) + direntSize(2);
  block.bytes.set(entries, entriesAt);
  extendLast(block, entriesAt, entriesAt + entries.length, leafEnd(ctx));
}

/** The last entry of the chain in [start, end) gets all the room up to `newEnd`. */
function extendLast(block: CachedBlock, start: number, end: number, newEnd: number): void {
  let last = start;
  for (let at = start; at < end; at += direntRecLen(block.view, at, PLAIN_REC_LEN)) last = at;
  putDirentRecLen(block.view, last, newEnd - last);
}

/** Removes the entry of the name in name[start, end); returns its inode number, 0 when there is none. */
export function removeFromInlineDirectory(
  ctx: WriteContext,
  dir: Inode,
  name: Uint8Array,
  start: number,
  end: number,
): number {
  const block = areas.open(ctx, dir);
  const at = areas.find(block, name, start, end);
  if (at < 0) return 0;
  const ino = direntInode(block.view, at);
  ctx.inodes.modify(dir);
  if (at < areas.firstEnd && at >= areas.firstStart) chain.open(block, areas.firstStart, areas.firstEnd, PLAIN_REC_LEN);
  else chain.open(block, areas.secondStart, areas.secondEnd, PLAIN_REC_LEN);
  chain.remove(at);
  return ino;
}

/** Lets the name in name[start, end) lead elsewhere; returns the inode number before, 0 when there is no such name. */
export function replaceInInlineDirectory(
  ctx: WriteContext,
  dir: Inode,
  name: Uint8Array,
  start: number,
  end: number,
  ino: number,
  fileType: number,
): number {
  const block = areas.open(ctx, dir);
  const at = areas.find(block, name, start, end);
  if (at < 0) return 0;
  const before = direntInode(block.view, at);
  ctx.inodes.modify(dir);
  putDirentInode(block.view, at, ino);
  block.bytes[at + DIRENT.file_type] = fileType;
  return before;
}

export function inlineParentOf(ctx: WriteContext, dir: Inode): number {
  areas.open(ctx, dir);
  return areas.parent;
}

export function setInlineParent(ctx: WriteContext, dir: Inode, parentIno: number): void {
  const { view } = areas.open(ctx, dir);
  ctx.inodes.modify(dir);
  putU32le(view, areas.firstStart - INLINE_DIRECTORY.ENTRIES + INLINE_DIRECTORY.parent, parentIno);
}

export function isEmptyInlineDirectory(ctx: WriteContext, dir: Inode): boolean {
  const { view } = areas.open(ctx, dir);
  return isEmptyArea(view, areas.firstStart, areas.firstEnd) && isEmptyArea(view, areas.secondStart, areas.secondEnd);
}

function isEmptyArea(view: DataView, start: number, end: number): boolean {
  for (let at = start; at < end; at += direntRecLen(view, at, PLAIN_REC_LEN)) {
    if (direntInode(view, at) !== 0) return false;
  }
  return true;
}
