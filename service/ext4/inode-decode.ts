import { i32le, u16le, u32le } from '../../shared/bytes.ts';
import { Errno } from '../../shared/errno.ts';
import type { CachedBlock } from './buffer-cache.ts';
import { CorruptionError, FsError } from './errors.ts';
import type { Inode } from './inode.ts';
import type { InodeFormat } from './inode-format.ts';
import { FileType, INODE, InodeFlag, SpecialInode } from './layout/inode.ts';

/** i_size_high from which on the size is no longer an exact number (2^53 and above). */
const SIZE_HIGH_LIMIT = 2 ** 21;
const MAX_NSEC = 999_999_999;
const I = INODE;

export const noSuchInode = (ino: number): FsError => new FsError(Errno.ESTALE, `inode ${ino} is not in use`);

const corruptInode = (inode: Inode, finding: string): CorruptionError =>
  new CorruptionError('inode', finding, { inode: inode.ino, block: inode.tableBlock });

/**
 * Verifies the inode's bytes at `inode.tableOffset` of its table block and fills the fields. Throws CorruptionError
 * when it breaks the format's rules, FsError ESTALE when it is not in use. An inode without links is in use only
 * if it is a known orphan.
 */
export function decodeInode(format: InodeFormat, inode: Inode, block: CachedBlock, isOrphan: boolean): void {
  const { view } = block;
  const at = inode.tableOffset;
  inode.mode = u16le(view, at + I.i_mode);
  inode.linksCount = u16le(view, at + I.i_links_count);
  if (inode.mode === 0 && inode.linksCount === 0) throw noSuchInode(inode.ino);
  inode.generation = u32le(view, at + I.i_generation);
  inode.flags = u32le(view, at + I.i_flags);
  decodeExtraSize(format, inode, view, at);
  if (format.checksum.enabled) verify(format, inode, block);
  if (inode.linksCount === 0 && !isOrphan && inode.ino !== SpecialInode.BOOT_LOADER) throw noSuchInode(inode.ino);
  decodeOwner(format, inode, view, at);
  decodeSizes(format, inode, view, at);
  decodeTimes(format, inode, view, at);
  decodeVersion(format, inode, view, at);
  checkType(inode);
  if (isDevice(inode)) decodeDevice(inode, view, at);
  inode.xattrBlock =
    u32le(view, at + I.i_file_acl_lo) + (format.bit64 ? u16le(view, at + I.i_file_acl_high) * 2 ** 32 : 0);
}

function decodeExtraSize(format: InodeFormat, inode: Inode, view: DataView, at: number): void {
  if (format.inodeSize === I.BASE_SIZE) return;
  const extra = u16le(view, at + I.i_extra_isize);
  if (extra % 4 !== 0 || I.BASE_SIZE + extra > format.inodeSize) {
    throw corruptInode(inode, `extra size is ${extra} in inodes of ${format.inodeSize} bytes`);
  }
  inode.extraSizeBytes = extra;
}

function verify(format: InodeFormat, inode: Inode, block: CachedBlock): void {
  const found = format.storedChecksum(inode, block);
  const expected = format.checksumOf(inode, block);
  if (found === expected) return;
  throw corruptInode(inode, `bad checksum ${found.toString(16)}, expected ${expected.toString(16)}`);
}

function decodeOwner(format: InodeFormat, inode: Inode, view: DataView, at: number): void {
  inode.uid = u16le(view, at + I.i_uid);
  inode.gid = u16le(view, at + I.i_gid);
  if (format.wideIds) {
    inode.uid += u16le(view, at + I.i_uid_high) * 2 ** 16;
    inode.gid += u16le(view, at + I.i_gid_high) * 2 ** 16;
  }
  if (format.projects && format.fits(inode, I.i_projid + 4)) inode.projectId = u32le(view, at + I.i_projid);
}

function decodeSizes(format: InodeFormat, inode: Inode, view: DataView, at: number): void {
  inode.sizeBytes = u32le(view, at + I.i_size_lo);
  if (format.hasWideSize(inode)) {
    const high = u32le(view, at + I.i_size_high);
    if (high >= SIZE_HIGH_LIMIT) throw corruptInode(inode, `size 0x${high.toString(16)}00000000 is impossible`);
    inode.sizeBytes += high * 2 ** 32;
  }
  const limit = format.maxSizeBytes(inode);
  if (inode.sizeBytes > limit) throw corruptInode(inode, `size is ${inode.sizeBytes}, above the map's ${limit}`);
  const blocksLow = u32le(view, at + I.i_blocks_lo);
  if (!format.hugeFiles) {
    inode.allocatedBlocks512 = blocksLow;
    return;
  }
  const blocks = u16le(view, at + I.i_blocks_high) * 2 ** 32 + blocksLow;
  inode.allocatedBlocks512 = (inode.flags & InodeFlag.HUGE_FILE) === 0 ? blocks : blocks * (format.blockSize / 512);
}

function decodeTimes(format: InodeFormat, inode: Inode, view: DataView, at: number): void {
  inode.atimeSec = i32le(view, at + I.i_atime);
  inode.ctimeSec = i32le(view, at + I.i_ctime);
  inode.mtimeSec = i32le(view, at + I.i_mtime);
  inode.dtime = u32le(view, at + I.i_dtime);
  if (format.fits(inode, I.i_ctime_extra + 4)) {
    const extra = u32le(view, at + I.i_ctime_extra);
    inode.ctimeSec += epochOf(extra);
    inode.ctimeNsec = nsecOf(extra);
  }
  if (format.fits(inode, I.i_mtime_extra + 4)) {
    const extra = u32le(view, at + I.i_mtime_extra);
    inode.mtimeSec += epochOf(extra);
    inode.mtimeNsec = nsecOf(extra);
  }
  if (format.fits(inode, I.i_atime_extra + 4)) {
    const extra = u32le(view, at + I.i_atime_extra);
    inode.atimeSec += epochOf(extra);
    inode.atimeNsec = nsecOf(extra);
  }
  if (!format.fits(inode, I.i_crtime + 4)) return;
  inode.hasCrtime = true;
  inode.crtimeSec = i32le(view, at + I.i_crtime);
  if (!format.fits(inode, I.i_crtime_extra + 4)) return;
  const extra = u32le(view, at + I.i_crtime_extra);
  inode.crtimeSec += epochOf(extra);
  inode.crtimeNsec = nsecOf(extra);
}

/** The two lowest bits of an extra time field count times 2^32 seconds, the rest are nanoseconds. */
const epochOf = (extra: number): number => (extra & 3) * 2 ** 32;
const nsecOf = (extra: number): number => Math.min(extra >>> 2, MAX_NSEC);

function decodeVersion(format: InodeFormat, inode: Inode, view: DataView, at: number): void {
  inode.versionLow = u32le(view, at + I.i_version);
  if (format.fits(inode, I.i_version_hi + 4)) inode.versionHigh = u32le(view, at + I.i_version_hi);
}

function checkType(inode: Inode): void {
  switch (inode.fileType) {
    case FileType.REGULAR:
    case FileType.DIRECTORY:
    case FileType.SYMLINK:
    case FileType.CHARACTER:
    case FileType.BLOCK:
    case FileType.FIFO:
    case FileType.SOCKET:
      return;
  }
  if (inode.ino === SpecialInode.BOOT_LOADER) return;
  throw corruptInode(inode, `mode is 0${inode.mode.toString(8)}, of no known type`);
}

export const isDevice = (inode: Inode): boolean =>
  inode.fileType === FileType.CHARACTER || inode.fileType === FileType.BLOCK;

/** Device numbers of 8 and 8 bits are in the first word of i_block, those of 12 and 20 bits in the second. */
function decodeDevice(inode: Inode, view: DataView, at: number): void {
  const old = u32le(view, at + I.i_block);
  if (old !== 0) {
    inode.rdevMajor = (old >>> 8) & 0xff;
    inode.rdevMinor = old & 0xff;
    return;
  }
  const wide = u32le(view, at + I.i_block + 4);
  inode.rdevMajor = (wide >>> 8) & 0xfff;
  inode.rdevMinor = (wide & 0xff) | ((wide >>> 12) & 0xfff00);
}
