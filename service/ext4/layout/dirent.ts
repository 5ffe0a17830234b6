import { putU16le, putU32le, u8, u16le, u32le } from '../../../shared/bytes.ts';

/** Directory entry, little endian, 8 bytes and the name, padded to 4 (kernel docs: ext4, "Directory Entries"). */
export const DIRENT = Object.freeze({
  inode: 0x0,
  rec_len: 0x4,
  name_len: 0x6,
  file_type: 0x7,
  name: 0x8,
  /** An entry with a name of one byte: nothing shorter can be in a directory. */
  MIN_SIZE: 12,
});

/** The unused entry that carries a leaf block's checksum under metadata_csum: the last 12 bytes of the block. */
export const DIRENT_TAIL = Object.freeze({
  det_reserved_zero1: 0x0,
  det_rec_len: 0x4,
  det_reserved_zero2: 0x6,
  det_reserved_ft: 0x7,
  det_checksum: 0x8,
  SIZE: 12,
  RESERVED_FT: 0xde,
});

/** Values of `file_type` (with the filetype feature). Anything above SYMLINK is unknown. */
export const DirentType = Object.freeze({
  UNKNOWN: 0,
  REGULAR: 1,
  DIRECTORY: 2,
  CHARACTER: 3,
  BLOCK: 4,
  FIFO: 5,
  SOCKET: 6,
  SYMLINK: 7,
});

/**
 * Directory kept inside the inode (kernel docs: ext4, "Inline Directories"): i_block begins with the
 * parent's number, entries fill the rest of it and then the value of the system.data attribute.
 */
export const INLINE_DIRECTORY = Object.freeze({
  parent: 0x0,
  ENTRIES: 0x4,
  /** Added to an offset in the inline data gives the offset that the entry has once the directory gets a block. */
  BLOCK_SHIFT: 20,
});

const LARGEST_BLOCK_SIZE = 65536;

export const direntInode = (view: DataView, at: number): number => u32le(view, at + DIRENT.inode);
export const direntNameLen = (view: DataView, at: number): number => u8(view, at + DIRENT.name_len);

/** Bytes that an entry with a name of `nameLen` bytes needs. */
export const direntSize = (nameLen: number): number => (DIRENT.name + nameLen + 3) & ~3;

/** rec_len in bytes. 16 bits can't hold 65536, so blocks of 64 KiB say "the whole block" with 65535 or 0. */
export function direntRecLen(view: DataView, at: number, blockSize: number): number {
  const raw = u16le(view, at + DIRENT.rec_len);
  if (blockSize < LARGEST_BLOCK_SIZE) return raw;
  if (raw === 0xffff || raw === 0) return blockSize;
  return (raw & 0xfffc) | ((raw & 3) << 16);
}

/** The reverse of `direntRecLen`, for any block size. */
export const putDirentRecLen = (view: DataView, at: number, recLen: number): void =>
  putU16le(view, at + DIRENT.rec_len, recLen < LARGEST_BLOCK_SIZE ? recLen : 0xffff);

export const putDirentInode = (view: DataView, at: number, ino: number): void => putU32le(view, at + DIRENT.inode, ino);
