import { Errno } from '../../shared/errno.ts';
import { Compat } from '../ext4/layout/features.ts';
import { AttributeChange } from '../ext4/namespace/set-attributes.ts';
import { SETXATTR_IN, SetxattrFlag } from '../fuse/abi.ts';
import type { Request } from '../fuse/request.ts';
import type { WritableEngine } from './engine.ts';
import { inodeOf } from './nodes.ts';
import { isAccessList, isPosixAcl, XATTR_BYTES_MAX } from './xattr.ts';

const SET_GID = 0o2000;

const change = new AttributeChange();

/** SETXATTR. `extended`: the header has flags of the protocol (SETXATTR_EXT). */
export function setxattr(engine: WritableEngine, posixAcl: boolean, extended: boolean, request: Request): number {
  if (!engine.superblock.hasCompat(Compat.EXT_ATTR)) return Errno.ENOSYS;
  if (!request.parseNameAndRest(extended ? SETXATTR_IN.SIZE : SETXATTR_IN.SIZE_COMPAT)) return Errno.EINVAL;
  const sizeBytes = request.u32(SETXATTR_IN.size);
  if (sizeBytes !== request.secondEnd - request.secondStart) return Errno.EINVAL;
  if (sizeBytes > XATTR_BYTES_MAX) return Errno.E2BIG;
  const name = request.name();
  if (!posixAcl && isPosixAcl(name)) return Errno.EOPNOTSUPP;
  const inode = inodeOf(engine, request.nodeId);
  // A copy: the engine may keep it, and the request's buffer is used again.
  engine.setXattr(inode, name, request.second().slice(), request.u32(SETXATTR_IN.flags));
  const mayKillSgid = extended && (request.u32(SETXATTR_IN.setxattr_flags) & SetxattrFlag.ACL_KILL_SGID) !== 0;
  // The kernel asks for it with default lists as well, which have nothing to do with the directory's own mode.
  if (mayKillSgid && isAccessList(name) && (inode.mode & SET_GID) !== 0) {
    change.clear();
    change.mode = inode.mode & ~SET_GID;
    engine.setAttributes(inode, change);
  }
  return Errno.OK;
}

export function removexattr(engine: WritableEngine, posixAcl: boolean, request: Request): number {
  if (!engine.superblock.hasCompat(Compat.EXT_ATTR)) return Errno.ENOSYS;
  const name = request.name();
  if (!posixAcl && isPosixAcl(name)) return Errno.EOPNOTSUPP;
  engine.removeXattr(inodeOf(engine, request.nodeId), name);
  return Errno.OK;
}
