import { putU16le, putU32le, u32le } from '../../shared/bytes.ts';
import { Errno } from '../../shared/errno.ts';
import type { CachedBlock } from './buffer-cache.ts';
import { FsError } from './errors.ts';
import type { Inode } from './inode.ts';
import { isDevice } from './inode-decode.ts';
import type { InodeFormat } from './inode-format.ts';
import { INODE, InodeFlag } from './layout/inode.ts';

const MIN_SECONDS = -(2 ** 31);
const MAX_SECONDS_32 = 2 ** 31 - 1;
/** Two more bits extend the range upwards only. */
const MAX_SECONDS_34 = 2 ** 34 - 1 + MIN_SECONDS;
const BLOCKS_LOW_LIMIT = 2 ** 32;
const BLOCKS_LIMIT = 2 ** 48;
const I = INODE;

/**
 * Puts all fields into the inode's bytes in its table block, and the checksum. Values that the format can't hold
 * are changed in the inode itself as well, so that memory and disk agree: times are clamped. `isNew`: nothing of
 * the bytes counts, and the version stays as it is.
 */
export function encodeInode(format: InodeFormat, inode: Inode, block: CachedBlock, isNew: boolean): void {
  const { view } = block;
  const at = inode.tableOffset;
  putU16le(view, at + I.i_mode, inode.mode);
  putU16le(view, at + I.i_links_count, inode.linksCount);
  putU32le(view, at + I.i_generation, inode.generation);
  if (format.inodeSize > I.BASE_SIZE) putU16le(view, at + I.i_extra_isize, inode.extraSizeBytes);
  encodeOwner(format, inode, view, at);
  encodeSizes(format, inode, view, at);
  const modified = encodeTimes(format, inode, view, at);
  if (modified && !isNew && (inode.flags & InodeFlag.EA_INODE) === 0) nextVersion(inode);
  putU32le(view, at + I.i_version, inode.versionLow);
  if (format.fits(inode, I.i_version_hi + 4)) putU32le(view, at + I.i_version_hi, inode.versionHigh);
  if (isDevice(inode)) encodeDevice(inode, view, at);
  putU32le(view, at + I.i_file_acl_lo, inode.xattrBlock >>> 0);
  if (format.bit64) putU16le(view, at + I.i_file_acl_high, (inode.xattrBlock / 2 ** 32) >>> 0);
  // Last of the fields: the sizes decide about one flag.
  putU32le(view, at + I.i_flags, inode.flags);
  if (format.checksum.enabled) encodeChecksum(format, inode, block);
}

function encodeOwner(format: InodeFormat, inode: Inode, view: DataView, at: number): void {
  const { uid, gid } = inode;
  putU16le(view, at + I.i_uid, format.wideIds ? uid & 0xffff : narrowId(uid));
  putU16le(view, at + I.i_gid, format.wideIds ? gid & 0xffff : narrowId(gid));
  putU16le(view, at + I.i_uid_high, format.wideIds ? uid >>> 16 : 0);
  putU16le(view, at + I.i_gid_high, format.wideIds ? gid >>> 16 : 0);
  if (format.projects && format.fits(inode, I.i_projid + 4)) putU32le(view, at + I.i_projid, inode.projectId);
}

/** The id that stands for all that don't fit into 16 bits ("overflow id" of the kernel). */
const OVERFLOW_ID = 65534;
const narrowId = (id: number): number => (id > 0xffff ? OVERFLOW_ID : id);

function encodeSizes(format: InodeFormat, inode: Inode, view: DataView, at: number): void {
  const { sizeBytes } = inode;
  if (sizeBytes > format.maxSizeBytes(inode)) {
    throw new FsError(Errno.EFBIG, `${sizeBytes} bytes are more than inode ${inode.ino} can have`);
  }
  putU32le(view, at + I.i_size_lo, sizeBytes >>> 0);
  if (format.hasWideSize(inode)) putU32le(view, at + I.i_size_high, Math.floor(sizeBytes / 2 ** 32));
  const blocks = blocksField(format, inode);
  putU32le(view, at + I.i_blocks_lo, blocks >>> 0);
  putU16le(view, at + I.i_blocks_high, Math.floor(blocks / 2 ** 32));
}

/** i_blocks counts 512-byte units, or with the HUGE_FILE flag, for which only the largest files have a need, blocks. */
function blocksField(format: InodeFormat, inode: Inode): number {
  const units = inode.allocatedBlocks512;
  if (units >= BLOCKS_LOW_LIMIT && !format.hugeFiles) {
    throw new FsError(Errno.EFBIG, `inode ${inode.ino} can't have 2 TiB of blocks without the huge_file feature`);
  }
  if (units < BLOCKS_LIMIT) {
    inode.flags &= ~InodeFlag.HUGE_FILE;
    return units;
  }
  inode.flags |= InodeFlag.HUGE_FILE;
  return Math.ceil(units / (format.blockSize / 512));
}

/** Returns whether the time of modification or change differs from what the bytes held. */
function encodeTimes(format: InodeFormat, inode: Inode, view: DataView, at: number): boolean {
  const wideCtime = format.fits(inode, I.i_ctime_extra + 4);
  inode.ctimeSec = clampSeconds(inode.ctimeSec, wideCtime);
  if (!wideCtime) inode.ctimeNsec = 0;
  let changed = putTime(view, at + I.i_ctime, wideCtime ? at + I.i_ctime_extra : 0, inode.ctimeSec, inode.ctimeNsec);
  const wideMtime = format.fits(inode, I.i_mtime_extra + 4);
  inode.mtimeSec = clampSeconds(inode.mtimeSec, wideMtime);
  if (!wideMtime) inode.mtimeNsec = 0;
  if (putTime(view, at + I.i_mtime, wideMtime ? at + I.i_mtime_extra : 0, inode.mtimeSec, inode.mtimeNsec)) {
    changed = true;
  }
  const wideAtime = format.fits(inode, I.i_atime_extra + 4);
  inode.atimeSec = clampSeconds(inode.atimeSec, wideAtime);
  if (!wideAtime) inode.atimeNsec = 0;
  putTime(view, at + I.i_atime, wideAtime ? at + I.i_atime_extra : 0, inode.atimeSec, inode.atimeNsec);
  putU32le(view, at + I.i_dtime, inode.dtime);
  if (!format.fits(inode, I.i_crtime + 4)) return changed;
  const wideCrtime = format.fits(inode, I.i_crtime_extra + 4);
  inode.crtimeSec = clampSeconds(inode.crtimeSec, wideCrtime);
  if (!wideCrtime) inode.crtimeNsec = 0;
  putTime(view, at + I.i_crtime, wideCrtime ? at + I.i_crtime_extra : 0, inode.crtimeSec, inode.crtimeNsec);
  return changed;
}

/** Nanoseconds of a time that is to be set: at both ends of what can be stored, and beyond, there are none. */
export function fractionOf(sec: number, nsec: number): number {
  return sec <= MIN_SECONDS || sec >= MAX_SECONDS_34 ? 0 : nsec;
}

/** Seconds that a time field can hold, nearest to `sec`; `wide`: it has its extra part. */
export function clampSeconds(sec: number, wide: boolean): number {
  if (sec < MIN_SECONDS) return MIN_SECONDS;
  const max = wide ? MAX_SECONDS_34 : MAX_SECONDS_32;
  return sec > max ? max : sec;
}

/** `extraAt` is 0 when there is no extra part. Returns whether the bytes change. */
function putTime(view: DataView, at: number, extraAt: number, sec: number, nsec: number): boolean {
  const low = sec >>> 0;
  let changed = u32le(view, at) !== low;
  putU32le(view, at, low);
  if (extraAt === 0) return changed;
  // The low word is a signed number, so the epoch counts from the middle of the 32-bit range on.
  const epoch = Math.floor((sec - MIN_SECONDS) / 2 ** 32);
  const extra = ((nsec << 2) | epoch) >>> 0;
  if (u32le(view, extraAt) !== extra) changed = true;
  putU32le(view, extraAt, extra);
  return changed;
}

function nextVersion(inode: Inode): void {
  inode.versionLow = (inode.versionLow + 1) >>> 0;
  if (inode.versionLow === 0) inode.versionHigh = (inode.versionHigh + 1) >>> 0;
}

/** Numbers of 8 and 8 bits go to the first word of i_block, larger ones to the second. */
function encodeDevice(inode: Inode, view: DataView, at: number): void {
  const { rdevMajor, rdevMinor } = inode;
  const isSmall = rdevMajor < 256 && rdevMinor < 256;
  putU32le(view, at + I.i_block, isSmall ? (rdevMajor << 8) | rdevMinor : 0);
  const wide = (rdevMinor & 0xff) | (rdevMajor << 8) | ((rdevMinor & ~0xff) << 12);
  putU32le(view, at + I.i_block + 4, isSmall ? 0 : wide);
}

function encodeChecksum(format: InodeFormat, inode: Inode, block: CachedBlock): void {
  const crc = format.checksumOf(inode, block);
  putU16le(block.view, inode.tableOffset + I.i_checksum_lo, crc & 0xffff);
  if (format.hasWideChecksum(inode)) putU16le(block.view, inode.tableOffset + I.i_checksum_hi, crc >>> 16);
}
