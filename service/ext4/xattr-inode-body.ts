/** The attributes inside an inode: what room there is for them, and writing them. */
import { putU32le } from '../../shared/bytes.ts';
import type { Ext4Context } from './context.ts';
import type { Inode } from './inode.ts';
import { INODE } from './layout/inode.ts';
import { XATTR_ENTRY, XATTR_INODE_HEADER_SIZE, XATTR_MAGIC } from './layout/xattr.ts';
import type { WriteContext } from './write-context.ts';
import { entriesSize, readEntries, type StoredXattr, writeEntries } from './xattr-entries.ts';
import { XattrRegion } from './xattr-region.ts';

const region = new XattrRegion();

/** Bytes for entries and values; 0 when the inode has no such place. */
export function bodyCapacityBytes(ctx: Ext4Context, inode: Inode): number {
  if (inode.extraSizeBytes === 0) return 0;
  const room = ctx.superblock.inodeSizeBytes - INODE.BASE_SIZE - inode.extraSizeBytes - XATTR_INODE_HEADER_SIZE;
  return room < XATTR_ENTRY.END_MARK_SIZE ? 0 : room;
}

export const readBodyEntries = (ctx: Ext4Context, inode: Inode): StoredXattr[] =>
  region.openInode(ctx, inode) ? readEntries(region) : [];

export const fitIntoBody = (ctx: Ext4Context, inode: Inode, entries: readonly StoredXattr[]): boolean =>
  entries.length === 0 || entriesSize(entries) <= bodyCapacityBytes(ctx, inode);

/** The entries must fit. */
export function writeBodyEntries(ctx: WriteContext, inode: Inode, entries: readonly StoredXattr[]): void {
  if (bodyCapacityBytes(ctx, inode) === 0) return;
  ctx.inodes.modify(inode);
  const { bytes, view } = ctx.cache.get(inode.tableBlock);
  const headerAt = inode.tableOffset + INODE.BASE_SIZE + inode.extraSizeBytes;
  const entriesAt = headerAt + XATTR_INODE_HEADER_SIZE;
  const end = inode.tableOffset + ctx.superblock.inodeSizeBytes;
  writeEntries(bytes, view, entriesAt, end, entriesAt, entries, false);
  putU32le(view, headerAt, entries.length === 0 ? 0 : XATTR_MAGIC);
}
