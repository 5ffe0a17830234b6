import { putU32ne } from '../../shared/bytes.ts';
import { Errno } from '../../shared/errno.ts';
import { STATISTICS_BYTES } from '../../shared/mount-statistics.ts';
import type { Inode } from '../ext4/inode.ts';
import { RoCompat } from '../ext4/layout/features.ts';
import { InodeFlag } from '../ext4/layout/inode.ts';
import { IOCTL_IN } from '../fuse/abi.ts';
import type { Reply } from '../fuse/reply.ts';
import type { Request } from '../fuse/request.ts';
import type { Engine } from './engine.ts';
import { FSXATTR, IoctlCommand, LABEL_BYTES, USER_VISIBLE_FLAGS, XFLAGS } from './ioctl-commands.ts';
import { inodeOf } from './nodes.ts';

const FSUUID2 = Object.freeze({ len: 0, uuid: 1, SIZE: 17 });
/**
 * IOCTL: the questions about flags, generation, label and UUID. What would change something is EROFS, the rest
 * ENOTTY.
 */
export function ioctl(engine: Engine, request: Request, reply: Reply): number {
  const inode = inodeOf(engine, request.nodeId);
  switch (request.u32(IOCTL_IN.cmd)) {
    case IoctlCommand.GETFLAGS:
    case IoctlCommand.GETFLAGS32:
      return answerU32(visibleFlags(inode), request, reply);
    case IoctlCommand.GETVERSION:
    case IoctlCommand.GETVERSION32:
    case IoctlCommand.EXT4_GETVERSION:
    case IoctlCommand.EXT4_GETVERSION32:
      return answerU32(inode.generation, request, reply);
    case IoctlCommand.FSGETXATTR:
      return answerFsxattr(engine, inode, request, reply);
    case IoctlCommand.GETFSLABEL:
      return answerLabel(engine, request, reply);
    case IoctlCommand.GETFSUUID:
      return answerUuid(engine, request, reply);
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
      return Errno.EROFS;
    default:
      return Errno.ENOTTY;
  }
}

/** As many bytes as there are of the text: the rest of the caller's buffer stays as it is. */
export function answerStatistics(text: Uint8Array, request: Request, reply: Reply): number {
  if (request.u32(IOCTL_IN.out_size) < STATISTICS_BYTES) return Errno.EINVAL;
  if (text.length >= STATISTICS_BYTES) return Errno.EOVERFLOW;
  reply.bytes.set(text, reply.ioctl(text.length + 1));
  return Errno.OK;
}

/**
 * Where to put an argument of `bytes`, or 0 when the caller's buffer is too small. No more than these
 * are sent: programs pass an int where the command number promises a long, and lose what lies behind it.
 */
function argument(bytes: number, request: Request, reply: Reply): number {
  return request.u32(IOCTL_IN.out_size) < bytes ? 0 : reply.ioctl(bytes);
}

function answerU32(value: number, request: Request, reply: Reply): number {
  const at = argument(4, request, reply);
  if (at === 0) return Errno.EINVAL;
  putU32ne(reply.view, at, value);
  return Errno.OK;
}

function visibleFlags(inode: Inode): number {
  const flags = inode.flags & USER_VISIBLE_FLAGS;
  return (inode.isRegular ? flags & ~InodeFlag.PROJINHERIT : flags) >>> 0;
}

function answerFsxattr(engine: Engine, inode: Inode, request: Request, reply: Reply): number {
  const at = argument(FSXATTR.SIZE, request, reply);
  if (at === 0) return Errno.EINVAL;
  const flags = visibleFlags(inode);
  const xflags = XFLAGS.reduce((sum, [flag, xflag]) => ((flags & flag) === 0 ? sum : sum | xflag), 0);
  putU32ne(reply.view, at + FSXATTR.fsx_xflags, xflags);
  if (engine.superblock.hasRoCompat(RoCompat.PROJECT)) {
    putU32ne(reply.view, at + FSXATTR.fsx_projid, inode.projectId);
  }
  return Errno.OK;
}

function answerLabel(engine: Engine, request: Request, reply: Reply): number {
  const at = argument(LABEL_BYTES, request, reply);
  if (at === 0) return Errno.EINVAL;
  reply.bytes.set(engine.superblock.volumeName, at);
  return Errno.OK;
}

function answerUuid(engine: Engine, request: Request, reply: Reply): number {
  const at = argument(FSUUID2.SIZE, request, reply);
  if (at === 0) return Errno.EINVAL;
  const { uuid } = engine.superblock;
  reply.bytes[at + FSUUID2.len] = uuid.length;
  reply.bytes.set(uuid, at + FSUUID2.uuid);
  return Errno.OK;
}
