import { STATISTICS_IOCTL } from '../../shared/mount-statistics.ts';
import { InodeFlag } from '../ext4/layout/inode.ts';
import { IOCTL_IN } from '../fuse/abi.ts';
import type { Request } from '../fuse/request.ts';

/**
 * Command numbers of linux/fs.h, and ext4's own older ones. "32" is what 32-bit programs use: the same
 * request with a 4-byte argument; the value is an int in both cases.
 */
export const IoctlCommand = Object.freeze({
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
  SHUTDOWN: 0x8004587d,
  STATISTICS: STATISTICS_IOCTL,
});

/** struct fsxattr. */
export const FSXATTR = Object.freeze({ fsx_xflags: 0, fsx_projid: 12, SIZE: 28 });

/** Of labels, with their NUL. */
export const LABEL_BYTES = 256;

/** The i_flags that the kernel's ext4 shows to programs. */
export const USER_VISIBLE_FLAGS = 0x725bdfff;

/** FS_XFLAG_* bits by the inode flag they stand for. */
export const XFLAGS: readonly (readonly [inodeFlag: number, xflag: number])[] = Object.freeze([
  [InodeFlag.IMMUTABLE, 0x8],
  [InodeFlag.APPEND, 0x10],
  [InodeFlag.SYNC, 0x20],
  [InodeFlag.NOATIME, 0x40],
  [InodeFlag.NODUMP, 0x80],
  [InodeFlag.PROJINHERIT, 0x200],
  [InodeFlag.DAX, 0x8000],
]);

/** Where the argument lies in the request's bytes, 0 when there is less of it than `bytes`. */
export function ioctlArgument(bytes: number, request: Request): number {
  const at = request.bodyStart + IOCTL_IN.SIZE;
  return request.u32(IOCTL_IN.in_size) < bytes || at + bytes > request.bodyEnd ? 0 : at;
}
