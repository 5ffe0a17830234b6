/** POSIX ACLs of inodes: setting them, and keeping them and the mode in step (kernel: fs/posix_acl.c). */
import { Errno } from '../../shared/errno.ts';
import {
  type AclEntry,
  AclTag,
  accessControlListEntries,
  accessControlListFromUser,
  accessControlListToDisk,
} from './acl.ts';
import { FsError } from './errors.ts';
import type { Inode } from './inode.ts';
import { FileType } from './layout/inode.ts';
import { XattrIndex } from './layout/xattr.ts';
import type { WriteContext } from './write-context.ts';
import { putStored, readStored, removeStored } from './xattr-store.ts';

const NO_SUFFIX = new Uint8Array(0);
const PERMISSIONS = 0o777;

/** `index` says which list; `value` is in the form that users exchange. A list that the mode can say is not kept. */
export function setAccessControlList(ctx: WriteContext, inode: Inode, index: number, value: Uint8Array): void {
  if (inode.isSymlink) throw new FsError(Errno.EOPNOTSUPP, 'symbolic links have no ACL');
  const entries = accessControlListFromUser(value);
  if (index === XattrIndex.POSIX_ACL_DEFAULT) {
    if (!inode.isDirectory && entries.length > 0) {
      throw new FsError(Errno.EACCES, `inode ${inode.ino} is no directory`);
    }
    storeList(ctx, inode, index, entries);
    return;
  }
  if (entries.length === 0) {
    removeStored(ctx, inode, index, NO_SUFFIX);
    return;
  }
  ctx.inodes.modify(inode);
  inode.mode = (inode.mode & ~PERMISSIONS) | modeOf(entries);
  storeList(ctx, inode, index, isMinimal(entries) ? [] : entries);
}

/** The mode was changed: the access list says the same from now on. */
export function changeModeInAcl(ctx: WriteContext, inode: Inode, mode: number): void {
  if (!ctx.posixAcl || inode.isSymlink) return;
  const entries = readList(ctx, inode, XattrIndex.POSIX_ACL_ACCESS);
  if (entries.length === 0) return;
  const hasMask = entries.some((entry) => entry.tag === AclTag.MASK);
  for (const entry of entries) {
    if (entry.tag === AclTag.USER_OBJ) entry.perm = (mode >>> 6) & 7;
    else if (entry.tag === AclTag.OTHER) entry.perm = mode & 7;
    else if (entry.tag === (hasMask ? AclTag.MASK : AclTag.GROUP_OBJ)) entry.perm = (mode >>> 3) & 7;
  }
  storeList(ctx, inode, XattrIndex.POSIX_ACL_ACCESS, entries);
}

/**
 * A new inode takes over its directory's default list, which then replaces the umask. Returns the mode to give
 * it (kernel: posix_acl_create).
 */
export function inheritAcls(ctx: WriteContext, dir: Inode, inode: Inode, mode: number, umask: number): number {
  if ((mode & FileType.MASK) === FileType.SYMLINK) return mode;
  const inherited = ctx.posixAcl ? readList(ctx, dir, XattrIndex.POSIX_ACL_DEFAULT) : [];
  if (inherited.length === 0) return mode & ~(umask & PERMISSIONS);
  const access = inherited.map((entry) => ({ ...entry }));
  restrict(access, mode);
  if (!isMinimal(access)) storeList(ctx, inode, XattrIndex.POSIX_ACL_ACCESS, access);
  if ((mode & FileType.MASK) === FileType.DIRECTORY) storeList(ctx, inode, XattrIndex.POSIX_ACL_DEFAULT, inherited);
  return (mode & ~PERMISSIONS) | modeOf(access);
}

/** Takes from owner, mask (else owning group) and others what the mode asked for does not give. */
function restrict(entries: readonly AclEntry[], mode: number): void {
  const hasMask = entries.some((entry) => entry.tag === AclTag.MASK);
  for (const entry of entries) {
    if (entry.tag === AclTag.USER_OBJ) entry.perm &= mode >>> 6;
    else if (entry.tag === AclTag.OTHER) entry.perm &= mode;
    else if (entry.tag === (hasMask ? AclTag.MASK : AclTag.GROUP_OBJ)) entry.perm &= mode >>> 3;
  }
}

/** Permission bits of the mode that belong to the list: the group's are those of the mask where there is one. */
function modeOf(entries: readonly AclEntry[]): number {
  const permOf = (tag: number): number => entries.find((entry) => entry.tag === tag)?.perm ?? 0;
  const hasMask = entries.some((entry) => entry.tag === AclTag.MASK);
  const group = permOf(hasMask ? AclTag.MASK : AclTag.GROUP_OBJ);
  return (permOf(AclTag.USER_OBJ) << 6) | (group << 3) | permOf(AclTag.OTHER);
}

/** Owner, owning group, others and nothing else: the mode says the same. */
const isMinimal = (entries: readonly AclEntry[]): boolean => entries.length === 3;

function readList(ctx: WriteContext, inode: Inode, index: number): AclEntry[] {
  const disk = readStored(ctx, inode, index, NO_SUFFIX);
  return disk === null ? [] : accessControlListEntries(disk, inode.ino);
}

function storeList(ctx: WriteContext, inode: Inode, index: number, entries: readonly AclEntry[]): void {
  if (entries.length === 0) removeStored(ctx, inode, index, NO_SUFFIX);
  else putStored(ctx, inode, index, NO_SUFFIX, accessControlListToDisk(entries));
}
