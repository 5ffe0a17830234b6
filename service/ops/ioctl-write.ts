import { putU64ne, u32ne, u64ne } from '../../shared/bytes.ts';
import { Errno } from '../../shared/errno.ts';
import type { Inode } from '../ext4/inode.ts';
import { IOCTL_IN } from '../fuse/abi.ts';
import type { Reply } from '../fuse/reply.ts';
import type { Request } from '../fuse/request.ts';
import type { WritableEngine } from './engine.ts';
import { FSXATTR, IoctlCommand, LABEL_BYTES, USER_VISIBLE_FLAGS, XFLAGS } from './ioctl-commands.ts';
import { inodeOf } from './nodes.ts';

const FSTRIM_RANGE = Object.freeze({ start: 0, len: 8, minlen: 16, SIZE: 24 });
const ROOT_UID = 0;

const ALL_XFLAGS = XFLAGS.reduce((sum, [, xflag]) => sum | xflag, 0);
const ALL_FLAGS_OF_XFLAGS = XFLAGS.reduce((sum, [flag]) => sum | flag, 0);

/** True for the commands that `changingIoctl` handles. */
export function isChangingIoctl(command: number): boolean {
  switch (command) {
    case IoctlCommand.SETFLAGS:
    case IoctlCommand.SETFLAGS32:
    case IoctlCommand.SETVERSION:
    case IoctlCommand.SETVERSION32:
    case IoctlCommand.EXT4_SETVERSION:
    case IoctlCommand.EXT4_SETVERSION32:
    case IoctlCommand.FSSETXATTR:
    case IoctlCommand.SETFSLABEL:
    case IoctlCommand.FITRIM:
    case IoctlCommand.SHUTDOWN:
      return true;
    default:
      return false;
  }
}

/**
 * The ioctls that change something. For flags the kernel has checked ownership and privilege; where it passes a
 * command on without a look, only the superuser, or the owner, gets through.
 */
export function changingIoctl(engine: WritableEngine, request: Request, reply: Reply): number {
  const inode = inodeOf(engine, request.nodeId);
  switch (request.u32(IOCTL_IN.cmd)) {
    case IoctlCommand.SETFLAGS:
    case IoctlCommand.SETFLAGS32:
      return setFlags(engine, inode, request, reply);
    case IoctlCommand.FSSETXATTR:
      return setFsxattr(engine, inode, request, reply);
    case IoctlCommand.SETFSLABEL:
      return setLabel(engine, request, reply);
    case IoctlCommand.FITRIM:
      return trim(engine, request, reply);
    case IoctlCommand.SHUTDOWN:
      return shutdown(engine, request, reply);
    default:
      return setVersion(engine, inode, request, reply);
  }
}

/** Where the argument lies in the request's bytes, 0 when there is less of it than `bytes`. */
function argument(bytes: number, request: Request): number {
  const at = request.bodyStart + IOCTL_IN.SIZE;
  return request.u32(IOCTL_IN.in_size) < bytes || at + bytes > request.bodyEnd ? 0 : at;
}

function setFlags(engine: WritableEngine, inode: Inode, request: Request, reply: Reply): number {
  const at = argument(4, request);
  if (at === 0) return Errno.EINVAL;
  engine.setFlags(inode, withVisibleFlags(inode, u32ne(request.view, at)));
  reply.ioctl(0);
  return Errno.OK;
}

/** Programs set what they have been shown, changed: the flags that they never see stay as they are. */
function withVisibleFlags(inode: Inode, flags: number): number {
  return ((inode.flags & ~USER_VISIBLE_FLAGS) | flags) >>> 0;
}

function setFsxattr(engine: WritableEngine, inode: Inode, request: Request, reply: Reply): number {
  const at = argument(FSXATTR.SIZE, request);
  if (at === 0) return Errno.EINVAL;
  const xflags = u32ne(request.view, at + FSXATTR.fsx_xflags);
  if ((xflags & ~ALL_XFLAGS) !== 0) return Errno.EOPNOTSUPP;
  const flags = XFLAGS.reduce((sum, [flag, xflag]) => ((xflags & xflag) === 0 ? sum : sum | flag), 0);
  engine.setProject(inode, u32ne(request.view, at + FSXATTR.fsx_projid));
  engine.setFlags(inode, ((inode.flags & ~ALL_FLAGS_OF_XFLAGS) | flags) >>> 0);
  reply.ioctl(0);
  return Errno.OK;
}

function setVersion(engine: WritableEngine, inode: Inode, request: Request, reply: Reply): number {
  if (request.uid !== ROOT_UID && request.uid !== inode.uid) return Errno.EPERM;
  const at = argument(4, request);
  if (at === 0) return Errno.EINVAL;
  engine.setGeneration(inode, u32ne(request.view, at));
  reply.ioctl(0);
  return Errno.OK;
}

function setLabel(engine: WritableEngine, request: Request, reply: Reply): number {
  if (request.uid !== ROOT_UID) return Errno.EPERM;
  const at = argument(LABEL_BYTES, request);
  if (at === 0) return Errno.EINVAL;
  const text = request.bytes.subarray(at, at + LABEL_BYTES);
  const end = text.indexOf(0);
  const { length } = engine.superblock.volumeName;
  if ((end < 0 ? LABEL_BYTES : end) > length) return Errno.EINVAL;
  engine.setLabel(text.slice(0, end));
  reply.ioctl(0);
  return Errno.OK;
}

function trim(engine: WritableEngine, request: Request, reply: Reply): number {
  if (request.uid !== ROOT_UID) return Errno.EPERM;
  const at = argument(FSTRIM_RANGE.SIZE, request);
  if (at === 0 || request.u32(IOCTL_IN.out_size) < FSTRIM_RANGE.SIZE) return Errno.EINVAL;
  const start = u64ne(request.view, at + FSTRIM_RANGE.start);
  const minimum = u64ne(request.view, at + FSTRIM_RANGE.minlen);
  const trimmed = engine.trim(start, u64ne(request.view, at + FSTRIM_RANGE.len), minimum);
  const out = reply.ioctl(FSTRIM_RANGE.SIZE);
  putU64ne(reply.view, out + FSTRIM_RANGE.start, Math.min(start, Number.MAX_SAFE_INTEGER));
  putU64ne(reply.view, out + FSTRIM_RANGE.len, trimmed);
  putU64ne(reply.view, out + FSTRIM_RANGE.minlen, Math.min(minimum, Number.MAX_SAFE_INTEGER));
  return Errno.OK;
}

/** The command's number says that it has no argument to read, so how to shut down stays unknown: flush first. */
function shutdown(engine: WritableEngine, request: Request, reply: Reply): number {
  if (request.uid !== ROOT_UID) return Errno.EPERM;
  engine.shutdown(true);
  reply.ioctl(0);
  return Errno.OK;
}
