import { putU16le, putU32le, u16le, u32le } from '../../shared/bytes.ts';
import { Errno } from '../../shared/errno.ts';
import { BlockRole, type CachedBlock } from './buffer-cache.ts';
import type { MetadataChecksum } from './checksum.ts';
import { FsError } from './errors.ts';
import { Incompat, RoCompat } from './layout/features.ts';
import { SUPERBLOCK, SuperblockState } from './layout/superblock.ts';
import type { WriteContext } from './write-context.ts';

const S = SUPERBLOCK;
const LAST_MOUNTED_BYTES = 64;
const LABEL_BYTES = 16;
const REVISION_DYNAMIC = 1;
const REVISION_0_FIRST_INODE = 11;
const REVISION_0_INODE_SIZE = 128;

/** The superblock among the bytes of its block, for changing. */
export interface SuperblockBytes {
  readonly view: DataView;
  readonly bytes: Uint8Array;
  /** Where in them it begins. */
  readonly at: number;
}

/** Makes the superblock's checksum; the rest of its block is somebody else's. */
export function sealSuperblock(checksum: MetadataChecksum, block: CachedBlock): void {
  if (!checksum.enabled) return;
  // The primary copy lies behind the boot sector, which may be in the same block; backups begin their block.
  const at = block.blockNr === 0 ? S.PRIMARY_OFFSET : 0;
  putU32le(block.view, at + S.s_checksum, checksum.crc32c(0xffffffff, block.bytes, at, at + S.s_checksum));
}

/** The superblock for changing within the open handle. */
export function modifySuperblock(ctx: WriteContext): CachedBlock {
  const block = ctx.superblockBlock();
  ctx.handle.modify(block);
  block.role = BlockRole.SUPERBLOCK;
  return block;
}

export interface MountState {
  /** The mount goes on after it was frozen. */
  readonly resumes?: boolean;
  /** Seconds since the epoch. */
  readonly nowSec: number;
  /** Changes go through a journal. */
  readonly journalled: boolean;
  readonly hasOrphanFile: boolean;
  /** Path of the mount point, null when it isn't known. */
  readonly mountPoint: Uint8Array | null;
}

/**
 * Notes that the file system is being written from now on. Must be on stable storage before anything else is
 * written: after a crash it is what tells that there is something to recover or to check.
 */
export function noteMount(superblock: SuperblockBytes, mount: MountState): void {
  const { view, at } = superblock;
  if (mount.resumes !== true) putU16le(view, at + S.s_mnt_count, (u16le(view, at + S.s_mnt_count) + 1) & 0xffff);
  putTime(superblock, S.s_mtime, S.s_mtime_hi, mount.nowSec);
  noteWrite(superblock, mount.nowSec);
  if (mount.mountPoint !== null) putText(superblock, S.s_last_mounted, LAST_MOUNTED_BYTES, mount.mountPoint);
  if (mount.journalled) setBits(view, at + S.s_feature_incompat, Incompat.RECOVER);
  else putU16le(view, at + S.s_state, u16le(view, at + S.s_state) & ~SuperblockState.CLEAN);
  if (mount.hasOrphanFile) setBits(view, at + S.s_feature_ro_compat, RoCompat.ORPHAN_PRESENT);
}

export interface UnmountState {
  readonly nowSec: number;
  /** s_state as it was when the file system was mounted: what was not clean then isn't clean now. */
  readonly stateAtMount: number;
  /** False when the orphan file still has entries. */
  readonly orphanFileIsEmpty: boolean;
  /** KiB written since the mount. */
  readonly kbytesWritten: number;
}

/** Notes that everything is at its place; not after the journal was aborted. Errors found meanwhile stay noted. */
export function noteUnmount(superblock: SuperblockBytes, unmount: UnmountState): void {
  const { view, at } = superblock;
  const errors = u16le(view, at + S.s_state) & SuperblockState.ERROR;
  // The kernel's flag "orphans are being processed" never goes to the disk on purpose.
  putU16le(view, at + S.s_state, (unmount.stateAtMount & ~SuperblockState.ORPHANS) | errors);
  clearBits(view, at + S.s_feature_incompat, Incompat.RECOVER);
  if (unmount.orphanFileIsEmpty) clearBits(view, at + S.s_feature_ro_compat, RoCompat.ORPHAN_PRESENT);
  addKbytesWritten(superblock, unmount.kbytesWritten);
  noteWrite(superblock, unmount.nowSec);
}

/** To be noted whenever the superblock is written for a reason of its own. */
export const noteWrite = (superblock: SuperblockBytes, nowSec: number): void =>
  putTime(superblock, S.s_wtime, S.s_wtime_hi, nowSec);

function addKbytesWritten({ view, at }: SuperblockBytes, kbytes: number): void {
  const total = u32le(view, at + S.s_kbytes_written) + kbytes;
  putU32le(view, at + S.s_kbytes_written, total >>> 0);
  const carry = Math.floor(total / 2 ** 32);
  putU32le(view, at + S.s_kbytes_written + 4, (u32le(view, at + S.s_kbytes_written + 4) + carry) >>> 0);
}

/** Sets the volume's label within the open handle; at most 16 bytes. */
export function setLabel(ctx: WriteContext, label: Uint8Array): void {
  if (label.length > LABEL_BYTES) {
    throw new FsError(Errno.EINVAL, `a label has at most ${LABEL_BYTES} bytes, not ${label.length}`);
  }
  const { view, bytes } = modifySuperblock(ctx);
  putText({ view, bytes, at: ctx.superblockAt }, S.s_volume_name, LABEL_BYTES, label);
}

/**
 * Within the open handle: the file system has a file of 2 GiB or more, which needs the large_file feature and for
 * that a superblock with features.
 */
export function requireLargeFile(ctx: WriteContext): void {
  const at = ctx.superblockAt;
  if ((u32le(ctx.superblockBlock().view, at + S.s_feature_ro_compat) & RoCompat.LARGE_FILE) !== 0) return;
  const { view } = modifySuperblock(ctx);
  if (u32le(view, at + S.s_rev_level) === 0) {
    putU32le(view, at + S.s_rev_level, REVISION_DYNAMIC);
    putU32le(view, at + S.s_first_ino, REVISION_0_FIRST_INODE);
    putU16le(view, at + S.s_inode_size, REVISION_0_INODE_SIZE);
  }
  setBits(view, at + S.s_feature_ro_compat, RoCompat.LARGE_FILE);
}

/** Times of the superblock have 40 bits, the upper 8 of them elsewhere. */
export function putTime({ view, bytes, at }: SuperblockBytes, low: number, high: number, sec: number): void {
  putU32le(view, at + low, sec >>> 0);
  bytes[at + high] = Math.floor(sec / 2 ** 32);
}

export function putText({ bytes, at }: SuperblockBytes, offset: number, sizeBytes: number, text: Uint8Array): void {
  const length = Math.min(text.length, sizeBytes);
  bytes.set(text.subarray(0, length), at + offset);
  bytes.fill(0, at + offset + length, at + offset + sizeBytes);
}

const setBits = (view: DataView, at: number, bits: number): void => putU32le(view, at, (u32le(view, at) | bits) >>> 0);
const clearBits = (view: DataView, at: number, bits: number): void =>
  putU32le(view, at, (u32le(view, at) & ~bits) >>> 0);
