import { putU16le, putU32le, u16le, u32le } from '../../../shared/bytes.ts';

/** Head of every extent tree node, little endian (kernel docs: ext4, "Extent Tree"). */
export const EXTENT_HEADER = Object.freeze({
  eh_magic: 0,
  eh_entries: 2,
  eh_max: 4,
  eh_depth: 6,
  eh_generation: 8,
  SIZE: 12,
});

export const EXTENT_MAGIC = 0xf30a;
/** Deepest tree that 2^32 blocks can need. */
export const EXTENT_MAX_DEPTH = 5;
/** A length above this marks an unwritten extent, longer by exactly this than its real length. */
export const EXTENT_MAX_WRITTEN = 32768;
/** One past the last logical block that an extent may cover. */
export const EXTENT_LBLK_END = 2 ** 32 - 1;

/** Leaf entry. */
export const EXTENT = Object.freeze({ ee_block: 0, ee_len: 4, ee_start_hi: 6, ee_start_lo: 8, SIZE: 12 });

/** Entry of an inner node. */
export const EXTENT_INDEX = Object.freeze({ ei_block: 0, ei_leaf_lo: 4, ei_leaf_hi: 8, ei_unused: 10, SIZE: 12 });

/** Behind the last possible entry of a node that has its own block: 4 bytes of CRC32C. */
export const EXTENT_TAIL_SIZE = 4;

/** First logical block of a leaf entry, and of everything under an index entry: the same offset in both. */
export const entryLblk = (view: DataView, at: number): number => u32le(view, at + EXTENT.ee_block);
export const extentRawLen = (view: DataView, at: number): number => u16le(view, at + EXTENT.ee_len);
export const extentPblk = (view: DataView, at: number): number =>
  u16le(view, at + EXTENT.ee_start_hi) * 2 ** 32 + u32le(view, at + EXTENT.ee_start_lo);
export const indexLeaf = (view: DataView, at: number): number =>
  u16le(view, at + EXTENT_INDEX.ei_leaf_hi) * 2 ** 32 + u32le(view, at + EXTENT_INDEX.ei_leaf_lo);

export const putEntryLblk = (view: DataView, at: number, lblk: number): void =>
  putU32le(view, at + EXTENT.ee_block, lblk);
export const putExtentRawLen = (view: DataView, at: number, rawLen: number): void =>
  putU16le(view, at + EXTENT.ee_len, rawLen);
export const putExtentPblk = (view: DataView, at: number, pblk: number): void => {
  putU16le(view, at + EXTENT.ee_start_hi, pblk / 2 ** 32);
  putU32le(view, at + EXTENT.ee_start_lo, pblk >>> 0);
};
export const putIndexLeaf = (view: DataView, at: number, leaf: number): void => {
  putU32le(view, at + EXTENT_INDEX.ei_leaf_lo, leaf >>> 0);
  putU16le(view, at + EXTENT_INDEX.ei_leaf_hi, leaf / 2 ** 32);
  putU16le(view, at + EXTENT_INDEX.ei_unused, 0);
};
