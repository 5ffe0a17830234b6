/**
 * The kernel's FUSE wire format, host byte order (include/uapi/linux/fuse.h, protocol 7.31 to 7.45).
 * Offset tables carry the header's field names; SIZE is the whole structure. Within this range of
 * versions fields were only added in space that was padding before, so one table serves all of them;
 * where a structure exists only from some minor on, its comment says so.
 */

/** Versions we speak. A larger kernel minor is answered with MINOR_MAX, a smaller one than MINOR_MIN is refused. */
export const ProtocolVersion = Object.freeze({ MAJOR: 7, MINOR_MIN: 31, MINOR_MAX: 45 });

export const ROOT_NODE_ID = 1;

/** The kernel refuses to read into anything smaller than this, or than a WRITE of max_write bytes needs. */
export const MIN_READ_BUFFER_BYTES = 8192;

export const IN_HEADER = Object.freeze({
  len: 0,
  opcode: 4,
  unique: 8,
  nodeid: 16,
  uid: 24,
  gid: 28,
  pid: 32,
  /** Since 7.38: extensions at the end of the body, in 8-byte units. Zero padding before. */
  total_extlen: 36,
  SIZE: 40,
});

export const OUT_HEADER = Object.freeze({ len: 0, error: 4, unique: 8, SIZE: 16 });

export const ATTR = Object.freeze({
  ino: 0,
  size: 8,
  blocks: 16,
  atime: 24,
  mtime: 32,
  ctime: 40,
  atimensec: 48,
  mtimensec: 52,
  ctimensec: 56,
  mode: 60,
  nlink: 64,
  uid: 68,
  gid: 72,
  rdev: 76,
  blksize: 80,
  flags: 84,
  SIZE: 88,
});

export const ENTRY_OUT = Object.freeze({
  nodeid: 0,
  generation: 8,
  entry_valid: 16,
  attr_valid: 24,
  entry_valid_nsec: 32,
  attr_valid_nsec: 36,
  attr: 40,
  SIZE: 128,
});

export const ATTR_OUT = Object.freeze({ attr_valid: 0, attr_valid_nsec: 8, attr: 16, SIZE: 104 });

/** Since 7.39, like STATX_OUT, STATX and SX_TIME. */
export const STATX_IN = Object.freeze({ getattr_flags: 0, fh: 8, sx_flags: 16, sx_mask: 20, SIZE: 24 });

export const STATX_OUT = Object.freeze({ attr_valid: 0, attr_valid_nsec: 8, flags: 12, stat: 32, SIZE: 288 });

export const STATX = Object.freeze({
  mask: 0,
  blksize: 4,
  attributes: 8,
  nlink: 16,
  uid: 20,
  gid: 24,
  mode: 28,
  ino: 32,
  size: 40,
  blocks: 48,
  attributes_mask: 56,
  atime: 64,
  btime: 80,
  ctime: 96,
  mtime: 112,
  rdev_major: 128,
  rdev_minor: 132,
  dev_major: 136,
  dev_minor: 140,
  SIZE: 256,
});

export const SX_TIME = Object.freeze({ tv_sec: 0, tv_nsec: 8, SIZE: 16 });

/** Since 7.36 a second flag word and reserved space follow, 64 bytes in all. */
export const INIT_IN = Object.freeze({
  major: 0,
  minor: 4,
  max_readahead: 8,
  flags: 12,
  SIZE: 16,
  flags2: 16,
  EXT_SIZE: 64,
});

/** max_stack_depth (7.40) and request_timeout (7.43) lie in what is unused before. */
export const INIT_OUT = Object.freeze({
  major: 0,
  minor: 4,
  max_readahead: 8,
  flags: 12,
  max_background: 16,
  congestion_threshold: 18,
  max_write: 20,
  time_gran: 24,
  max_pages: 28,
  map_alignment: 30,
  flags2: 32,
  SIZE: 64,
});

/** open(2)'s flags, without those that make files. */
export const OPEN_IN = Object.freeze({ flags: 0, open_flags: 4, SIZE: 8 });

export const OPEN_OUT = Object.freeze({ fh: 0, open_flags: 8, SIZE: 16 });

/** FORGET. BATCH_FORGET is a count and pairs of node id and this. */
export const FORGET_IN = Object.freeze({ nlookup: 0, SIZE: 8 });

export const BATCH_FORGET_IN = Object.freeze({ count: 0, SIZE: 8 });

export const FORGET_ONE = Object.freeze({ nodeid: 0, nlookup: 8, SIZE: 16 });

export const SETATTR_IN = Object.freeze({
  valid: 0,
  fh: 8,
  size: 16,
  lock_owner: 24,
  atime: 32,
  mtime: 40,
  ctime: 48,
  atimensec: 56,
  mtimensec: 60,
  ctimensec: 64,
  mode: 68,
  uid: 76,
  gid: 80,
  SIZE: 88,
});

/** The name follows; the same holds for all structures here down to TMPFILE's. */
export const MKNOD_IN = Object.freeze({ mode: 0, rdev: 4, umask: 8, SIZE: 16 });

export const MKDIR_IN = Object.freeze({ mode: 0, umask: 4, SIZE: 8 });

/** Two names follow, the old and the new one. */
export const RENAME_IN = Object.freeze({ newdir: 0, SIZE: 8 });

export const RENAME2_IN = Object.freeze({ newdir: 0, flags: 8, SIZE: 16 });

export const LINK_IN = Object.freeze({ oldnodeid: 0, SIZE: 8 });

/** CREATE and TMPFILE. */
export const CREATE_IN = Object.freeze({ flags: 0, mode: 4, umask: 8, open_flags: 12, SIZE: 16 });

/** The data follows. */
export const WRITE_IN = Object.freeze({
  fh: 0,
  offset: 8,
  size: 16,
  write_flags: 20,
  lock_owner: 24,
  flags: 32,
  SIZE: 40,
});

/** Also the answer to COPY_FILE_RANGE. */
export const WRITE_OUT = Object.freeze({ size: 0, SIZE: 8 });

/** FSYNC and FSYNCDIR. */
export const FSYNC_IN = Object.freeze({ fh: 0, fsync_flags: 8, SIZE: 16 });

/** Name and value follow. setxattr_flags and what pads it exist when SETXATTR_EXT was agreed on. */
export const SETXATTR_IN = Object.freeze({ size: 0, flags: 4, setxattr_flags: 8, SIZE_COMPAT: 8, SIZE: 16 });

export const FALLOCATE_IN = Object.freeze({ fh: 0, offset: 8, length: 16, mode: 24, SIZE: 32 });

/** Since 7.28 and, as COPY_FILE_RANGE_64 with an answer of 64 bits, 7.45. */
export const COPY_FILE_RANGE_IN = Object.freeze({
  fh_in: 0,
  off_in: 8,
  nodeid_out: 16,
  fh_out: 24,
  off_out: 32,
  len: 40,
  flags: 48,
  SIZE: 56,
});

export const COPY_FILE_RANGE_OUT = Object.freeze({ bytes_copied: 0, SIZE: 8 });

/** READ, READDIR and READDIRPLUS. */
export const READ_IN = Object.freeze({ fh: 0, offset: 8, size: 16, read_flags: 20, SIZE: 40 });

export const DIRENT = Object.freeze({ ino: 0, off: 8, namelen: 16, type: 20, name: 24 });

export const DIRENTPLUS = Object.freeze({ dirent: 128, name: 152 });

export const STATFS_OUT = Object.freeze({
  blocks: 0,
  bfree: 8,
  bavail: 16,
  files: 24,
  ffree: 32,
  bsize: 40,
  namelen: 44,
  frsize: 48,
  SIZE: 80,
});

/** GETXATTR and LISTXATTR; GETXATTR's name follows. */
export const GETXATTR_IN = Object.freeze({ size: 0, SIZE: 8 });

export const GETXATTR_OUT = Object.freeze({ size: 0, SIZE: 8 });

export const ACCESS_IN = Object.freeze({ mask: 0, SIZE: 8 });

export const LSEEK_IN = Object.freeze({ fh: 0, offset: 8, whence: 16, SIZE: 24 });

export const LSEEK_OUT = Object.freeze({ offset: 0, SIZE: 8 });

export const BMAP_IN = Object.freeze({ block: 0, blocksize: 8, SIZE: 16 });

export const BMAP_OUT = Object.freeze({ block: 0, SIZE: 8 });

export const IOCTL_IN = Object.freeze({ fh: 0, flags: 8, cmd: 12, arg: 16, in_size: 24, out_size: 28, SIZE: 32 });

export const IOCTL_OUT = Object.freeze({ result: 0, flags: 4, in_iovs: 8, out_iovs: 12, SIZE: 16 });

/** Notification INVAL_INODE: the kernel writes back and forgets a range of a file. */
export const NOTIFY_INVAL_INODE_OUT = Object.freeze({ ino: 0, off: 8, len: 16, SIZE: 24 });

/** Bits of the first INIT flag word. */
export const InitFlag = Object.freeze({
  ASYNC_READ: 2 ** 0,
  EXPORT_SUPPORT: 2 ** 4,
  /** A WRITE may be longer than a page. */
  BIG_WRITES: 2 ** 5,
  /** The server applies the umask, or the parent's default ACL instead of it. */
  DONT_MASK: 2 ** 6,
  HAS_IOCTL_DIR: 2 ** 11,
  DO_READDIRPLUS: 2 ** 13,
  /** READDIRPLUS for the start of a directory and where names are looked up, plain READDIR elsewhere. */
  READDIRPLUS_AUTO: 2 ** 14,
  ASYNC_DIO: 2 ** 15,
  /** Writes gather in the page cache; size, mtime and ctime of regular files are the kernel's to say. */
  WRITEBACK_CACHE: 2 ** 16,
  NO_OPEN_SUPPORT: 2 ** 17,
  PARALLEL_DIROPS: 2 ** 18,
  POSIX_ACL: 2 ** 20,
  MAX_PAGES: 2 ** 22,
  CACHE_SYMLINKS: 2 ** 23,
  NO_OPENDIR_SUPPORT: 2 ** 24,
  /** The server takes suid and sgid from files that are written, truncated or given away, as told by flags. */
  HANDLE_KILLPRIV_V2: 2 ** 28,
  /** SETXATTR comes with flags. */
  SETXATTR_EXT: 2 ** 29,
  /** Both sides look at the second flag word, whose bits count from 32 on. */
  INIT_EXT: 2 ** 30,
});

/** Bits of an OPEN or OPENDIR reply. */
export const OpenFlag = Object.freeze({ KEEP_CACHE: 2 ** 1, CACHE_DIR: 2 ** 3 });

/** Bits of SETATTR's `valid`: which fields of it count. */
export const SetattrValid = Object.freeze({
  MODE: 2 ** 0,
  UID: 2 ** 1,
  GID: 2 ** 2,
  SIZE: 2 ** 3,
  ATIME: 2 ** 4,
  MTIME: 2 ** 5,
  /** By way of an open file: of changes of times alone, those that the kernel itself has kept. */
  FH: 2 ** 6,
  ATIME_NOW: 2 ** 7,
  MTIME_NOW: 2 ** 8,
  CTIME: 2 ** 10,
  KILL_SUIDGID: 2 ** 11,
});

/** Bits of a WRITE's write_flags. */
export const WriteFlag = Object.freeze({
  /** From the page cache, some time after write(2). */
  CACHE: 2 ** 0,
  KILL_SUIDGID: 2 ** 2,
});

export const FsyncFlag = Object.freeze({ DATA_ONLY: 1 });

export const SetxattrFlag = Object.freeze({ ACL_KILL_SGID: 1 });

/** Codes of messages that are no answers. */
export const NotifyCode = Object.freeze({ INVAL_INODE: 2 });

/** Request codes. Numbers missing here are answered ENOSYS. */
export const Opcode = Object.freeze({
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  BMAP: 37,
  DESTROY: 38,
  IOCTL: 39,
  POLL: 40,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
  SETUPMAPPING: 48,
  REMOVEMAPPING: 49,
  SYNCFS: 50,
  TMPFILE: 51,
  STATX: 52,
  COPY_FILE_RANGE_64: 53,
});

/** d_type values of directory entries (DT_* of dirent.h). */
export const DirentType = Object.freeze({
  UNKNOWN: 0,
  FIFO: 1,
  CHARACTER: 2,
  DIRECTORY: 4,
  BLOCK: 6,
  REGULAR: 8,
  SYMLINK: 10,
  SOCKET: 12,
});

/** Bits of statx(2)'s stx_mask that we fill. */
export const StatxMask = Object.freeze({ BASIC_STATS: 0x7ff, BTIME: 0x800 });

/** Bits of statx(2)'s stx_attributes. */
export const StatxAttribute = Object.freeze({
  COMPRESSED: 0x4,
  IMMUTABLE: 0x10,
  APPEND: 0x20,
  NODUMP: 0x40,
  ENCRYPTED: 0x800,
  VERITY: 0x100000,
});

/** Values of lseek(2)'s whence that reach a server. */
export const SeekWhence = Object.freeze({ DATA: 3, HOLE: 4 });

/** The kernel takes error numbers below this only. */
export const ERRNO_LIMIT = 512;
