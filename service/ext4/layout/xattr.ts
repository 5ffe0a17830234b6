import { u8, u16le, u32le } from '../../../shared/bytes.ts';

/** Starts the attributes of an inode and an attribute block (kernel docs: ext4, "Extended Attributes"). */
export const XATTR_MAGIC = 0xea020000;

/** Attribute block header, little endian, 32 bytes; entries follow it. */
export const XATTR_HEADER = Object.freeze({
  h_magic: 0x0,
  h_refcount: 0x4,
  h_blocks: 0x8,
  h_hash: 0xc,
  h_checksum: 0x10,
  SIZE: 32,
  MAX_REFCOUNT: 1024,
});

/** In the inode only the magic precedes the entries. */
export const XATTR_INODE_HEADER_SIZE = 4;

/** Attribute entry, little endian, 16 bytes and the name, padded to 4. Four zero bytes end the list. */
export const XATTR_ENTRY = Object.freeze({
  e_name_len: 0x0,
  e_name_index: 0x1,
  e_value_offs: 0x2,
  e_value_inum: 0x4,
  e_value_size: 0x8,
  e_hash: 0xc,
  e_name: 0x10,
  END_MARK_SIZE: 4,
});

/** Largest value that Linux lets anybody set (XATTR_SIZE_MAX). */
export const XATTR_VALUE_MAX = 65536;

/** e_name_index: stands for the beginning of the name. */
export const XattrIndex = Object.freeze({
  USER: 1,
  POSIX_ACL_ACCESS: 2,
  POSIX_ACL_DEFAULT: 3,
  TRUSTED: 4,
  SECURITY: 6,
  SYSTEM: 7,
  RICHACL: 8,
  ENCRYPTION: 9,
  HURD: 10,
});

export const xattrNameLen = (view: DataView, at: number): number => u8(view, at + XATTR_ENTRY.e_name_len);
export const xattrNameIndex = (view: DataView, at: number): number => u8(view, at + XATTR_ENTRY.e_name_index);
export const xattrValueOffset = (view: DataView, at: number): number => u16le(view, at + XATTR_ENTRY.e_value_offs);
export const xattrValueInode = (view: DataView, at: number): number => u32le(view, at + XATTR_ENTRY.e_value_inum);
export const xattrValueSize = (view: DataView, at: number): number => u32le(view, at + XATTR_ENTRY.e_value_size);
export const xattrEntryHash = (view: DataView, at: number): number => u32le(view, at + XATTR_ENTRY.e_hash);
export const xattrIsEnd = (view: DataView, at: number): boolean => u32le(view, at) === 0;
export const xattrEntrySize = (nameLen: number): number => (XATTR_ENTRY.e_name + nameLen + 3) & ~3;
