/** Extended attributes as users name them. */
import { Errno } from '../../shared/errno.ts';
import { accessControlListToUser } from './acl.ts';
import type { Ext4Context } from './context.ts';
import { FsError } from './errors.ts';
import type { Inode } from './inode.ts';
import {
  XATTR_ENTRY,
  XattrIndex,
  xattrIsEnd,
  xattrNameIndex,
  xattrNameLen,
  xattrValueInode,
  xattrValueSize,
} from './layout/xattr.ts';
import { readValueInode } from './xattr-inode.ts';
import { type NamePrefix, prefixOfIndex, prefixOfName } from './xattr-names.ts';
import { XattrRegion } from './xattr-region.ts';

const region = new XattrRegion();

/**
 * The value of the attribute with this full name ("user.x"), null when the inode has none. ACLs come in
 * the form that user space knows. Throws FsError for names that this file system never has.
 */
export function getXattr(ctx: Ext4Context, inode: Inode, name: Uint8Array): Uint8Array | null {
  const prefix = prefixOfName(name);
  if (prefix === null) throw new FsError(Errno.EOPNOTSUPP, 'attribute name of unknown kind');
  const start = prefix.bytes.length;
  if (start === name.length && !prefix.isWhole) throw new FsError(Errno.EINVAL, 'attribute name ends with its prefix');
  const entry = findEntry(ctx, inode, prefix.index, name, start);
  if (entry < 0) return null;
  const value = readValue(ctx, inode, entry);
  return isAccessControlList(prefix) ? accessControlListToUser(value, inode.ino) : value;
}

const isAccessControlList = (prefix: NamePrefix): boolean =>
  prefix.index === XattrIndex.POSIX_ACL_ACCESS || prefix.index === XattrIndex.POSIX_ACL_DEFAULT;

/** Leaves `region` at the place where the entry was found. */
function findEntry(ctx: Ext4Context, inode: Inode, index: number, name: Uint8Array, start: number): number {
  const inInode = region.openInode(ctx, inode) ? region.find(index, name, start, name.length) : -1;
  if (inInode >= 0) return inInode;
  return region.openBlock(ctx, inode) ? region.find(index, name, start, name.length) : -1;
}

function readValue(ctx: Ext4Context, inode: Inode, entry: number): Uint8Array {
  if (xattrValueInode(region.view, entry) !== 0) return readValueInode(ctx, inode, region, entry);
  const size = xattrValueSize(region.view, entry);
  if (size === 0) return new Uint8Array(0);
  const at = region.valueAt(entry);
  return region.bytes.slice(at, at + size);
}

/**
 * The full names of the inode's attributes, each with a NUL behind it, in storage order. Everything
 * that the kernel can show is in it: hiding trusted names from users without privilege is the caller's.
 */
export function listXattrs(ctx: Ext4Context, inode: Inode): Uint8Array {
  const names = new Uint8Array(listRegions(ctx, inode, null));
  listRegions(ctx, inode, names);
  return names;
}

/** Writes the list, or only measures it when `into` is null. Returns its length. */
function listRegions(ctx: Ext4Context, inode: Inode, into: Uint8Array | null): number {
  let length = 0;
  if (region.openInode(ctx, inode)) length = listEntries(into, length);
  if (region.openBlock(ctx, inode)) length = listEntries(into, length);
  return length;
}

function listEntries(into: Uint8Array | null, startLength: number): number {
  let length = startLength;
  for (let at = region.entriesAt; !xattrIsEnd(region.view, at); at = region.next(at)) {
    const prefix = prefixOfIndex(xattrNameIndex(region.view, at));
    if (prefix === null) continue;
    const nameAt = at + XATTR_ENTRY.e_name;
    const nameLen = xattrNameLen(region.view, at);
    if (into !== null) {
      into.set(prefix.bytes, length);
      into.set(region.bytes.subarray(nameAt, nameAt + nameLen), length + prefix.bytes.length);
    }
    length += prefix.bytes.length + nameLen + 1;
  }
  return length;
}
