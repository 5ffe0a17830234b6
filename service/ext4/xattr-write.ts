/** Setting and removing extended attributes as users name them. */
import { Errno } from '../../shared/errno.ts';
import { setAccessControlList } from './acl-write.ts';
import { FsError } from './errors.ts';
import type { Inode } from './inode.ts';
import { XATTR_VALUE_MAX, XattrIndex } from './layout/xattr.ts';
import type { WriteContext } from './write-context.ts';
import { type NamePrefix, prefixOfName } from './xattr-names.ts';
import { hasStored, putStored, releaseStored, removeStored } from './xattr-store.ts';

/** Flags of setxattr(2). */
export const XattrFlag = Object.freeze({ CREATE: 1, REPLACE: 2 });

const NAME_BYTES_MAX = 255;

/** Sets the attribute with this full name. Throws EEXIST, ENODATA, ERANGE, E2BIG, EOPNOTSUPP or ENOSPC. */
export function setXattr(ctx: WriteContext, inode: Inode, name: Uint8Array, value: Uint8Array, flags: number): void {
  const prefix = requirePrefix(name);
  if (value.length > XATTR_VALUE_MAX) throw new FsError(Errno.E2BIG, `an attribute of ${value.length} bytes`);
  if ((flags & ~(XattrFlag.CREATE | XattrFlag.REPLACE)) !== 0) throw new FsError(Errno.EINVAL, `flags ${flags}`);
  const suffix = name.subarray(prefix.bytes.length);
  if (flags !== 0) requirePresence(hasStored(ctx, inode, prefix.index, suffix), flags);
  if (isAcl(prefix)) setAccessControlList(ctx, inode, prefix.index, value);
  else putStored(ctx, inode, prefix.index, suffix, value);
}

/**
 * Throws ENODATA when there is no such attribute, except for access control lists: no list is what was asked for.
 * Returns whether anything changed.
 */
export function removeXattr(ctx: WriteContext, inode: Inode, name: Uint8Array): boolean {
  const prefix = requirePrefix(name);
  const wasThere = removeStored(ctx, inode, prefix.index, name.subarray(prefix.bytes.length));
  if (!wasThere && !isAcl(prefix)) throw new FsError(Errno.ENODATA, 'no such attribute');
  return wasThere;
}

/** The inode is being deleted. Releases as much as one handle should; true when nothing is left. */
export const releaseXattrs = (ctx: WriteContext, inode: Inode): boolean => releaseStored(ctx, inode);

const isAcl = (prefix: NamePrefix): boolean =>
  prefix.index === XattrIndex.POSIX_ACL_ACCESS || prefix.index === XattrIndex.POSIX_ACL_DEFAULT;

function requirePrefix(name: Uint8Array): NamePrefix {
  const prefix = prefixOfName(name);
  if (prefix === null) throw new FsError(Errno.EOPNOTSUPP, 'attribute name of unknown kind');
  const suffixBytes = name.length - prefix.bytes.length;
  if (suffixBytes === 0 && !prefix.isWhole) throw new FsError(Errno.EINVAL, 'attribute name ends with its prefix');
  if (suffixBytes > NAME_BYTES_MAX) throw new FsError(Errno.ERANGE, `attribute name of ${name.length} bytes`);
  return prefix;
}

function requirePresence(isPresent: boolean, flags: number): void {
  if (isPresent && (flags & XattrFlag.CREATE) !== 0) throw new FsError(Errno.EEXIST, 'the attribute exists');
  if (!isPresent && (flags & XattrFlag.REPLACE) !== 0) throw new FsError(Errno.ENODATA, 'no such attribute');
}
