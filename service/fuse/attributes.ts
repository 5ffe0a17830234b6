import { putI64ne, putU16ne, putU32ne, putU64ne } from '../../shared/bytes.ts';
import { ATTR, ENTRY_OUT, STATX, StatxMask, SX_TIME } from './abi.ts';

/**
 * What the kernel wants to know about a file. Times are seconds since the epoch, possibly negative, and
 * nanoseconds.
 */
export interface Attributes {
  readonly ino: number;
  readonly generation: number;
  /** As the file system keeps them: for whoever decides about AttributeFlag bits. */
  readonly flags: number;
  readonly mode: number;
  readonly linksCount: number;
  readonly uid: number;
  readonly gid: number;
  readonly sizeBytes: number;
  readonly blocks512: number;
  readonly atimeSec: number;
  readonly atimeNsec: number;
  readonly mtimeSec: number;
  readonly mtimeNsec: number;
  readonly ctimeSec: number;
  readonly ctimeNsec: number;
  readonly hasCrtime: boolean;
  readonly crtimeSec: number;
  readonly crtimeNsec: number;
  readonly rdevMajor: number;
  readonly rdevMinor: number;
}

/** The kernel's 32-bit device number: 12 bits of major between 8 low and 12 high bits of minor. */
const encodeDevice = (major: number, minor: number): number =>
  ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xfff00) << 12)) >>> 0;

/** Writes a struct fuse_attr. `flags` are AttributeFlag bits. */
export function putAttr(view: DataView, at: number, node: Attributes, blockSizeBytes: number, flags: number): void {
  putU64ne(view, at + ATTR.ino, node.ino);
  putU64ne(view, at + ATTR.size, node.sizeBytes);
  putU64ne(view, at + ATTR.blocks, node.blocks512);
  putI64ne(view, at + ATTR.atime, node.atimeSec);
  putI64ne(view, at + ATTR.mtime, node.mtimeSec);
  putI64ne(view, at + ATTR.ctime, node.ctimeSec);
  putU32ne(view, at + ATTR.atimensec, node.atimeNsec);
  putU32ne(view, at + ATTR.mtimensec, node.mtimeNsec);
  putU32ne(view, at + ATTR.ctimensec, node.ctimeNsec);
  putU32ne(view, at + ATTR.mode, node.mode);
  putU32ne(view, at + ATTR.nlink, node.linksCount);
  putU32ne(view, at + ATTR.uid, node.uid);
  putU32ne(view, at + ATTR.gid, node.gid);
  putU32ne(view, at + ATTR.rdev, encodeDevice(node.rdevMajor, node.rdevMinor));
  putU32ne(view, at + ATTR.blksize, blockSizeBytes);
  putU32ne(view, at + ATTR.flags, flags);
}

/** Writes a struct fuse_entry_out whose name and attributes the kernel may keep for `validSec`. */
export function putEntry(
  view: DataView,
  at: number,
  nodeId: number,
  node: Attributes,
  blockSizeBytes: number,
  validSec: number,
  flags: number,
): void {
  putU64ne(view, at + ENTRY_OUT.nodeid, nodeId);
  putU64ne(view, at + ENTRY_OUT.generation, node.generation);
  putU64ne(view, at + ENTRY_OUT.entry_valid, validSec);
  putU64ne(view, at + ENTRY_OUT.attr_valid, validSec);
  putU32ne(view, at + ENTRY_OUT.entry_valid_nsec, 0);
  putU32ne(view, at + ENTRY_OUT.attr_valid_nsec, 0);
  putAttr(view, at + ENTRY_OUT.attr, node, blockSizeBytes, flags);
}

/** Writes a struct fuse_statx over zeroed bytes. `attributes` and `attributesMask` are STATX_ATTR_* bits. */
export function putStatx(
  view: DataView,
  at: number,
  node: Attributes,
  blockSizeBytes: number,
  attributes: number,
  attributesMask: number,
): void {
  putU32ne(view, at + STATX.mask, StatxMask.BASIC_STATS | (node.hasCrtime ? StatxMask.BTIME : 0));
  putU32ne(view, at + STATX.blksize, blockSizeBytes);
  putU64ne(view, at + STATX.attributes, attributes);
  putU32ne(view, at + STATX.nlink, node.linksCount);
  putU32ne(view, at + STATX.uid, node.uid);
  putU32ne(view, at + STATX.gid, node.gid);
  putU16ne(view, at + STATX.mode, node.mode);
  putU64ne(view, at + STATX.ino, node.ino);
  putU64ne(view, at + STATX.size, node.sizeBytes);
  putU64ne(view, at + STATX.blocks, node.blocks512);
  putU64ne(view, at + STATX.attributes_mask, attributesMask);
  putStatxTime(view, at + STATX.atime, node.atimeSec, node.atimeNsec);
  if (node.hasCrtime) putStatxTime(view, at + STATX.btime, node.crtimeSec, node.crtimeNsec);
  putStatxTime(view, at + STATX.ctime, node.ctimeSec, node.ctimeNsec);
  putStatxTime(view, at + STATX.mtime, node.mtimeSec, node.mtimeNsec);
  putU32ne(view, at + STATX.rdev_major, node.rdevMajor);
  putU32ne(view, at + STATX.rdev_minor, node.rdevMinor);
}

function putStatxTime(view: DataView, at: number, sec: number, nsec: number): void {
  putI64ne(view, at + SX_TIME.tv_sec, sec);
  putU32ne(view, at + SX_TIME.tv_nsec, nsec);
}
