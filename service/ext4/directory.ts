/**
 * Directories: finding a name and listing the names. Which way depends on the directory: through its
 * hash index, block by block, or inside the inode.
 */
import type { Ext4Context } from './context.ts';
import { readInHashOrder } from './directory-hash-order.ts';
import { readLinearDirectory } from './directory-linear.ts';
import { FoundEntry, findEntry, isDotName } from './directory-search.ts';
import type { DirectorySink } from './directory-sink.ts';
import { CorruptionError, IncompatibleError } from './errors.ts';
import { findInInlineDirectory, readInlineDirectory } from './inline-directory.ts';
import type { Inode } from './inode.ts';
import { direntInode } from './layout/dirent.ts';
import { InodeFlag, SpecialInode } from './layout/inode.ts';

const found = new FoundEntry();

/** The inode number behind the name in name[start, end), 0 when there is none. */
export function lookup(ctx: Ext4Context, dir: Inode, name: Uint8Array, start: number, end: number): number {
  requirePlainNames(dir);
  const ino = dir.hasFlag(InodeFlag.INLINE_DATA)
    ? findInInlineDirectory(ctx, dir, name, start, end)
    : inodeInBlocks(ctx, dir, name, start, end);
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

function inodeInBlocks(ctx: Ext4Context, dir: Inode, name: Uint8Array, start: number, end: number): number {
  if (!findEntry(ctx, dir, name, start, end, found)) return 0;
  return direntInode(found.block.view, found.at);
}

/** Encrypted names are no names without their key; case-insensitive ones need Unicode tables. */
export function requirePlainNames(dir: Inode): void {
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
