/**
 * Adding names to an indexed directory: into the leaf of their hash, which is split when it is full, as are
 * the index blocks above it. One step is made at a time; behind each the way down is found again.
 */
import { Errno } from '../../shared/errno.ts';
import { BlockCheck, type CachedBlock } from './buffer-cache.ts';
import { appendDirectoryBlock } from './directory-append.ts';
import { directoryBlocks } from './directory-block.ts';
import { initLeaf, insertIntoLeafPacking, leafEnd, modifyLeaf, putDots } from './directory-leaf-write.ts';
import { DirentChain, type NewEntry } from './dirent-chain.ts';
import { hashName, NameHash } from './dirhash.ts';
import { CorruptionError, FsError } from './errors.ts';
import { IndexCursor, indexLeaf } from './htree.ts';
import { maxIndirectLevels } from './htree-node.ts';
import {
  indexIsFull,
  initIndexNode,
  initIndexRoot,
  insertIndexEntry,
  modifyIndexBlock,
  raiseIndexRoot,
  truncateIndex,
} from './htree-node-write.ts';
import type { Inode } from './inode.ts';
import { DIRENT, direntInode, direntNameLen, direntRecLen, direntSize } from './layout/dirent.ts';
import { Compat } from './layout/features.ts';
import { dxHash, HashVersion } from './layout/htree.ts';
import { InodeFlag } from './layout/inode.ts';
import { SortedNames } from './sorted-names.ts';
import type { WriteContext } from './write-context.ts';

/** A root that grows, index blocks split at two levels, the leaf, and the insertion itself are fewer. */
const MAX_STEPS = 8;

const cursor = new IndexCursor();
const hash = new NameHash();
const names = new SortedNames();
const chain = new DirentChain();

/**
 * Puts the entry into the leaf of its name's hash. False, with nothing changed, when the index can't be used.
 * Throws FsError ENOSPC when the index is as full as it may be.
 */
export function addToIndex(ctx: WriteContext, dir: Inode, entry: NewEntry): boolean {
  for (let step = 0; step < MAX_STEPS; step++) {
    if (!cursor.open(ctx, dir)) return false;
    hashName(cursor.hashVersion, ctx.superblock.hashSeed, entry.name, entry.start, entry.end, hash);
    if (!cursor.seek(ctx, dir, hash.major)) return false;
    const leaf = indexLeaf(ctx, dir, cursor.leafLblk);
    if (insertIntoLeafPacking(ctx, dir, leaf, entry)) return true;
    if (indexIsFull(cursor.frame(cursor.levels - 1))) makeRoomInIndex(ctx, dir, leaf);
    else splitLeaf(ctx, dir, leaf);
  }
  throw new CorruptionError('directory index', 'no room after all splits', { inode: dir.ino });
}

/** Whether a directory of one block becomes an indexed one when that is full. */
export const canBeIndexed = (ctx: WriteContext): boolean =>
  ctx.superblock.hasCompat(Compat.DIR_INDEX) && ctx.superblock.defaultHashVersion <= HashVersion.TEA;

/** Makes a directory of one block an indexed one: its entries move to the first leaf, the block is the root. */
export function makeIndexed(ctx: WriteContext, dir: Inode, block: CachedBlock): void {
  const { bytes, view } = block;
  const dotdotAt = direntRecLen(view, 0, ctx.blockSize);
  const parentIno = direntInode(view, dotdotAt);
  const entriesAt = dotdotAt + direntRecLen(view, dotdotAt, ctx.blockSize);
  const leafLblk = directoryBlocks(ctx, dir);
  const leaf = appendDirectoryBlock(ctx, dir);
  if ((block.checked & BlockCheck.DIRECTORY_LEAF) === 0) {
    throw new CorruptionError('directory', 'its block was free', { inode: dir.ino, block: block.blockNr });
  }
  initLeaf(ctx, dir, leaf);
  names.clear();
  chain.open(block, entriesAt, leafEnd(ctx), ctx.blockSize);
  for (let at = chain.start; at < chain.end; at = chain.next(at)) {
    if (direntInode(view, at) !== 0) names.add(0, 0, 0, at);
  }
  names.sort();
  ctx.handle.modify(block);
  chain.open(leaf, 0, leafEnd(ctx), ctx.blockSize);
  chain.take(block, names.offset, names.order, 0, names.count);
  bytes.fill(0);
  putDots(ctx, dir, block, parentIno, ctx.blockSize - direntSize(1));
  initIndexRoot(ctx, dir, block, leafLblk);
  ctx.inodes.modify(dir);
  dir.flags |= InodeFlag.INDEX;
}

/** Splits the lowest full index block whose parent has room, or adds a level when all are full. */
function makeRoomInIndex(ctx: WriteContext, dir: Inode, leaf: CachedBlock): void {
  let level = cursor.levels - 1;
  while (level > 0 && indexIsFull(cursor.frame(level - 1))) level--;
  if (level === 0) addLevel(ctx, dir, leaf);
  else splitNode(ctx, dir, level, leaf);
}

/**
 * A new block for the directory. A broken bitmap may call one free that is being worked on: it has lost its content
 * then, and what was verified of it.
 */
function appendBeside(ctx: WriteContext, dir: Inode, leaf: CachedBlock): CachedBlock {
  const block = appendDirectoryBlock(ctx, dir);
  let isLost = (leaf.checked & BlockCheck.DIRECTORY_LEAF) === 0;
  for (let level = 0; level < cursor.levels; level++) {
    if ((cursor.frame(level).block.checked & BlockCheck.HTREE_NODE) === 0) isLost = true;
  }
  if (isLost) throw new CorruptionError('directory', 'one of its blocks was free', { inode: dir.ino });
  return block;
}

function addLevel(ctx: WriteContext, dir: Inode, leaf: CachedBlock): void {
  if (cursor.levels > maxIndirectLevels(ctx)) {
    throw new FsError(Errno.ENOSPC, `the index of directory inode ${dir.ino} is full`);
  }
  const root = cursor.frame(0);
  const lblk = directoryBlocks(ctx, dir);
  initIndexNode(ctx, dir, appendBeside(ctx, dir, leaf), root, 0);
  modifyIndexBlock(ctx, dir, root.lblk, root.block);
  raiseIndexRoot(root.block, lblk);
}

function splitNode(ctx: WriteContext, dir: Inode, level: number, leaf: CachedBlock): void {
  const frame = cursor.frame(level);
  const kept = frame.count >>> 1;
  const lblk = directoryBlocks(ctx, dir);
  insertIndexEntry(ctx, dir, cursor.frame(level - 1), dxHash(frame.view, frame.entriesAt, kept), lblk);
  initIndexNode(ctx, dir, appendBeside(ctx, dir, leaf), frame, kept);
  modifyIndexBlock(ctx, dir, frame.lblk, frame.block);
  truncateIndex(frame.block, frame.entriesAt, kept);
}

/** Moves the upper half of the leaf's names, by hash and by the bytes that they take, to a new leaf. */
function splitLeaf(ctx: WriteContext, dir: Inode, leaf: CachedBlock): void {
  sortNames(ctx, leaf);
  checkHashes(dir);
  const { major, offset, order, count } = names;
  const split = splitPoint(ctx, leaf);
  const boundary = major[order[split]];
  const isContinued = major[order[split - 1]] === boundary;
  const lblk = directoryBlocks(ctx, dir);
  insertIndexEntry(ctx, dir, cursor.frame(cursor.levels - 1), boundary + (isContinued ? 1 : 0), lblk);
  const upper = appendBeside(ctx, dir, leaf);
  initLeaf(ctx, dir, upper);
  modifyLeaf(ctx, dir, leaf);
  chain.open(upper, 0, leafEnd(ctx), ctx.blockSize);
  chain.take(leaf, offset, order, split, count);
  chain.open(leaf, 0, leafEnd(ctx), ctx.blockSize);
  chain.pack();
}

function sortNames(ctx: WriteContext, leaf: CachedBlock): void {
  const { bytes, view } = leaf;
  names.clear();
  chain.open(leaf, 0, leafEnd(ctx), ctx.blockSize);
  for (let at = 0; at < chain.end; at = chain.next(at)) {
    if (direntInode(view, at) === 0) continue;
    const nameAt = at + DIRENT.name;
    hashName(cursor.hashVersion, ctx.superblock.hashSeed, bytes, nameAt, nameAt + direntNameLen(view, at), hash);
    names.add(hash.major, 0, 0, at);
  }
  names.sort();
}

/** Names that don't belong into the leaf would put the new boundary out of order. */
function checkHashes(dir: Inode): void {
  const { major, order, count } = names;
  const lowest = major[order[0]];
  const highest = major[order[count - 1]];
  const lower = (cursor.lowerHash & ~1) >>> 0;
  if (lowest >= lower && highest < cursor.upperHash) return;
  const hashes = `0x${lowest.toString(16)} to 0x${highest.toString(16)}`;
  const finding = `${count} names of hashes ${hashes} in leaf ${cursor.leafLblk}`;
  throw new CorruptionError('directory index', finding, { inode: dir.ino });
}

/**
 * How many names stay: those of the highest hashes go as long as they fill no more than half a block. Each half
 * then has room for a name of any length.
 */
function splitPoint(ctx: WriteContext, leaf: CachedBlock): number {
  const { offset, order, count } = names;
  let movedBytes = 0;
  for (let index = count - 1; index >= 0; index--) {
    const size = direntSize(direntNameLen(leaf.view, offset[order[index]]));
    if (movedBytes + size / 2 > ctx.blockSize / 2) return index + 1;
    movedBytes += size;
  }
  return count >>> 1;
}
