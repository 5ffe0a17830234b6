import { putU16le, putU32le, u8, u16le, u32le } from '../../../shared/bytes.ts';

/**
 * Root of a directory index: block 0, disguised as the entries "." and ".." (kernel docs: ext4, "Hash
 * Tree Directories"). dx_root_info starts at 0x18; index entries follow it.
 */
export const DX_ROOT = Object.freeze({
  dotdot: 0xc,
  reserved_zero: 0x18,
  hash_version: 0x1c,
  info_length: 0x1d,
  indirect_levels: 0x1e,
  unused_flags: 0x1f,
  entries: 0x20,
  INFO_LENGTH: 8,
});

/** Interior node: disguised as one unused directory entry as long as the block. */
export const DX_NODE = Object.freeze({ entries: 0x8 });

/** Index entry. The first one of a node has no hash: its place holds the node's limit and count. */
export const DX_ENTRY = Object.freeze({
  limit: 0x0,
  count: 0x2,
  hash: 0x0,
  block: 0x4,
  SIZE: 8,
  BLOCK_MASK: 0x0fffffff,
});

/** Behind the last possible entry of a node, under metadata_csum. */
export const DX_TAIL = Object.freeze({ dt_reserved: 0x0, dt_checksum: 0x4, SIZE: 8 });

/** Values of dx_root_info.hash_version. On disk the first three say nothing about the signedness of bytes. */
export const HashVersion = Object.freeze({
  LEGACY: 0,
  HALF_MD4: 1,
  TEA: 2,
  LEGACY_UNSIGNED: 3,
  HALF_MD4_UNSIGNED: 4,
  TEA_UNSIGNED: 5,
  SIPHASH: 6,
});

/** Added to the first three versions when the superblock asks for unsigned bytes. */
export const UNSIGNED_HASH_SHIFT = 3;

export const dxHashVersion = (view: DataView): number => u8(view, DX_ROOT.hash_version);
export const dxIndirectLevels = (view: DataView): number => u8(view, DX_ROOT.indirect_levels);
export const dxLimit = (view: DataView, entriesAt: number): number => u16le(view, entriesAt + DX_ENTRY.limit);
export const dxCount = (view: DataView, entriesAt: number): number => u16le(view, entriesAt + DX_ENTRY.count);

/** Where names of this hash and above are; the low bit says that the leaf before may hold some of them too. */
export const dxHash = (view: DataView, entriesAt: number, index: number): number =>
  index === 0 ? 0 : u32le(view, entriesAt + index * DX_ENTRY.SIZE + DX_ENTRY.hash);

export const dxBlock = (view: DataView, entriesAt: number, index: number): number =>
  u32le(view, entriesAt + index * DX_ENTRY.SIZE + DX_ENTRY.block) & DX_ENTRY.BLOCK_MASK;

export const putDxLimit = (view: DataView, entriesAt: number, limit: number): void =>
  putU16le(view, entriesAt + DX_ENTRY.limit, limit);

export const putDxCount = (view: DataView, entriesAt: number, count: number): void =>
  putU16le(view, entriesAt + DX_ENTRY.count, count);

/** Not for entry 0, which has no hash. */
export const putDxHash = (view: DataView, entriesAt: number, index: number, hash: number): void =>
  putU32le(view, entriesAt + index * DX_ENTRY.SIZE + DX_ENTRY.hash, hash);

export const putDxBlock = (view: DataView, entriesAt: number, index: number, lblk: number): void =>
  putU32le(view, entriesAt + index * DX_ENTRY.SIZE + DX_ENTRY.block, lblk);
