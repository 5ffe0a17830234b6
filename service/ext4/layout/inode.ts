/** Inode, little endian, 128 bytes and what i_extra_isize adds (kernel docs: ext4, "Index Nodes"). */
export const INODE = Object.freeze({
  i_mode: 0x0,
  i_uid: 0x2,
  i_size_lo: 0x4,
  i_atime: 0x8,
  i_ctime: 0xc,
  i_mtime: 0x10,
  i_dtime: 0x14,
  i_gid: 0x18,
  i_links_count: 0x1a,
  i_blocks_lo: 0x1c,
  i_flags: 0x20,
  i_version: 0x24,
  i_block: 0x28,
  i_generation: 0x64,
  i_file_acl_lo: 0x68,
  i_size_high: 0x6c,
  i_blocks_high: 0x74,
  i_file_acl_high: 0x76,
  i_uid_high: 0x78,
  i_gid_high: 0x7a,
  i_checksum_lo: 0x7c,
  i_extra_isize: 0x80,
  i_checksum_hi: 0x82,
  i_ctime_extra: 0x84,
  i_mtime_extra: 0x88,
  i_atime_extra: 0x8c,
  i_crtime: 0x90,
  i_crtime_extra: 0x94,
  i_version_hi: 0x98,
  i_projid: 0x9c,
  BASE_SIZE: 128,
  I_BLOCK_SIZE: 60,
});

/** i_flags bits. */
export const InodeFlag = Object.freeze({
  SYNC: 0x8,
  IMMUTABLE: 0x10,
  APPEND: 0x20,
  NODUMP: 0x40,
  NOATIME: 0x80,
  COMPRESSED: 0x200,
  ENCRYPT: 0x800,
  INDEX: 0x1000,
  JOURNAL_DATA: 0x4000,
  DIRSYNC: 0x10000,
  TOPDIR: 0x20000,
  HUGE_FILE: 0x40000,
  EXTENTS: 0x80000,
  VERITY: 0x100000,
  EA_INODE: 0x200000,
  DAX: 0x2000000,
  INLINE_DATA: 0x10000000,
  PROJINHERIT: 0x20000000,
  CASEFOLD: 0x40000000,
});

/** File type bits of i_mode. */
export const FileType = Object.freeze({
  MASK: 0o170000,
  FIFO: 0o010000,
  CHARACTER: 0o020000,
  DIRECTORY: 0o040000,
  BLOCK: 0o060000,
  REGULAR: 0o100000,
  SYMLINK: 0o120000,
  SOCKET: 0o140000,
});

/** Inode numbers with a fixed meaning. */
export const SpecialInode = Object.freeze({ ROOT: 2, USER_QUOTA: 3, GROUP_QUOTA: 4, RESIZE: 7, JOURNAL: 8 });
