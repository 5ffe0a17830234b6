import { Errno } from '../../shared/errno.ts';
import type { Inode } from '../ext4/inode.ts';
import { InodeFlag } from '../ext4/layout/inode.ts';
import { StatxAttribute } from '../fuse/abi.ts';
import type { Reply } from '../fuse/reply.ts';
import type { Request } from '../fuse/request.ts';
import type { Engine } from './engine.ts';
import { inodeOf } from './nodes.ts';

const STATX_ATTRIBUTES_MASK =
  StatxAttribute.COMPRESSED |
  StatxAttribute.IMMUTABLE |
  StatxAttribute.APPEND |
  StatxAttribute.NODUMP |
  StatxAttribute.ENCRYPTED |
  StatxAttribute.VERITY;

const EXECUTE_ANY = 0o111;
const MAY_WRITE = 2;
const MAY_EXECUTE = 1;

export function getattr(engine: Engine, request: Request, reply: Reply): number {
  reply.attributes(inodeOf(engine, request.nodeId), engine.blockSize);
  return Errno.OK;
}

/** STATX: what GETATTR says, birth time, and the inode flags that statx(2) knows. */
export function statx(engine: Engine, request: Request, reply: Reply): number {
  const inode = inodeOf(engine, request.nodeId);
  reply.statx(inode, engine.blockSize, statxAttributes(inode), STATX_ATTRIBUTES_MASK);
  return Errno.OK;
}

function statxAttributes(inode: Inode): number {
  return (
    (inode.hasFlag(InodeFlag.COMPRESSED) ? StatxAttribute.COMPRESSED : 0) |
    (inode.hasFlag(InodeFlag.IMMUTABLE) ? StatxAttribute.IMMUTABLE : 0) |
    (inode.hasFlag(InodeFlag.APPEND) ? StatxAttribute.APPEND : 0) |
    (inode.hasFlag(InodeFlag.NODUMP) ? StatxAttribute.NODUMP : 0) |
    (inode.hasFlag(InodeFlag.ENCRYPT) ? StatxAttribute.ENCRYPTED : 0) |
    (inode.hasFlag(InodeFlag.VERITY) ? StatxAttribute.VERITY : 0)
  );
}

/**
 * ACCESS, which the kernel sends only when it does not check permissions itself. By mode bits alone:
 * the caller's supplementary groups are not in the request.
 */
export function access(engine: Engine, request: Request, mask: number): number {
  const inode = inodeOf(engine, request.nodeId);
  const wanted = mask & 7;
  if ((wanted & MAY_WRITE) !== 0 && (inode.isRegular || inode.isDirectory || inode.isSymlink)) return Errno.EROFS;
  return (wanted & ~permitted(inode, request.uid, request.gid)) === 0 ? Errno.OK : Errno.EACCES;
}

/** The rwx bits that a caller has. The superuser lacks only execution of what nobody may execute. */
function permitted(inode: Inode, uid: number, gid: number): number {
  if (uid === 0) return inode.isDirectory || (inode.mode & EXECUTE_ANY) !== 0 ? 7 : 7 & ~MAY_EXECUTE;
  if (uid === inode.uid) return (inode.mode >> 6) & 7;
  return (gid === inode.gid ? inode.mode >> 3 : inode.mode) & 7;
}
