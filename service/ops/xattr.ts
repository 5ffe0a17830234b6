import { Errno } from '../../shared/errno.ts';
import { Compat } from '../ext4/layout/features.ts';
import { GETXATTR_IN } from '../fuse/abi.ts';
import type { Reply } from '../fuse/reply.ts';
import type { Request } from '../fuse/request.ts';
import type { Engine } from './engine.ts';
import { inodeOf } from './nodes.ts';

/** The kernel asks for no more than this. */
export const XATTR_BYTES_MAX = 64 * 1024;

const TRUSTED = new TextEncoder().encode('trusted.');
const POSIX_ACL = new TextEncoder().encode('system.posix_acl_');
const POSIX_ACL_ACCESS = new TextEncoder().encode('system.posix_acl_access');

/** GETXATTR. Without the feature the answer is the same for ever: ENOSYS makes the kernel stop asking. */
export function getxattr(engine: Engine, posixAcl: boolean, request: Request, reply: Reply): number {
  if (!engine.superblock.hasCompat(Compat.EXT_ATTR)) return Errno.ENOSYS;
  const name = request.name();
  // As the kernel's ext4 with noacl. Programs like ls ask once and believe it for the whole mount.
  if (!posixAcl && isPosixAcl(name)) return Errno.EOPNOTSUPP;
  const value = engine.getXattr(inodeOf(engine, request.nodeId), name);
  return value === null ? Errno.ENODATA : answer(value, request, reply);
}

/**
 * LISTXATTR. As in the kernel's ext4, only the superuser gets to see that "trusted." attributes exist, and
 * nobody sees access control lists without the mount option acl.
 */
export function listxattr(engine: Engine, posixAcl: boolean, request: Request, reply: Reply): number {
  if (!engine.superblock.hasCompat(Compat.EXT_ATTR)) return Errno.ENOSYS;
  const names = engine.listXattrs(inodeOf(engine, request.nodeId));
  if (request.uid === 0 && posixAcl) return answer(names, request, reply);
  return answer(visibleNames(names, request.uid === 0, posixAcl), request, reply);
}

/** A size of 0 asks how large the value is. */
function answer(value: Uint8Array, request: Request, reply: Reply): number {
  if (value.length > XATTR_BYTES_MAX) return Errno.E2BIG;
  const sizeBytes = request.u32(GETXATTR_IN.size);
  if (sizeBytes === 0) {
    reply.xattrSize(value.length);
    return Errno.OK;
  }
  if (value.length > sizeBytes || value.length > reply.capacityBytes) return Errno.ERANGE;
  reply.data(value);
  return Errno.OK;
}

function visibleNames(names: Uint8Array, trusted: boolean, posixAcl: boolean): Uint8Array {
  const kept = new Uint8Array(names.length);
  let length = 0;
  for (let start = 0; start < names.length; ) {
    const end = endOfName(names, start);
    const isHidden =
      (!trusted && startsWith(names, start, TRUSTED)) || (!posixAcl && startsWith(names, start, POSIX_ACL));
    if (!isHidden) {
      kept.set(names.subarray(start, end), length);
      length += end - start;
    }
    start = end;
  }
  return kept.subarray(0, length);
}

/** Position after the NUL that ends the name at `start`. */
function endOfName(names: Uint8Array, start: number): number {
  const nul = names.indexOf(0, start);
  return nul < 0 ? names.length : nul + 1;
}

export const isPosixAcl = (name: Uint8Array): boolean => startsWith(name, 0, POSIX_ACL);

export const isAccessList = (name: Uint8Array): boolean => startsWith(name, 0, POSIX_ACL_ACCESS);

function startsWith(names: Uint8Array, at: number, prefix: Uint8Array): boolean {
  return prefix.every((byte, index) => names[at + index] === byte);
}
