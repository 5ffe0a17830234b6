import { u32ne } from '../../shared/bytes.ts';
import { Errno } from '../../shared/errno.ts';
import type { Inode } from '../ext4/inode.ts';
import { InodeFlag } from '../ext4/layout/inode.ts';
import { IOCTL_IN } from '../fuse/abi.ts';
import type { Request } from '../fuse/request.ts';
import type { WritableEngine } from './engine.ts';
import { FSXATTR, IoctlCommand, ioctlArgument, LABEL_BYTES, USER_VISIBLE_FLAGS, XFLAGS } from './ioctl-commands.ts';
import { inodeOf } from './nodes.ts';

export const ROOT_UID = 0;

const ALL_XFLAGS = XFLAGS.reduce((sum, [, xflag]) => sum | xflag, 0);
const ALL_FLAGS_OF_XFLAGS = XFLAGS.reduce((sum, [flag]) => sum | flag, 0);

/** The command is none of those that change an inode or the label. */
export const NOT_CHANGING = -2;

/**
 * The ioctls that change an inode or the label. For flags the kernel has checked ownership and privilege; where it
 * passes a command on without a look, only the superuser, or the owner, gets through.
 */
export function changingIoctl(engine: WritableEngine, request: Request): number {
  const inode = inodeOf(engine, request.nodeId);
  switch (request.u32(IOCTL_IN.cmd)) {
    case IoctlCommand.SETFLAGS:
    case IoctlCommand.SETFLAGS32:
      return setFlags(engine, inode, request);
    case IoctlCommand.FSSETXATTR:
      return setFsxattr(engine, inode, request);
    case IoctlCommand.SETFSLABEL:
      return setLabel(engine, request);
    case IoctlCommand.SETVERSION:
    case IoctlCommand.SETVERSION32:
    case IoctlCommand.EXT4_SETVERSION:
    case IoctlCommand.EXT4_SETVERSION32:
      return setVersion(engine, inode, request);
    default:
      return NOT_CHANGING;
  }
}

/**
 * Whether the command takes a file from its writers, so that what they have written before must be in it: it sets
 * "immutable" or "append only" where that was not set.
 */
export function takesFromWriters(engine: WritableEngine, request: Request): boolean {
  const inode = inodeOf(engine, request.nodeId);
  const flags = inode.isRegular ? flagsAskedFor(request) : 0;
  return (flags & ~inode.flags & (InodeFlag.IMMUTABLE | InodeFlag.APPEND)) !== 0;
}

/** What the two commands that set flags want to set, 0 when it is no such command. */
function flagsAskedFor(request: Request): number {
  switch (request.u32(IOCTL_IN.cmd)) {
    case IoctlCommand.SETFLAGS:
    case IoctlCommand.SETFLAGS32: {
      const at = ioctlArgument(4, request);
      return at === 0 ? 0 : u32ne(request.view, at);
    }
    case IoctlCommand.FSSETXATTR: {
      const at = ioctlArgument(FSXATTR.SIZE, request);
      return at === 0 ? 0 : flagsOfXflags(u32ne(request.view, at + FSXATTR.fsx_xflags));
    }
    default:
      return 0;
  }
}

function setFlags(engine: WritableEngine, inode: Inode, request: Request): number {
  const at = ioctlArgument(4, request);
  if (at === 0) return Errno.EINVAL;
  engine.setFlags(inode, withVisibleFlags(inode, u32ne(request.view, at)));
  return Errno.OK;
}

/** Programs set what they have been shown, changed: the flags that they never see stay as they are. */
function withVisibleFlags(inode: Inode, flags: number): number {
  return ((inode.flags & ~USER_VISIBLE_FLAGS) | flags) >>> 0;
}

function setFsxattr(engine: WritableEngine, inode: Inode, request: Request): number {
  const at = ioctlArgument(FSXATTR.SIZE, request);
  if (at === 0) return Errno.EINVAL;
  const xflags = u32ne(request.view, at + FSXATTR.fsx_xflags);
  if ((xflags & ~ALL_XFLAGS) !== 0) return Errno.EOPNOTSUPP;
  engine.setProject(inode, u32ne(request.view, at + FSXATTR.fsx_projid));
  engine.setFlags(inode, ((inode.flags & ~ALL_FLAGS_OF_XFLAGS) | flagsOfXflags(xflags)) >>> 0);
  return Errno.OK;
}

const flagsOfXflags = (xflags: number): number =>
  XFLAGS.reduce((sum, [flag, xflag]) => ((xflags & xflag) === 0 ? sum : sum | flag), 0);

function setVersion(engine: WritableEngine, inode: Inode, request: Request): number {
  if (request.uid !== ROOT_UID && request.uid !== inode.uid) return Errno.EPERM;
  const at = ioctlArgument(4, request);
  if (at === 0) return Errno.EINVAL;
  engine.setGeneration(inode, u32ne(request.view, at));
  return Errno.OK;
}

function setLabel(engine: WritableEngine, request: Request): number {
  if (request.uid !== ROOT_UID) return Errno.EPERM;
  const at = ioctlArgument(LABEL_BYTES, request);
  if (at === 0) return Errno.EINVAL;
  const text = request.bytes.subarray(at, at + LABEL_BYTES);
  const end = text.indexOf(0);
  const { length } = engine.superblock.volumeName;
  if ((end < 0 ? LABEL_BYTES : end) > length) return Errno.EINVAL;
  engine.setLabel(text.slice(0, end));
  return Errno.OK;
}
