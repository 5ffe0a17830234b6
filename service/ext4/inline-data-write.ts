/** Writing data kept inside the inode; see inline-data.ts for its two places. */
import type { Ext4Context } from './context.ts';
import type { Inode } from './inode.ts';
import { INODE, InodeFlag } from './layout/inode.ts';
import { XattrIndex, xattrEntrySize } from './layout/xattr.ts';
import type { WriteContext } from './write-context.ts';
import { entriesSize, indexOfEntry, type StoredXattr } from './xattr-entries.ts';
import { bodyCapacityBytes, readBodyEntries, writeBodyEntries } from './xattr-inode-body.ts';

const DATA_NAME = Uint8Array.from('data', (letter) => letter.charCodeAt(0));
const VALUE_ALIGNMENT = 4;

/** Most bytes that the inode can hold beside the attributes that it has now; 0 when it can hold none. */
export function inlineCapacityBytes(ctx: Ext4Context, inode: Inode): number {
  const others = withoutData(readBodyEntries(ctx, inode));
  const room = bodyCapacityBytes(ctx, inode) - entriesSize(others) - xattrEntrySize(DATA_NAME.length);
  return room < 0 ? 0 : INODE.I_BLOCK_SIZE + room - (room % VALUE_ALIGNMENT);
}

/** Makes `bytes`, which must fit, the inline data of the inode. Its size is the caller's. */
export function writeInlineData(ctx: WriteContext, inode: Inode, bytes: Uint8Array): void {
  ctx.inodes.modify(inode);
  inode.flags = (inode.flags | InodeFlag.INLINE_DATA) & ~InodeFlag.EXTENTS;
  clearHead(ctx, inode).set(bytes.subarray(0, INODE.I_BLOCK_SIZE));
  const value = bytes.slice(INODE.I_BLOCK_SIZE);
  const data: StoredXattr = {
    index: XattrIndex.SYSTEM,
    name: DATA_NAME,
    value,
    valueInode: 0,
    valueSize: value.length,
    hash: 0,
  };
  writeBodyEntries(ctx, inode, [...withoutData(readBodyEntries(ctx, inode)), data]);
}

/** Leaves an inode without data and without a block map. */
export function removeInlineData(ctx: WriteContext, inode: Inode): void {
  ctx.inodes.modify(inode);
  inode.flags &= ~InodeFlag.INLINE_DATA;
  clearHead(ctx, inode);
  writeBodyEntries(ctx, inode, withoutData(readBodyEntries(ctx, inode)));
}

function withoutData(entries: StoredXattr[]): StoredXattr[] {
  const at = indexOfEntry(entries, XattrIndex.SYSTEM, DATA_NAME);
  if (at >= 0) entries.splice(at, 1);
  return entries;
}

/** i_block, zeroed. */
function clearHead(ctx: WriteContext, inode: Inode): Uint8Array {
  const start = inode.tableOffset + INODE.i_block;
  const head = ctx.cache.get(inode.tableBlock).bytes.subarray(start, start + INODE.I_BLOCK_SIZE);
  head.fill(0);
  return head;
}
