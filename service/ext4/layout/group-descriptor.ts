import { putU16le, u16le, u32le } from '../../../shared/bytes.ts';

/** Block group descriptor, little endian, 32 or 64 bytes (kernel docs: ext4, "Block Group Descriptors"). */
export const GROUP_DESCRIPTOR = Object.freeze({
  bg_block_bitmap_lo: 0x0,
  bg_inode_bitmap_lo: 0x4,
  bg_inode_table_lo: 0x8,
  bg_free_blocks_count_lo: 0xc,
  bg_free_inodes_count_lo: 0xe,
  bg_used_dirs_count_lo: 0x10,
  bg_flags: 0x12,
  bg_exclude_bitmap_lo: 0x14,
  bg_block_bitmap_csum_lo: 0x18,
  bg_inode_bitmap_csum_lo: 0x1a,
  bg_itable_unused_lo: 0x1c,
  bg_checksum: 0x1e,
  bg_block_bitmap_hi: 0x20,
  bg_inode_bitmap_hi: 0x24,
  bg_inode_table_hi: 0x28,
  bg_free_blocks_count_hi: 0x2c,
  bg_free_inodes_count_hi: 0x2e,
  bg_used_dirs_count_hi: 0x30,
  bg_itable_unused_hi: 0x32,
  bg_exclude_bitmap_hi: 0x34,
  bg_block_bitmap_csum_hi: 0x38,
  bg_inode_bitmap_csum_hi: 0x3a,
  SIZE_32: 32,
  SIZE_64: 64,
});

/** bg_flags bits. */
export const GroupFlag = Object.freeze({ INODE_UNINIT: 1, BLOCK_UNINIT: 2, INODE_ZEROED: 4 });

/** Joins a 32-bit low half with its 32-bit high half, which only 64-byte descriptors have. */
const u48 = (view: DataView, at: number, low: number, high: number, wide: boolean): number =>
  u32le(view, at + low) + (wide ? u32le(view, at + high) * 2 ** 32 : 0);

const u32split = (view: DataView, at: number, low: number, high: number, wide: boolean): number =>
  u16le(view, at + low) + (wide ? u16le(view, at + high) * 2 ** 16 : 0);

const putU32split = (view: DataView, at: number, low: number, high: number, wide: boolean, value: number): void => {
  putU16le(view, at + low, value & 0xffff);
  if (wide) putU16le(view, at + high, value >>> 16);
};

const D = GROUP_DESCRIPTOR;
export const groupBlockBitmap = (view: DataView, at: number, wide: boolean): number =>
  u48(view, at, D.bg_block_bitmap_lo, D.bg_block_bitmap_hi, wide);
export const groupInodeBitmap = (view: DataView, at: number, wide: boolean): number =>
  u48(view, at, D.bg_inode_bitmap_lo, D.bg_inode_bitmap_hi, wide);
export const groupInodeTable = (view: DataView, at: number, wide: boolean): number =>
  u48(view, at, D.bg_inode_table_lo, D.bg_inode_table_hi, wide);
/** Free clusters of the group. */
export const groupFreeClusters = (view: DataView, at: number, wide: boolean): number =>
  u32split(view, at, D.bg_free_blocks_count_lo, D.bg_free_blocks_count_hi, wide);
export const groupFreeInodes = (view: DataView, at: number, wide: boolean): number =>
  u32split(view, at, D.bg_free_inodes_count_lo, D.bg_free_inodes_count_hi, wide);
export const groupFlags = (view: DataView, at: number): number => u16le(view, at + D.bg_flags);
export const groupChecksum = (view: DataView, at: number): number => u16le(view, at + D.bg_checksum);
export const groupUsedDirectories = (view: DataView, at: number, wide: boolean): number =>
  u32split(view, at, D.bg_used_dirs_count_lo, D.bg_used_dirs_count_hi, wide);
/** Inodes at the end of the group's table that were never used. */
export const groupUnusedInodes = (view: DataView, at: number, wide: boolean): number =>
  u32split(view, at, D.bg_itable_unused_lo, D.bg_itable_unused_hi, wide);
/** Without 64-byte descriptors only the low half of a bitmap's checksum is kept. */
export const groupBlockBitmapChecksum = (view: DataView, at: number, wide: boolean): number =>
  u32split(view, at, D.bg_block_bitmap_csum_lo, D.bg_block_bitmap_csum_hi, wide);
export const groupInodeBitmapChecksum = (view: DataView, at: number, wide: boolean): number =>
  u32split(view, at, D.bg_inode_bitmap_csum_lo, D.bg_inode_bitmap_csum_hi, wide);

export const putGroupFreeClusters = (view: DataView, at: number, wide: boolean, count: number): void =>
  putU32split(view, at, D.bg_free_blocks_count_lo, D.bg_free_blocks_count_hi, wide, count);
export const putGroupFreeInodes = (view: DataView, at: number, wide: boolean, count: number): void =>
  putU32split(view, at, D.bg_free_inodes_count_lo, D.bg_free_inodes_count_hi, wide, count);
export const putGroupUsedDirectories = (view: DataView, at: number, wide: boolean, count: number): void =>
  putU32split(view, at, D.bg_used_dirs_count_lo, D.bg_used_dirs_count_hi, wide, count);
export const putGroupUnusedInodes = (view: DataView, at: number, wide: boolean, count: number): void =>
  putU32split(view, at, D.bg_itable_unused_lo, D.bg_itable_unused_hi, wide, count);
export const putGroupBlockBitmapChecksum = (view: DataView, at: number, wide: boolean, checksum: number): void =>
  putU32split(view, at, D.bg_block_bitmap_csum_lo, D.bg_block_bitmap_csum_hi, wide, checksum);
export const putGroupInodeBitmapChecksum = (view: DataView, at: number, wide: boolean, checksum: number): void =>
  putU32split(view, at, D.bg_inode_bitmap_csum_lo, D.bg_inode_bitmap_csum_hi, wide, checksum);
export const putGroupFlags = (view: DataView, at: number, flags: number): void =>
  putU16le(view, at + D.bg_flags, flags);
export const putGroupChecksum = (view: DataView, at: number, checksum: number): void =>
  putU16le(view, at + D.bg_checksum, checksum);
