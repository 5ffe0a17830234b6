/**
 * Directories: adding, removing and changing names. All functions here belong into an open handle; sizes, flags and
 * blocks of the directory are theirs, its times and link count the caller's.
 */
import { Errno } from '../../shared/errno.ts';
import type { CachedBlock } from './buffer-cache.ts';
import { requirePlainNames } from './directory.ts';
import { appendDirectoryBlock } from './directory-append.ts';
import {
  blocksToScan,
  directoryBlock,
  directoryBlocks,
  dotsInName,
  endOfHole,
  isIndexed,
  letBlocksGo,
} from './directory-block.ts';
import { initLeaf, leafEnd, modifyLeaf, putDots, removeFromLeaf, replaceInLeaf } from './directory-leaf-write.ts';
import { addToAppendedBlock, addToBlocks, noteRoomInBlock } from './directory-linear-write.ts';
import { FoundEntry, findEntry } from './directory-search.ts';
import { NewEntry } from './dirent-chain.ts';
import { CorruptionError, FsError } from './errors.ts';
import { indexLeaf } from './htree.ts';
import { modifyIndexBlock } from './htree-node-write.ts';
import { addToIndex, canBeIndexed, makeIndexed } from './htree-write.ts';
import {
  addToInlineDirectory,
  initInlineDirectory,
  inlineParentOf,
  isEmptyInlineDirectory,
  moveInlineDirectoryToBlock,
  removeFromInlineDirectory,
  replaceInInlineDirectory,
  setInlineParent,
} from './inline-directory-write.ts';
import type { Inode } from './inode.ts';
import { DIRENT, DirentType, direntInode, direntRecLen, direntSize, putDirentInode } from './layout/dirent.ts';
import { Incompat } from './layout/features.ts';
import { InodeFlag } from './layout/inode.ts';
import { initMapping } from './map-write.ts';
import type { WriteContext } from './write-context.ts';

const MAX_NAME_BYTES = 255;

const newEntry = new NewEntry();
const found = new FoundEntry();

/**
 * Adds the name in name[start, end), which the directory must not have yet. `entryType` is a DirentType.
 * Throws FsError ENOSPC when the directory can't grow.
 */
export function addEntry(
  ctx: WriteContext,
  dir: Inode,
  name: Uint8Array,
  start: number,
  end: number,
  ino: number,
  entryType: number,
): void {
  requirePlainNames(dir);
  checkNameLength(end - start);
  newEntry.set(name, start, end, ino, storedType(ctx, entryType));
  if (dir.hasFlag(InodeFlag.INLINE_DATA)) {
    if (addToInlineDirectory(ctx, dir, newEntry)) return;
    moveInlineDirectoryToBlock(ctx, dir);
  }
  if (isIndexed(ctx, dir)) {
    if (addToIndex(ctx, dir, newEntry)) return;
    giveUpIndex(ctx, dir);
    if (!addToBlocks(ctx, dir, newEntry)) addToAppendedBlock(ctx, dir, newEntry);
  } else {
    addWithoutIndex(ctx, dir);
  }
}

/** Puts `newEntry` into a directory that has no index; it gets one when its only block is full. */
function addWithoutIndex(ctx: WriteContext, dir: Inode): void {
  // Whoever switches the feature on again must not find an index that is not kept up.
  if (dir.hasFlag(InodeFlag.INDEX)) clearIndexFlag(ctx, dir);
  if (addToBlocks(ctx, dir, newEntry)) return;
  if (directoryBlocks(ctx, dir) > 1 || !canBeIndexed(ctx)) {
    addToAppendedBlock(ctx, dir, newEntry);
    return;
  }
  makeIndexed(ctx, dir, indexLeaf(ctx, dir, 0));
  if (!addToIndex(ctx, dir, newEntry)) {
    throw new CorruptionError('directory index', 'unusable although it is new', { inode: dir.ino });
  }
}

/** Without checksums an index that makes no sense is ignored from now on, and its blocks are used for names. */
function giveUpIndex(ctx: WriteContext, dir: Inode): void {
  if (ctx.checksum.enabled) throw new CorruptionError('directory index', 'unusable', { inode: dir.ino });
  clearIndexFlag(ctx, dir);
}

function clearIndexFlag(ctx: WriteContext, dir: Inode): void {
  ctx.inodes.modify(dir);
  dir.flags &= ~InodeFlag.INDEX;
}

/** Removes the name in name[start, end); returns the inode number that it led to, 0 when there is no such name. */
export function removeEntry(ctx: WriteContext, dir: Inode, name: Uint8Array, start: number, end: number): number {
  requirePlainNames(dir);
  if (dir.hasFlag(InodeFlag.INLINE_DATA)) return removeFromInlineDirectory(ctx, dir, name, start, end);
  if (!findEntry(ctx, dir, name, start, end, found)) return 0;
  noteRoomInBlock(dir, found.lblk);
  return removeFromLeaf(ctx, dir, found.block, found.at);
}

/** Lets the name in name[start, end) lead to `ino`; returns the number before, 0 when there is no such name. */
export function replaceEntry(
  ctx: WriteContext,
  dir: Inode,
  name: Uint8Array,
  start: number,
  end: number,
  ino: number,
  entryType: number,
): number {
  requirePlainNames(dir);
  const type = storedType(ctx, entryType);
  if (dir.hasFlag(InodeFlag.INLINE_DATA)) return replaceInInlineDirectory(ctx, dir, name, start, end, ino, type);
  if (!findEntry(ctx, dir, name, start, end, found)) return 0;
  return replaceInLeaf(ctx, dir, found.block, found.at, ino, type);
}

/** Makes the new inode, without data yet, a directory with nothing but "." and "..". */
export function initDirectory(ctx: WriteContext, dir: Inode, parentIno: number): void {
  ctx.inodes.modify(dir);
  if (initInlineDirectory(ctx, dir, parentIno)) return;
  initMapping(ctx, dir);
  dir.sizeBytes = 0;
  const block = appendDirectoryBlock(ctx, dir);
  initLeaf(ctx, dir, block);
  putDots(ctx, dir, block, parentIno, leafEnd(ctx) - direntSize(1));
}

/** The inode number of "..". */
export function parentOf(ctx: WriteContext, dir: Inode): number {
  if (dir.hasFlag(InodeFlag.INLINE_DATA)) return inlineParentOf(ctx, dir);
  const block = indexLeaf(ctx, dir, 0);
  return direntInode(block.view, dotdotAt(ctx, block));
}

/** Lets ".." lead elsewhere. */
export function setParent(ctx: WriteContext, dir: Inode, parentIno: number): void {
  if (dir.hasFlag(InodeFlag.INLINE_DATA)) {
    setInlineParent(ctx, dir, parentIno);
    return;
  }
  const block = indexLeaf(ctx, dir, 0);
  if (isIndexed(ctx, dir)) modifyIndexBlock(ctx, dir, 0, block);
  else modifyLeaf(ctx, dir, block);
  const at = dotdotAt(ctx, block);
  putDirentInode(block.view, at, parentIno);
  block.bytes[at + DIRENT.file_type] = storedType(ctx, DirentType.DIRECTORY);
}

/** Whether the directory has no names but "." and "..". */
export function isEmptyDirectory(ctx: WriteContext, dir: Inode): boolean {
  if (dir.hasFlag(InodeFlag.INLINE_DATA)) return isEmptyInlineDirectory(ctx, dir);
  const blocks = blocksToScan(ctx, dir);
  if (blocks === 0) throw new CorruptionError('directory', 'has no blocks', { inode: dir.ino });
  for (let lblk = 0; lblk < blocks; ) {
    const block = directoryBlock(ctx, dir, lblk);
    if (block === null) {
      lblk = endOfHole(ctx, dir, lblk);
      continue;
    }
    if (!isEmptyBlock(ctx, block)) return false;
    letBlocksGo(ctx, lblk);
    lblk++;
  }
  return true;
}

function isEmptyBlock(ctx: WriteContext, block: CachedBlock): boolean {
  const { bytes, view } = block;
  for (let at = 0; at < bytes.length; at += direntRecLen(view, at, ctx.blockSize)) {
    if (direntInode(view, at) !== 0 && dotsInName(bytes, at) === 0) return false;
  }
  return true;
}

/** "." is the first entry of a verified first block, ".." the second. */
const dotdotAt = (ctx: WriteContext, block: CachedBlock): number => direntRecLen(block.view, 0, ctx.blockSize);

/** Without the filetype feature the byte belongs to the length of the name, and is zero. */
const storedType = (ctx: WriteContext, entryType: number): number =>
  ctx.superblock.hasIncompat(Incompat.FILETYPE) ? entryType : DirentType.UNKNOWN;

function checkNameLength(length: number): void {
  if (length > MAX_NAME_BYTES) throw new FsError(Errno.ENAMETOOLONG, `a name of ${length} bytes`);
  if (length < 1) throw new FsError(Errno.EINVAL, 'an empty name');
}
