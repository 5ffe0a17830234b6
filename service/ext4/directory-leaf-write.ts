/** Changes of verified directory blocks: those of a linear directory, and the leaves of an indexed one. */
import { putU16le, putU32le } from '../../shared/bytes.ts';
import { BlockCheck, BlockRole, type CachedBlock } from './buffer-cache.ts';
import type { Ext4Context } from './context.ts';
import { hasChecksumTail, leafChecksum } from './directory-block.ts';
import { DirentChain, type NewEntry } from './dirent-chain.ts';
import { dotFileType } from './entry-file-type.ts';
import { CorruptionError } from './errors.ts';
import type { Inode } from './inode.ts';
import { DIRENT, DIRENT_TAIL, direntInode, direntSize, putDirentInode, putDirentRecLen } from './layout/dirent.ts';
import type { WriteContext } from './write-context.ts';

const DOT = 0x2e;

const chain = new DirentChain();

/** Where the entries of a directory block end: the checksum's tail follows, or nothing. */
export const leafEnd = (ctx: Ext4Context): number =>
  ctx.checksum.enabled ? ctx.blockSize - DIRENT_TAIL.SIZE : ctx.blockSize;

/** Must precede every change of a directory block. Refuses index blocks, which may pass for empty leaves. */
export function modifyLeaf(ctx: WriteContext, dir: Inode, block: CachedBlock): void {
  if (ctx.checksum.enabled && !hasChecksumTail(block.view, ctx.blockSize)) {
    throw new CorruptionError('directory block', 'no checksum tail', { inode: dir.ino, block: block.blockNr });
  }
  ctx.handle.modify(block);
  claimLeaf(dir, block);
}

/** Names sorted from the block and what it may have been verified as before are void. */
function claimLeaf(dir: Inode, block: CachedBlock): void {
  block.role = BlockRole.DIRECTORY_LEAF;
  block.owner = dir.ino;
  block.ownerGeneration = dir.generation;
  block.checked = BlockCheck.DIRECTORY_LEAF;
}

/** Makes a fresh block, all zeros, a directory block without entries. */
export function initLeaf(ctx: WriteContext, dir: Inode, block: CachedBlock): void {
  claimLeaf(dir, block);
  chain.open(block, 0, leafEnd(ctx), ctx.blockSize);
  chain.clear();
  if (!ctx.checksum.enabled) return;
  putU16le(block.view, chain.end + DIRENT_TAIL.det_rec_len, DIRENT_TAIL.SIZE);
  block.bytes[chain.end + DIRENT_TAIL.det_reserved_ft] = DIRENT_TAIL.RESERVED_FT;
}

/** Writes "." and "..", the latter as long as is said, at the start of a directory's first block. */
export function putDots(ctx: WriteContext, dir: Inode, block: CachedBlock, parentIno: number, dotdotLen: number): void {
  const { bytes, view } = block;
  const type = dotFileType(ctx);
  const dotdot = direntSize(1);
  putDirentInode(view, 0, dir.ino);
  putDirentRecLen(view, 0, dotdot);
  bytes[DIRENT.name_len] = 1;
  bytes[DIRENT.file_type] = type;
  bytes[DIRENT.name] = DOT;
  putDirentInode(view, dotdot, parentIno);
  putDirentRecLen(view, dotdot, dotdotLen);
  bytes[dotdot + DIRENT.name_len] = 2;
  bytes[dotdot + DIRENT.file_type] = type;
  bytes[dotdot + DIRENT.name] = DOT;
  bytes[dotdot + DIRENT.name + 1] = DOT;
}

/** False, with nothing changed, when no stretch of the block is free that is long enough. */
export function insertIntoLeaf(ctx: WriteContext, dir: Inode, block: CachedBlock, entry: NewEntry): boolean {
  chain.open(block, 0, leafEnd(ctx), ctx.blockSize);
  const at = chain.findRoom(entry.sizeBytes);
  if (at < 0) return false;
  modifyLeaf(ctx, dir, block);
  chain.insert(at, entry);
  return true;
}

/**
 * Like `insertIntoLeaf`, and moves the entries together when that makes room: only where no position of a
 * listing depends on their places, in leaves of an index.
 */
export function insertIntoLeafPacking(ctx: WriteContext, dir: Inode, block: CachedBlock, entry: NewEntry): boolean {
  if (insertIntoLeaf(ctx, dir, block, entry)) return true;
  if (chain.end - chain.liveBytes < entry.sizeBytes) return false;
  modifyLeaf(ctx, dir, block);
  chain.pack();
  return insertIntoLeaf(ctx, dir, block, entry);
}

/** Removes the entry at `at`; returns its inode number. */
export function removeFromLeaf(ctx: WriteContext, dir: Inode, block: CachedBlock, at: number): number {
  const ino = direntInode(block.view, at);
  modifyLeaf(ctx, dir, block);
  chain.open(block, 0, leafEnd(ctx), ctx.blockSize);
  chain.remove(at);
  return ino;
}

/** Lets the entry at `at` lead elsewhere; returns the inode number that it led to before. */
export function replaceInLeaf(
  ctx: WriteContext,
  dir: Inode,
  block: CachedBlock,
  at: number,
  ino: number,
  fileType: number,
): number {
  const before = direntInode(block.view, at);
  modifyLeaf(ctx, dir, block);
  putDirentInode(block.view, at, ino);
  block.bytes[at + DIRENT.file_type] = fileType;
  return before;
}

/** Makes the checksum in a changed block's tail. */
export function sealDirectoryLeaf(ctx: Ext4Context, block: CachedBlock): void {
  if (!ctx.checksum.enabled) return;
  const checksum = leafChecksum(ctx.checksum, block.owner, block.ownerGeneration, block.bytes);
  putU32le(block.view, ctx.blockSize - DIRENT_TAIL.SIZE + DIRENT_TAIL.det_checksum, checksum);
}
