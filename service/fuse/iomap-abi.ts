/**
 * Structures of fuse-iomap, host byte order, as in the patches to include/uapi/linux/fuse.h ("fuse: allow servers to
 * use iomap for better file IO performance"). What differs between versions of them is in iomap-profile.ts.
 */

/** Sent once, before all other requests. */
export const IOMAP_CONFIG_IN = Object.freeze({ flags: 0, maxbytes: 8, cache_maxbytes: 16, SIZE: 64 });

export const IOMAP_CONFIG_OUT = Object.freeze({
  flags: 0,
  s_id: 8,
  s_uuid: 40,
  s_uuid_len: 56,
  s_blocksize: 60,
  s_max_links: 64,
  s_time_gran: 68,
  s_time_min: 72,
  s_time_max: 80,
  s_maxbytes: 88,
  cache_maxbytes: 96,
  SIZE: 104,
});

/** What of IOMAP_CONFIG_OUT counts; in the request, what the kernel knows. */
export const ConfigFlag = Object.freeze({
  SID: 0x1,
  UUID: 0x2,
  BLOCKSIZE: 0x4,
  MAX_LINKS: 0x8,
  TIME: 0x10,
  MAXBYTES: 0x20,
  CACHE_MAXBYTES: 0x40,
});

/** A mapping: where a range of a file is. Bytes, multiples of the block size. */
export const IOMAP_RECORD = Object.freeze({ offset: 0, length: 8, addr: 16, type: 24, flags: 26, dev: 28, SIZE: 32 });

export const RecordType = Object.freeze({ HOLE: 0, DELALLOC: 1, MAPPED: 2, UNWRITTEN: 3, INLINE: 4 });

export const RecordFlag = Object.freeze({
  NEW: 0x1,
  /** What leads to these blocks is not on stable storage yet. */
  DIRTY: 0x2,
  SHARED: 0x4,
  MERGED: 0x8,
  BOUNDARY: 0x10,
  ANON_WRITE: 0x20,
  /** Write it with one request to the device. */
  ATOMIC_BIO: 0x40,
});

/** What IOMAP_BEGIN asks for; WRITEBACK and SWAPFILE are in the profile. */
export const IomapOperation = Object.freeze({
  WRITE: 0x1,
  ZERO: 0x2,
  REPORT: 0x4,
  FAULT: 0x8,
  DIRECT: 0x10,
  NOWAIT: 0x20,
  OVERWRITE_ONLY: 0x40,
  UNSHARE: 0x80,
  DAX: 0x100,
  ATOMIC: 0x200,
  DONTCACHE: 0x400,
});

export const IOMAP_BEGIN_IN = Object.freeze({ opflags: 0, reserved: 4, attr_ino: 8, pos: 16, count: 24, SIZE: 32 });

export const IOMAP_BEGIN_OUT = Object.freeze({ read: 0, write: 32, SIZE: 64 });

export const IOMAP_END_IN = Object.freeze({
  opflags: 0,
  attr_ino: 8,
  pos: 16,
  count: 24,
  written: 32,
  map: 40,
  SIZE: 72,
});

export const IOMAP_IOEND_IN = Object.freeze({
  flags: 0,
  error: 4,
  attr_ino: 8,
  pos: 16,
  new_addr: 24,
  written: 32,
  dev: 40,
  SIZE: 48,
});

export const IOMAP_IOEND_OUT = Object.freeze({ newsize: 0, SIZE: 8 });

export const IoendFlag = Object.freeze({
  SHARED: 0x1,
  UNWRITTEN: 0x2,
  BOUNDARY: 0x4,
  DIRECT: 0x8,
  APPEND: 0x10,
  WRITEBACK: 0x20,
  SWAPOFF: 0x40,
});

/** Notification: replaces what the kernel remembers of a range of a file. */
export const NOTIFY_UPSERT_OUT = Object.freeze({ nodeid: 0, attr_ino: 8, read: 16, write: 48, SIZE: 80 });

/** Notification: the kernel forgets mappings. Length 0 leaves one side alone, all ones is up to the end. */
export const NOTIFY_INVAL_OUT = Object.freeze({
  nodeid: 0,
  attr_ino: 8,
  read_offset: 16,
  read_length: 24,
  write_offset: 32,
  write_length: 40,
  SIZE: 48,
});

/** Notification: the kernel drops the device's page cache without writing it. */
export const NOTIFY_DEVICE_INVAL_OUT = Object.freeze({ dev: 0, reserved: 4, offset: 8, length: 16, SIZE: 24 });

/** Bits of struct fuse_attr's flags. They count in the reply that tells the kernel about an inode first. */
export const AttributeFlag = Object.freeze({
  /** Nobody but the kernel changes the inode's attributes. */
  EXCLUSIVE: 0x4,
  /** The kernel reads and writes the file by mappings. */
  IOMAP: 0x8,
  ATOMIC: 0x10,
  SYNC: 0x20,
  IMMUTABLE: 0x40,
  APPEND: 0x80,
});

export const FREEZE_FS_IN = Object.freeze({ unlinked: 0, SIZE: 8 });
