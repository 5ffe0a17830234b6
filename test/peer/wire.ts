import { Errno } from '../../shared/errno.ts';

/** Request codes that the peer uses (linux/fuse.h), and those of iomap. */
export const Op = Object.freeze({
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  GETXATTR: 22,
  FLUSH: 25,
  INIT: 26,
  CREATE: 35,
  DESTROY: 38,
  IOCTL: 39,
  FALLOCATE: 43,
  RENAME2: 45,
  SYNCFS: 50,
  FREEZE_FS: 4089,
  UNFREEZE_FS: 4090,
  SHUTDOWN_FS: 4091,
  IOMAP_CONFIG: 4092,
  IOMAP_IOEND: 4093,
  IOMAP_BEGIN: 4094,
  IOMAP_END: 4095,
});

const NAMES = new Map<number, string>(Object.entries(Op).map(([name, number]) => [number, name]));
export const opName = (opcode: number): string => NAMES.get(opcode) ?? `opcode ${opcode}`;

export const IN_HEADER_BYTES = 40;
export const OUT_HEADER_BYTES = 16;

/** Sizes of replies without their header; those of the others may be shorter than what was asked for. */
const REPLY_BYTES = new Map<number, number>([
  [Op.LOOKUP, 128],
  [Op.GETATTR, 104],
  [Op.SETATTR, 104],
  [Op.MKNOD, 128],
  [Op.MKDIR, 128],
  [Op.UNLINK, 0],
  [Op.RMDIR, 0],
  [Op.LINK, 128],
  [Op.OPEN, 16],
  [Op.WRITE, 8],
  [Op.STATFS, 80],
  [Op.RELEASE, 0],
  [Op.FSYNC, 0],
  [Op.FLUSH, 0],
  [Op.INIT, 64],
  [Op.CREATE, 144],
  [Op.DESTROY, 0],
  [Op.FALLOCATE, 0],
  [Op.RENAME2, 0],
  [Op.SYNCFS, 0],
  [Op.FREEZE_FS, 0],
  [Op.UNFREEZE_FS, 0],
  [Op.SHUTDOWN_FS, 0],
  [Op.IOMAP_IOEND, 8],
  [Op.IOMAP_BEGIN, 64],
  [Op.IOMAP_END, 0],
]);

/** -1: of any size up to a maximum. */
export const replyBytes = (opcode: number): number => REPLY_BYTES.get(opcode) ?? -1;

/** Never to be answered with ENOSYS: the kernel would not ask again. */
export const NEVER_ENOSYS: ReadonlySet<number> = new Set([
  Op.IOMAP_BEGIN,
  Op.IOMAP_IOEND,
  Op.FSYNC,
  Op.SYNCFS,
  Op.FALLOCATE,
]);

export const SetattrBit = Object.freeze({
  MODE: 1,
  SIZE: 8,
  ATIME: 16,
  MTIME: 32,
  FH: 64,
  LOCKOWNER: 512,
  CTIME: 1024,
});

/** An errno as text, for histories. */
export const errnoName = (errno: number): string =>
  Object.entries(Errno).find(([, value]) => value === errno)?.[0] ?? `errno ${errno}`;

/** All bits of a 64-bit field. */
export const ALL_ONES = 2 ** 32 - 1;

export function isAllOnes(view: DataView, at: number): boolean {
  return view.getUint32(at, true) === ALL_ONES && view.getUint32(at + 4, true) === ALL_ONES;
}
