import { putU32ne } from '../../shared/bytes.ts';
import { Errno } from '../../shared/errno.ts';
import type { Inode } from '../ext4/inode.ts';
import { RoCompat } from '../ext4/layout/features.ts';
import { InodeFlag } from '../ext4/layout/inode.ts';
import { IOCTL_IN } from '../fuse/abi.ts';
import type { Reply } from '../fuse/reply.ts';
import type { Request } from '../fuse/request.ts';
import type { Engine } from './engine.ts';
import { inodeOf } from './nodes.ts';

/**
 * Command numbers of linux/fs.h, and ext4's own older ones. "32" is what 32-bit programs use: the same
 * request with a 4-byte argument; the value is an int in both cases.
 */
const Command = Object.freeze({
  GETFLAGS: 0x80086601,
  GETFLAGS32: 0x80046601,
  SETFLAGS: 0x40086602,
  SETFLAGS32: 0x40046602,
  GETVERSION: 0x80087601,
  GETVERSION32: 0x80047601,
  SETVERSION: 0x40087602,
  SETVERSION32: 0x40047602,
  EXT4_GETVERSION: 0x80086603,
  EXT4_GETVERSION32: 0x80046603,
  EXT4_SETVERSION: 0x40086604,
  EXT4_SETVERSION32: 0x40046604,
  FSGETXATTR: 0x801c581f,
  FSSETXATTR: 0x401c5820,
  GETFSLABEL: 0x81009431,
  SETFSLABEL: 0x41009432,
  GETFSUUID: 0x80111500,
  FITRIM: 0xc0185879,
});

const FSXATTR = Object.freeze({ fsx_xflags: 0, fsx_projid: 12, SIZE: 28 });
const FSUUID2 = Object.freeze({ len: 0, uuid: 1, SIZE: 17 });
const LABEL_BYTES = 256;

/** The i_flags that the kernel's ext4 shows to programs. */
const USER_VISIBLE_FLAGS = 0x725bdfff;

/** FS_XFLAG_* bits by the inode flag they stand for. */
const XFLAGS: readonly (readonly [inodeFlag: number, xflag: number])[] = Object.freeze([
  [InodeFlag.IMMUTABLE, 0x8],
  [InodeFlag.APPEND, 0x10],
  [InodeFlag.SYNC, 0x20],
  [InodeFlag.NOATIME, 0x40],
  [InodeFlag.NODUMP, 0x80],
  [InodeFlag.PROJINHERIT, 0x200],
  [InodeFlag.DAX, 0x8000],
]);

/**
 * IOCTL: the questions about flags, generation, label and UUID. What would change something is EROFS, the rest
 * ENOTTY.
 */
export function ioctl(engine: Engine, request: Request, reply: Reply): number {
  const inode = inodeOf(engine, request.nodeId);
  switch (request.u32(IOCTL_IN.cmd)) {
    case Command.GETFLAGS:
    case Command.GETFLAGS32:
      return answerU32(visibleFlags(inode), request, reply);
    case Command.GETVERSION:
    case Command.GETVERSION32:
    case Command.EXT4_GETVERSION:
    case Command.EXT4_GETVERSION32:
      return answerU32(inode.generation, request, reply);
    case Command.FSGETXATTR:
      return answerFsxattr(engine, inode, request, reply);
    case Command.GETFSLABEL:
      return answerLabel(engine, request, reply);
    case Command.GETFSUUID:
      return answerUuid(engine, request, reply);
    case Command.SETFLAGS:
    case Command.SETFLAGS32:
    case Command.SETVERSION:
    case Command.SETVERSION32:
    case Command.EXT4_SETVERSION:
    case Command.EXT4_SETVERSION32:
    case Command.FSSETXATTR:
    case Command.SETFSLABEL:
    case Command.FITRIM:
      return Errno.EROFS;
    default:
      return Errno.ENOTTY;
  }
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
