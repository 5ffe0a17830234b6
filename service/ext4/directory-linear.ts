/**
 * Listing a directory block by block. A cookie is the byte offset of the next entry; an offset that
 * points inside an entry, because its neighbour has been deleted and merged since, stands for the
 * entry that follows.
 */
import type { CachedBlock } from './buffer-cache.ts';
import type { Ext4Context } from './context.ts';
import { blocksToScan, directoryBlock, endOfHole, letBlocksGo } from './directory-block.ts';
import { LINEAR_WINDOW_BYTES, readAheadDirectory } from './directory-readahead.ts';
import type { DirectorySink } from './directory-sink.ts';
import { entryFileType } from './entry-file-type.ts';
import type { Inode } from './inode.ts';
import { DIRENT, direntInode, direntNameLen, direntRecLen } from './layout/dirent.ts';

const TWO_POW_32 = 2 ** 32;

export function readLinearDirectory(
  ctx: Ext4Context,
  dir: Inode,
  cookieHigh: number,
  cookieLow: number,
  sink: DirectorySink,
): void {
  const blocks = blocksToScan(ctx, dir);
  const windowBlocks = LINEAR_WINDOW_BYTES / ctx.blockSize;
  const start = cookieHigh * TWO_POW_32 + cookieLow;
  let offset = start % ctx.blockSize;
  for (let lblk = Math.floor(start / ctx.blockSize); lblk < blocks; ) {
    if (offset === 0 && lblk % windowBlocks === 0) readAheadDirectory(ctx, dir, lblk, LINEAR_WINDOW_BYTES);
    const block = directoryBlock(ctx, dir, lblk);
    if (block !== null && !deliverBlock(ctx, block, lblk, offset, sink)) return;
    letBlocksGo(ctx, lblk);
    lblk = block === null ? endOfHole(ctx, dir, lblk) : lblk + 1;
    offset = 0;
  }
}

/** Delivers a verified block's entries that start at `offset` or later; false when the sink is full. */
function deliverBlock(
  ctx: Ext4Context,
  block: CachedBlock,
  lblk: number,
  offset: number,
  sink: DirectorySink,
): boolean {
  const { bytes, view } = block;
  const base = lblk * ctx.blockSize;
  for (let at = 0; at < bytes.length; ) {
    const next = at + direntRecLen(view, at, ctx.blockSize);
    const ino = direntInode(view, at);
    if (at >= offset && ino !== 0) {
      const nameAt = at + DIRENT.name;
      const nameEnd = nameAt + direntNameLen(view, at);
      const cookie = base + next;
      const high = Math.floor(cookie / TWO_POW_32);
      if (!sink.entry(ino, entryFileType(ctx, view, at), bytes, nameAt, nameEnd, high, cookie >>> 0)) return false;
    }
    at = next;
  }
  return true;
}
