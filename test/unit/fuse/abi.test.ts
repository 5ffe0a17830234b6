import { describe, expect, it } from 'vitest';
import * as abi from '../../../service/fuse/abi.ts';

/**
 * Width in bytes of each field, in the order of the kernel's header; underscores are padding or fields that we
 * don't use.
 */
const LAYOUTS: Record<string, readonly (readonly [string, number])[]> = {
  IN_HEADER: [
    ['len', 4],
    ['opcode', 4],
    ['unique', 8],
    ['nodeid', 8],
    ['uid', 4],
    ['gid', 4],
    ['pid', 4],
    ['total_extlen', 2],
    ['_padding', 2],
  ],
  OUT_HEADER: [
    ['len', 4],
    ['error', 4],
    ['unique', 8],
  ],
  ATTR: [
    ['ino', 8],
    ['size', 8],
    ['blocks', 8],
    ['atime', 8],
    ['mtime', 8],
    ['ctime', 8],
    ['atimensec', 4],
    ['mtimensec', 4],
    ['ctimensec', 4],
    ['mode', 4],
    ['nlink', 4],
    ['uid', 4],
    ['gid', 4],
    ['rdev', 4],
    ['blksize', 4],
    ['flags', 4],
  ],
  ENTRY_OUT: [
    ['nodeid', 8],
    ['generation', 8],
    ['entry_valid', 8],
    ['attr_valid', 8],
    ['entry_valid_nsec', 4],
    ['attr_valid_nsec', 4],
    ['attr', 88],
  ],
  ATTR_OUT: [
    ['attr_valid', 8],
    ['attr_valid_nsec', 4],
    ['_dummy', 4],
    ['attr', 88],
  ],
  STATX_IN: [
    ['getattr_flags', 4],
    ['_reserved', 4],
    ['fh', 8],
    ['sx_flags', 4],
    ['sx_mask', 4],
  ],
  STATX_OUT: [
    ['attr_valid', 8],
    ['attr_valid_nsec', 4],
    ['flags', 4],
    ['_spare', 16],
    ['stat', 256],
  ],
  STATX: [
    ['mask', 4],
    ['blksize', 4],
    ['attributes', 8],
    ['nlink', 4],
    ['uid', 4],
    ['gid', 4],
    ['mode', 2],
    ['_spare0', 2],
    ['ino', 8],
    ['size', 8],
    ['blocks', 8],
    ['attributes_mask', 8],
    ['atime', 16],
    ['btime', 16],
    ['ctime', 16],
    ['mtime', 16],
    ['rdev_major', 4],
    ['rdev_minor', 4],
    ['dev_major', 4],
    ['dev_minor', 4],
    ['_spare2', 112],
  ],
  SX_TIME: [
    ['tv_sec', 8],
    ['tv_nsec', 4],
    ['_reserved', 4],
  ],
  INIT_OUT: [
    ['major', 4],
    ['minor', 4],
    ['max_readahead', 4],
    ['flags', 4],
    ['max_background', 2],
    ['congestion_threshold', 2],
    ['max_write', 4],
    ['time_gran', 4],
    ['max_pages', 2],
    ['map_alignment', 2],
    ['flags2', 4],
    ['_unused', 28],
  ],
  OPEN_OUT: [
    ['fh', 8],
    ['open_flags', 4],
    ['_padding', 4],
  ],
  READ_IN: [
    ['fh', 8],
    ['offset', 8],
    ['size', 4],
    ['read_flags', 4],
    ['_lock_owner', 8],
    ['_flags', 4],
    ['_padding', 4],
  ],
  STATFS_OUT: [
    ['blocks', 8],
    ['bfree', 8],
    ['bavail', 8],
    ['files', 8],
    ['ffree', 8],
    ['bsize', 4],
    ['namelen', 4],
    ['frsize', 4],
    ['_padding', 4],
    ['_spare', 24],
  ],
  GETXATTR_IN: [
    ['size', 4],
    ['_padding', 4],
  ],
  GETXATTR_OUT: [
    ['size', 4],
    ['_padding', 4],
  ],
  ACCESS_IN: [
    ['mask', 4],
    ['_padding', 4],
  ],
  FORGET_IN: [['nlookup', 8]],
  BATCH_FORGET_IN: [
    ['count', 4],
    ['_dummy', 4],
  ],
  FORGET_ONE: [
    ['nodeid', 8],
    ['nlookup', 8],
  ],
  SETATTR_IN: [
    ['valid', 4],
    ['_padding', 4],
    ['fh', 8],
    ['size', 8],
    ['lock_owner', 8],
    ['atime', 8],
    ['mtime', 8],
    ['ctime', 8],
    ['atimensec', 4],
    ['mtimensec', 4],
    ['ctimensec', 4],
    ['mode', 4],
    ['_unused4', 4],
    ['uid', 4],
    ['gid', 4],
    ['_unused5', 4],
  ],
  MKNOD_IN: [
    ['mode', 4],
    ['rdev', 4],
    ['umask', 4],
    ['_padding', 4],
  ],
  MKDIR_IN: [
    ['mode', 4],
    ['umask', 4],
  ],
  RENAME_IN: [['newdir', 8]],
  RENAME2_IN: [
    ['newdir', 8],
    ['flags', 4],
    ['_padding', 4],
  ],
  LINK_IN: [['oldnodeid', 8]],
  OPEN_IN: [
    ['flags', 4],
    ['open_flags', 4],
  ],
  CREATE_IN: [
    ['flags', 4],
    ['mode', 4],
    ['umask', 4],
    ['open_flags', 4],
  ],
  WRITE_IN: [
    ['fh', 8],
    ['offset', 8],
    ['size', 4],
    ['write_flags', 4],
    ['lock_owner', 8],
    ['flags', 4],
    ['_padding', 4],
  ],
  WRITE_OUT: [
    ['size', 4],
    ['_padding', 4],
  ],
  FSYNC_IN: [
    ['fh', 8],
    ['fsync_flags', 4],
    ['_padding', 4],
  ],
  FALLOCATE_IN: [
    ['fh', 8],
    ['offset', 8],
    ['length', 8],
    ['mode', 4],
    ['_padding', 4],
  ],
  COPY_FILE_RANGE_IN: [
    ['fh_in', 8],
    ['off_in', 8],
    ['nodeid_out', 8],
    ['fh_out', 8],
    ['off_out', 8],
    ['len', 8],
    ['flags', 8],
  ],
  COPY_FILE_RANGE_OUT: [['bytes_copied', 8]],
  NOTIFY_INVAL_INODE_OUT: [
    ['ino', 8],
    ['off', 8],
    ['len', 8],
  ],
  LSEEK_IN: [
    ['fh', 8],
    ['offset', 8],
    ['whence', 4],
    ['_padding', 4],
  ],
  LSEEK_OUT: [['offset', 8]],
  BMAP_IN: [
    ['block', 8],
    ['blocksize', 4],
    ['_padding', 4],
  ],
  BMAP_OUT: [['block', 8]],
  IOCTL_IN: [
    ['fh', 8],
    ['flags', 4],
    ['cmd', 4],
    ['arg', 8],
    ['in_size', 4],
    ['out_size', 4],
  ],
  IOCTL_OUT: [
    ['result', 4],
    ['flags', 4],
    ['in_iovs', 4],
    ['out_iovs', 4],
  ],
};

const tables = new Map<string, unknown>(Object.entries(abi));

describe('the offset tables of the FUSE structures', () => {
  it.each(Object.keys(LAYOUTS))('%s lies as its fields add up', (name) => {
    const expected: Record<string, number> = {};
    let at = 0;
    for (const [field, bytes] of LAYOUTS[name]) {
      if (!field.startsWith('_')) expected[field] = at;
      at += bytes;
    }
    expected.SIZE = at;
    expect(tables.get(name)).toEqual(expected);
  });

  it('INIT has grown from 16 to 64 bytes', () => {
    expect(abi.INIT_IN).toEqual({
      major: 0,
      minor: 4,
      max_readahead: 8,
      flags: 12,
      SIZE: 16,
      flags2: 16,
      EXT_SIZE: 64,
    });
  });

  it('SETXATTR has grown from 8 to 16 bytes', () => {
    expect(abi.SETXATTR_IN).toEqual({ size: 0, flags: 4, setxattr_flags: 8, SIZE_COMPAT: 8, SIZE: 16 });
  });

  it('directory entries put the name after 24 bytes, and after an entry of 128 with attributes', () => {
    expect(abi.DIRENT).toEqual({ ino: 0, off: 8, namelen: 16, type: 20, name: 24 });
    expect(abi.DIRENTPLUS).toEqual({ dirent: abi.ENTRY_OUT.SIZE, name: abi.ENTRY_OUT.SIZE + abi.DIRENT.name });
  });

  it('all tables are frozen', () => {
    for (const table of tables.values()) expect(typeof table === 'number' || Object.isFrozen(table)).toBe(true);
  });
});
