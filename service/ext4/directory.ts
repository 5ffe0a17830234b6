/**
 * Directories: finding a name and listing the names. Which way depends on the directory: through its
 * hash index, block by block, or inside the inode.
 */
import type { Ext4Context } from './context.ts';
import {
  blocksToScan,
  directoryBlock,
  directoryBlocks,
  endOfHole,
  findInBlock,
  isIndexed,
  letBlocksGo,
} from './directory-block.ts';
import { readInHashOrder } from './directory-hash-order.ts';
import { readLinearDirectory } from './directory-linear.ts';
import type { DirectorySink } from './directory-sink.ts';
import { hashName, NameHash } from './dirhash.ts';
import { CorruptionError, IncompatibleError } from './errors.ts';
import { IndexCursor, indexLeaf } from './htree.ts';
import { findInInlineDirectory, readInlineDirectory } from './inline-directory.ts';
import type { Inode } from './inode.ts';
import { InodeFlag, SpecialInode } from './layout/inode.ts';

const cursor = new IndexCursor();
const hash = new NameHash();

/** The inode number behind the name in name[start, end), 0 when there is none. */
export function lookup(ctx: Ext4Context, dir: Inode, name: Uint8Array, start: number, end: number): number {
  requirePlainNames(dir);
  const ino = dir.hasFlag(InodeFlag.INLINE_DATA)
    ? findInInlineDirectory(ctx, dir, name, start, end)
    : findInBlocks(ctx, dir, name, start, end);
  if (ino !== 0) checkTarget(ctx, dir, ino, name, start, end);
  return ino;
}

/**
 * Gives the entries from the cookie on to the sink, until it is full or the directory ends. The cookie
 * is 0 or one that was handed out with an entry; directory-hash-order.ts and directory-linear.ts say
 * what it is made of. When this throws, the entries delivered before are sound.
 */
export function readDirectory(
  ctx: Ext4Context,
  dir: Inode,
  cookieHigh: number,
  cookieLow: number,
  sink: DirectorySink,
): void {
  requirePlainNames(dir);
  if (readInHashOrder(ctx, dir, cookieHigh, cookieLow, sink)) return;
  if (dir.hasFlag(InodeFlag.INLINE_DATA)) readInlineDirectory(ctx, dir, cookieHigh, cookieLow, sink);
  else readLinearDirectory(ctx, dir, cookieHigh, cookieLow, sink);
}

/** Encrypted names are no names without their key; case-insensitive ones need Unicode tables. */
function requirePlainNames(dir: Inode): void {
  if (dir.hasFlag(InodeFlag.ENCRYPT)) throw new IncompatibleError(`directory inode ${dir.ino} is encrypted`);
  if (dir.hasFlag(InodeFlag.CASEFOLD)) throw new IncompatibleError(`directory inode ${dir.ino} is case-insensitive`);
}

/** A name leads to the root or an ordinary inode, and only "." and ".." may lead to the directory itself. */
function checkTarget(ctx: Ext4Context, dir: Inode, ino: number, name: Uint8Array, start: number, end: number): void {
  const reserved = ino < ctx.superblock.firstInode && ino !== SpecialInode.ROOT;
  if (reserved || ino > ctx.superblock.inodesCount) {
    throw new CorruptionError('directory', `entry leads to inode ${ino}`, { inode: dir.ino });
  }
  if (ino === dir.ino && !isDotName(name, start, end)) {
    throw new CorruptionError('directory', 'entry leads to the directory itself', { inode: dir.ino });
  }
}

const DOT = 0x2e;

function isDotName(name: Uint8Array, start: number, end: number): boolean {
  const length = end - start;
  if (length < 1 || length > 2) return false;
  return name[start] === DOT && name[end - 1] === DOT;
}

function findInBlocks(ctx: Ext4Context, dir: Inode, name: Uint8Array, start: number, end: number): number {
  if (isDotName(name, start, end)) return scanRange(ctx, dir, Math.min(1, directoryBlocks(ctx, dir)), name, start, end);
  if (isIndexed(ctx, dir) && cursor.open(ctx, dir)) {
    hashName(cursor.hashVersion, ctx.superblock.hashSeed, name, start, end, hash);
    if (cursor.seek(ctx, dir, hash.major)) return scanLeaves(ctx, dir, name, start, end);
  }
  return scanRange(ctx, dir, blocksToScan(ctx, dir), name, start, end);
}

/** Scans the leaf under the cursor, and those that follow as long as they go on with the same hash. */
function scanLeaves(ctx: Ext4Context, dir: Inode, name: Uint8Array, start: number, end: number): number {
  const continuation = hash.major + 1;
  for (;;) {
    const ino = findInBlock(indexLeaf(ctx, dir, cursor.leafLblk), name, start, end);
    if (ino !== 0 || cursor.upperHash !== continuation || !cursor.next(ctx, dir)) return ino;
  }
}

function scanRange(ctx: Ext4Context, dir: Inode, blocks: number, name: Uint8Array, start: number, end: number): number {
  for (let lblk = 0; lblk < blocks; ) {
    const block = directoryBlock(ctx, dir, lblk);
    if (block === null) {
      lblk = endOfHole(ctx, dir, lblk);
      continue;
    }
    const ino = findInBlock(block, name, start, end);
    if (ino !== 0) return ino;
    letBlocksGo(ctx, lblk);
    lblk++;
  }
  return 0;
}
