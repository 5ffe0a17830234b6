/** Attribute blocks. Several inodes may share one: it is then copied before it is changed. */
import { putU32le, u32le } from '../../shared/bytes.ts';
import { BlockCheck, BlockRole, type CachedBlock } from './buffer-cache.ts';
import type { Ext4Context } from './context.ts';
import type { Inode } from './inode.ts';
import { XATTR_HEADER, XATTR_MAGIC } from './layout/xattr.ts';
import { hasExtents } from './map-write.ts';
import type { WriteContext } from './write-context.ts';
import { blockHash, entriesSize, readEntries, type StoredXattr, sortEntries, writeEntries } from './xattr-entries.ts';
import { addValueReference } from './xattr-inode-write.ts';
import { XattrRegion, xattrBlockChecksum } from './xattr-region.ts';

const region = new XattrRegion();

export const readBlockEntries = (ctx: Ext4Context, inode: Inode): StoredXattr[] =>
  region.openBlock(ctx, inode) ? readEntries(region) : [];

export const fitIntoBlock = (ctx: Ext4Context, entries: readonly StoredXattr[]): boolean =>
  XATTR_HEADER.SIZE + entriesSize(entries) <= ctx.blockSize;

/** Makes `entries`, which must fit, the content of the inode's attribute block. Without any the block goes. */
export function writeBlockEntries(ctx: WriteContext, inode: Inode, entries: StoredXattr[]): void {
  if (entries.length === 0) {
    releaseXattrBlock(ctx, inode);
    return;
  }
  const block = ownBlock(ctx, inode);
  sortEntries(entries);
  const { bytes, view } = block;
  putU32le(view, XATTR_HEADER.h_magic, XATTR_MAGIC);
  putU32le(view, XATTR_HEADER.h_refcount, 1);
  putU32le(view, XATTR_HEADER.h_blocks, 1);
  writeEntries(bytes, view, XATTR_HEADER.SIZE, ctx.blockSize, 0, entries, true);
  putU32le(view, XATTR_HEADER.h_hash, blockHash(view, XATTR_HEADER.SIZE));
}

/** The inode's attribute block, ready for changes and shared with nobody. */
function ownBlock(ctx: WriteContext, inode: Inode): CachedBlock {
  if (inode.xattrBlock !== 0) {
    const block = ctx.cache.get(inode.xattrBlock);
    if (u32le(block.view, XATTR_HEADER.h_refcount) === 1) return changing(ctx, block);
    // The copy refers to the values' inodes as well.
    for (const entry of readBlockEntries(ctx, inode)) {
      if (entry.valueInode !== 0) addValueReference(ctx, entry.valueInode);
    }
    releaseXattrBlock(ctx, inode);
  }
  ctx.inodes.modify(inode);
  inode.xattrBlock = ctx.blocks.allocateMetadata(ctx.blocks.goalFor(inode), false, hasExtents(inode));
  inode.allocatedBlocks512 += ctx.blockSize / 512;
  const block = ctx.handle.fresh(inode.xattrBlock);
  block.role = BlockRole.XATTR_BLOCK;
  block.checked |= BlockCheck.XATTR_BLOCK;
  return block;
}

function changing(ctx: WriteContext, block: CachedBlock): CachedBlock {
  ctx.handle.modify(block);
  block.role = BlockRole.XATTR_BLOCK;
  return block;
}

/** The inode lets go of its attribute block, if it has one. */
export function releaseXattrBlock(ctx: WriteContext, inode: Inode): void {
  if (inode.xattrBlock === 0) return;
  region.openBlock(ctx, inode);
  const block = ctx.cache.get(inode.xattrBlock);
  const references = u32le(block.view, XATTR_HEADER.h_refcount);
  ctx.inodes.modify(inode);
  if (references > 1) putU32le(changing(ctx, block).view, XATTR_HEADER.h_refcount, references - 1);
  else ctx.blocks.freeMetadata(inode.xattrBlock, 1);
  inode.xattrBlock = 0;
  inode.allocatedBlocks512 = Math.max(0, inode.allocatedBlocks512 - ctx.blockSize / 512);
}

/** True when the attribute block belongs to this inode alone, and so do the values that it refers to. */
export function isBlockShared(ctx: Ext4Context, inode: Inode): boolean {
  if (inode.xattrBlock === 0) return false;
  return u32le(ctx.cache.get(inode.xattrBlock).view, XATTR_HEADER.h_refcount) > 1;
}

export function sealXattrBlock(ctx: Ext4Context, block: CachedBlock): void {
  if (ctx.checksum.enabled) putU32le(block.view, XATTR_HEADER.h_checksum, xattrBlockChecksum(ctx, block));
}
