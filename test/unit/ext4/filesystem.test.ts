import { randomBytes } from 'node:crypto';
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CorruptionError, FsError } from '../../../service/ext4/errors.ts';
import type { Filesystem } from '../../../service/ext4/filesystem.ts';
import type { Inode } from '../../../service/ext4/inode.ts';
import { Mapping, MappingType } from '../../../service/ext4/mapping.ts';
import { StatFs } from '../../../service/ext4/statfs.ts';
import { Errno } from '../../../shared/errno.ts';
import { debugfs, dumpe2fs } from '../../support/e2fsprogs.ts';
import {
  FileBlockDevice,
  ImageDirectory,
  imageBytes,
  openBytes,
  openDevice,
  openImage,
  patchInode,
  patchSuperblock,
} from '../../support/ext4-image.ts';

const MIB = 2 ** 20;
const directory = new ImageDirectory();
const SMALL = Buffer.from('a few bytes\n');
const LONG_TARGET = `/${'long/'.repeat(40)}target`;
let dense: Buffer;
let sparse: Buffer;
const PIECES = 500;
const STEP = 16384;
/** Far behind the others: on ext2 with 1 KiB blocks only the third level of the map reaches it. */
const LAST_PIECE = 80 * MIB;

beforeAll(() => {
  dense = randomBytes(1.5 * MIB + 123);
  writeFileSync(directory.file('dense'), dense);
  writeFileSync(directory.file('small'), SMALL);
  // So many extents that the tree has two levels with 1 KiB blocks.
  sparse = Buffer.alloc(LAST_PIECE + 10);
  const fd = openSync(directory.file('sparse'), 'w');
  for (let piece = 0; piece <= PIECES; piece++) {
    const text = Buffer.from(`piece${piece}`.padEnd(10));
    const at = piece === PIECES ? LAST_PIECE : piece * STEP;
    writeSync(fd, text, 0, 10, at);
    text.copy(sparse, at);
  }
  closeSync(fd);
});
afterAll(() => directory.remove());

const populate = (): string[] => [
  `write ${directory.file('small')} small`,
  `write ${directory.file('dense')} dense`,
  `write ${directory.file('sparse')} sparse`,
  'mkdir dir',
  `write ${directory.file('small')} dir/inner`,
  'symlink fast ../short',
  `symlink slow ${LONG_TARGET}`,
  'mknod pipe p',
  'mknod oldchar c 5 200',
  // 12 and 20 bits of device number, as the kernel spreads them over the second word.
  'mknod newblock b 8 1',
  'set_inode_field newblock block[0] 0',
  `set_inode_field newblock block[1] ${0x70 + 259 * 256 + (70000 - 0x70) * 4096}`,
  'set_inode_field small uid 70000',
  'set_inode_field small gid 80000',
  'set_inode_field small mode 0104755',
];

const find = (filesystem: Filesystem, path: string): Inode => {
  let inode = filesystem.inode(2);
  for (const name of path.split('/')) {
    const bytes = Buffer.from(name);
    const ino = filesystem.lookup(inode, bytes, 0, bytes.length);
    if (ino === 0) throw new Error(`${name} is absent`);
    inode = filesystem.inode(ino);
  }
  return inode;
};

const content = (filesystem: Filesystem, inode: Inode): Buffer => {
  const bytes = Buffer.alloc(inode.sizeBytes);
  // Odd pieces, so that reads begin and end anywhere in blocks.
  for (let at = 0; at < bytes.length; ) {
    filesystem.beginOperation();
    at += filesystem.readFile(inode, at, bytes.subarray(at, at + 1_000_003));
  }
  return bytes;
};

/** Name, size in MiB, mkfs options, and debugfs commands before anything else. */
const matrix: [string, number, string[], string[]?][] = [
  ['ext2, 1 KiB blocks', 24, ['-t', 'ext2', '-b', '1024']],
  // mkfs versions differ in how they are asked for it, so the superblock is told afterwards.
  ['ext2, revision 0', 24, ['-t', 'ext2', '-I', '128', '-b', '1024', '-O', 'none'], ['ssv rev_level 0']],
  ['ext3, 4 KiB blocks', 24, ['-t', 'ext3', '-b', '4096']],
  ['ext4, 1 KiB blocks', 24, ['-b', '1024']],
  ['ext4, 2 KiB blocks', 24, ['-b', '2048']],
  ['ext4, 4 KiB blocks', 24, ['-b', '4096']],
  ['ext4, 64 KiB blocks', 96, ['-b', '65536']],
  ['inodes of 128 bytes', 24, ['-I', '128']],
  ['inodes of 1024 bytes', 24, ['-I', '1024']],
  ['no 64bit, uninit_bg', 24, ['-O', '^64bit,^metadata_csum,uninit_bg']],
  ['meta_bg', 24, ['-b', '1024', '-O', 'meta_bg,^resize_inode']],
  ['sparse_super2', 24, ['-O', 'sparse_super2']],
  ['bigalloc', 96, ['-O', 'bigalloc', '-C', '16384']],
  ['metadata_csum_seed', 24, ['-O', 'metadata_csum_seed']],
  ['no journal, no flex_bg', 24, ['-O', '^has_journal,^flex_bg']],
  ['inline_data', 24, ['-O', 'inline_data']],
];

describe.each(matrix)('a file system with %s', (_, mebibytes, mkfsArguments, preparation = []) => {
  let image: string;
  let filesystem: Filesystem;

  beforeAll(() => {
    image = directory.make(mebibytes * MIB, mkfsArguments, [...preparation, ...populate()]);
    filesystem = openImage(image);
  });

  it('shows the attributes that were set', () => {
    const small = find(filesystem, 'small');
    expect(small).toMatchObject({ mode: 0o104755, uid: 70000, gid: 80000, sizeBytes: SMALL.length, linksCount: 1 });
    const shown = debugfs(image, 'stat small');
    expect(small.mtimeSec).toBe(Number.parseInt(/mtime: 0x([0-9a-f]+)/.exec(shown)?.[1] ?? '', 16));
    expect(small.generation).toBe(Number(/Generation: (\d+)/.exec(shown)?.[1]));
    expect(small.allocatedBlocks512).toBe(Number(/Blockcount: (\d+)/.exec(shown)?.[1]));
    expect(filesystem.inode(2).isDirectory).toBe(true);
  });

  it.each(['small', 'dir/inner', 'dense', 'sparse'])('reads the content of %s', (path) => {
    const expected: Record<string, Buffer> = { small: SMALL, 'dir/inner': SMALL, dense, sparse };
    const inode = find(filesystem, path);
    expect(inode.sizeBytes).toBe(expected[path].length);
    expect(content(filesystem, inode).equals(expected[path])).toBe(true);
    expect(filesystem.readFile(inode, inode.sizeBytes, new Uint8Array(10))).toBe(0);
  });

  it('maps blocks as debugfs does', () => {
    const inode = find(filesystem, 'sparse');
    const mapping = new Mapping();
    for (const lblk of [0, 1, 12, 13, (STEP * 3) / 1024, LAST_PIECE / filesystem.blockSize]) {
      filesystem.mapBlocks(inode, lblk, mapping);
      const pblk = mapping.type === MappingType.WRITTEN ? mapping.pblk + lblk - mapping.lblk : 0;
      const shown = debugfs(image, `bmap sparse ${lblk}`).trim().split(' ');
      expect([lblk, pblk]).toEqual([lblk, shown.includes('(uninit)') ? 0 : Number(shown[0])]);
    }
  });

  it('finds data and holes', () => {
    const inode = find(filesystem, 'sparse');
    const size = filesystem.blockSize;
    if (size > STEP) {
      expect(filesystem.seekHole(inode, 0)).toBe(PIECES * STEP);
      expect(filesystem.seekData(inode, PIECES * STEP)).toBe(LAST_PIECE);
      return;
    }
    const holeAfterFirst = filesystem.seekHole(inode, 0);
    expect(holeAfterFirst).toBe(size);
    expect(filesystem.seekData(inode, 5)).toBe(5);
    expect(filesystem.seekData(inode, holeAfterFirst)).toBe(STEP);
    expect(filesystem.seekHole(inode, STEP + 5)).toBe(STEP + holeAfterFirst);
    expect(filesystem.seekData(inode, PIECES * STEP)).toBe(LAST_PIECE);
    expect(filesystem.seekHole(inode, inode.sizeBytes - 1)).toBe(inode.sizeBytes);
    expect(filesystem.seekData(inode, inode.sizeBytes)).toBe(-1);
    expect(filesystem.seekHole(inode, inode.sizeBytes)).toBe(-1);
    const small = find(filesystem, 'small');
    expect(filesystem.seekData(small, 3)).toBe(3);
    expect(filesystem.seekHole(small, 3)).toBe(SMALL.length);
  });

  it('reads links and device numbers', () => {
    expect(Buffer.from(filesystem.readLink(find(filesystem, 'fast'))).toString()).toBe('../short');
    expect(Buffer.from(filesystem.readLink(find(filesystem, 'slow'))).toString()).toBe(LONG_TARGET);
    expect(find(filesystem, 'oldchar')).toMatchObject({ rdevMajor: 5, rdevMinor: 200 });
    expect(find(filesystem, 'newblock')).toMatchObject({ rdevMajor: 259, rdevMinor: 70000 });
    expect(find(filesystem, 'pipe').fileType).toBe(0o010000);
    expect(() => filesystem.readLink(find(filesystem, 'small'))).toThrow(FsError);
    expect(() => filesystem.mapBlocks(find(filesystem, 'pipe'), 0, new Mapping())).toThrow(FsError);
  });

  it('counts its free space as dumpe2fs does', () => {
    const out = new StatFs();
    filesystem.statfs(out, true);
    const fields = dumpe2fs(image);
    expect(out.blocks).toBe(Number(fields.get('Block count')));
    expect(out.blocksFree).toBe(Number(fields.get('Free blocks')));
    expect(out.files).toBe(Number(fields.get('Inode count')));
    expect(out.filesFree).toBe(Number(fields.get('Free inodes')));
    expect(out.nameMax).toBe(255);
    const withoutOverhead = out.blocks;
    filesystem.statfs(out, false);
    expect(out.blocks).toBeLessThan(withoutOverhead);
    expect(out.blocks).toBeGreaterThanOrEqual(out.blocksFree);
  });

  it('tells what is no inode', () => {
    expect(() => filesystem.inode(0)).toThrow(CorruptionError);
    expect(() => filesystem.inode(-1)).toThrow(CorruptionError);
    expect(() => filesystem.inode(2 ** 32 + 2)).toThrow(CorruptionError);
    const last = filesystem.superblock.inodesCount;
    expect(() => filesystem.inode(last + 1)).toThrow(`${last + 1} is not in 1..${last}`);
    expect(() => filesystem.inode(last)).toThrow(expect.objectContaining({ errno: Errno.ESTALE }));
  });
});

describe('unwritten extents', () => {
  it('read as zeros and are holes', () => {
    const image = directory.make(
      16 * MIB,
      ['-b', '4096'],
      [`write ${directory.file('small')} f`, 'fallocate f 4 9', 'sif f size 50000'],
    );
    const filesystem = openImage(image);
    const inode = find(filesystem, 'f');
    const mapping = new Mapping();
    filesystem.mapBlocks(inode, 5, mapping);
    expect(mapping.type).toBe(MappingType.UNWRITTEN);
    expect(
      content(filesystem, inode)
        .subarray(4096)
        .every((byte) => byte === 0),
    ).toBe(true);
    expect(filesystem.seekHole(inode, 0)).toBe(4096);
    expect(filesystem.seekData(inode, 16384)).toBe(-1);
  });
});

describe('opening', () => {
  it('works from a backup superblock when the primary is gone', () => {
    const image = directory.make(24 * MIB, ['-b', '1024'], populate());
    const bytes = imageBytes(image);
    bytes.fill(0, 1024, 3072);
    expect(() => openBytes(bytes.slice())).toThrow('no ext2, ext3 or ext4 superblock found');
    const filesystem = openBytes(bytes, { superblockKiB: 8193 });
    expect(content(filesystem, find(filesystem, 'dense')).equals(dense)).toBe(true);
    expect(() => openBytes(bytes, { superblockKiB: 8194 })).toThrow('superblock found at byte 8390656');
  });

  it('says what is wrong with the state of the file system', () => {
    const bytes = imageBytes(directory.make(8 * MIB, ['-O', '^has_journal']));
    const logged = (change: (view: DataView) => void): string[] => {
      const lines: string[] = [];
      openBytes(patchSuperblock(bytes.slice(), change), { log: (text) => lines.push(text) });
      return lines;
    };
    expect(logged(() => {})).toEqual([]);
    expect(logged((view) => view.setUint16(0x3a, 3, true))).toEqual(['errors detected; running e2fsck is required']);
    expect(logged((view) => view.setUint16(0x3a, 0, true))).toEqual([
      'not cleanly unmounted; running e2fsck is recommended',
    ]);
    expect(logged((view) => view.setUint32(0xe8, 12, true))).toEqual([
      'orphans detected; running e2fsck is recommended',
    ]);
  });

  it('uses the journal only when it is wanted', () => {
    const bytes = imageBytes(directory.make(16 * MIB, []));
    patchSuperblock(bytes, (view) => view.setUint32(0x60, view.getUint32(0x60, true) | 4, true));
    const lines: string[] = [];
    const log = (text: string): void => {
      lines.push(text);
    };
    expect(openBytes(bytes.slice(), { log }).recovered?.size).toBe(0);
    expect(lines).toEqual(['recovering journal in memory']);
    lines.length = 0;
    expect(openBytes(bytes.slice(), { log, noRecovery: true }).recovered).toBeNull();
    expect(lines).toEqual([expect.stringMatching(/^journal needs recovery; not recovered as asked/)]);
  });

  it('refuses an external journal that needs recovery, unless recovery is not wanted', () => {
    const bytes = imageBytes(directory.make(16 * MIB, []));
    patchSuperblock(bytes, (view) => {
      view.setUint32(0x60, view.getUint32(0x60, true) | 4, true);
      view.setUint32(0xe0, 0, true);
    });
    expect(() => openBytes(bytes.slice())).toThrow('external journal needs recovery, which is not supported');
    expect(openBytes(bytes, { noRecovery: true }).inode(2).isDirectory).toBe(true);
  });

  it('finds the journal by the copy of its map in the superblock when its inode is damaged', () => {
    const bytes = imageBytes(directory.make(16 * MIB, ['-b', '4096']));
    const view = new DataView(bytes.buffer);
    const { tableBlock, tableOffset } = openBytes(bytes.slice()).inode(8);
    view.setUint16(tableBlock * 4096 + tableOffset, 0, true);
    patchSuperblock(bytes, (superblock) => superblock.setUint32(0x60, superblock.getUint32(0x60, true) | 4, true));
    expect(openBytes(bytes.slice()).recovered?.size).toBe(0);
    patchSuperblock(bytes, (superblock) => superblock.setUint8(0xfd, 0));
    expect(() => openBytes(bytes)).toThrow(CorruptionError);
  });

  it('refuses a root that is no directory', () => {
    const bytes = imageBytes(directory.make(8 * MIB, []));
    patchInode(bytes, 2, (view, at) => view.setUint16(at, 0o100644, true));
    expect(() => openBytes(bytes)).toThrow('corrupt root directory, inode 2: is no directory');
  });

  it('names the features that forbid writing', () => {
    expect(openImage(directory.make(96 * MIB, ['-O', 'bigalloc,quota'])).readOnlyFeatures).toEqual([
      'quota',
      'bigalloc',
    ]);
    expect(openImage(directory.make(8 * MIB, [])).readOnlyFeatures).toEqual([]);
  });

  it('of an empty file system of 15 TiB reads few blocks, and statfs is right', () => {
    const image = directory.make(15 * 2 ** 40, ['-E', 'lazy_itable_init=1,nodiscard', '-N', '2000000', '-J', 'size=4']);
    const device = new FileBlockDevice(image);
    const filesystem = openDevice(device);
    expect(device.reads).toBeLessThan(40);
    const out = new StatFs();
    filesystem.statfs(out, true);
    expect(out.blocks).toBe(15 * 2 ** 28);
    expect(out.blocksFree).toBe(Number(dumpe2fs(image).get('Free blocks')));
    filesystem.beginOperation();
    expect(filesystem.cache.sizeBlocks).toBeLessThanOrEqual(1024);
    device.close();
  });
});

describe('an inode', () => {
  let pristine: Uint8Array;
  let ino: number;
  beforeAll(() => {
    pristine = imageBytes(
      directory.make(
        8 * MIB,
        ['-b', '4096'],
        populate().filter((line) => !line.includes('sparse')),
      ),
    );
    ino = find(openBytes(pristine.slice()), 'small').ino;
  });
  const patched = (change: (view: DataView, at: number) => void): Inode => {
    const bytes = pristine.slice();
    patchInode(bytes, ino, change);
    return openBytes(bytes).inode(ino);
  };

  it('has times of 34 bits and nanoseconds', () => {
    const inode = patched((view, at) => {
      view.setInt32(at + 0x8, -1, true);
      view.setUint32(at + 0x8c, (999_999_998 << 2) | 3, true);
      view.setInt32(at + 0xc, 5, true);
      view.setUint32(at + 0x84, (7 << 2) | 1, true);
      view.setInt32(at + 0x10, -(2 ** 31), true);
      view.setUint32(at + 0x88, 0, true);
      view.setInt32(at + 0x90, 9, true);
      view.setUint32(at + 0x94, (11 << 2) | 2, true);
    });
    expect(inode).toMatchObject({
      atimeSec: 3 * 2 ** 32 - 1,
      atimeNsec: 999_999_998,
      ctimeSec: 2 ** 32 + 5,
      ctimeNsec: 7,
    });
    expect(inode).toMatchObject({ mtimeSec: -(2 ** 31), mtimeNsec: 0 });
    expect(inode).toMatchObject({ hasCrtime: true, crtimeSec: 2 * 2 ** 32 + 9, crtimeNsec: 11 });
  });

  it('has only the extra fields that fit its extra size', () => {
    const inode = patched((view, at) => {
      view.setUint16(at + 0x80, 8, true);
      view.setUint32(at + 0x84, 4, true);
      view.setUint32(at + 0x88, 4, true);
    });
    expect(inode).toMatchObject({ extraSizeBytes: 8, ctimeNsec: 1, mtimeNsec: 0, hasCrtime: false });
  });

  it('counts blocks of a huge file in file-system blocks', () => {
    const inode = patched((view, at) => {
      view.setUint32(at + 0x20, view.getUint32(at + 0x20, true) | 0x40000, true);
      view.setUint32(at + 0x1c, 3, true);
      view.setUint16(at + 0x74, 1, true);
    });
    expect(inode.allocatedBlocks512).toBe((2 ** 32 + 3) * 8);
  });

  it('has sizes beyond 4 GiB', () => {
    expect(patched((view, at) => view.setUint32(at + 0x6c, 0xffe, true)).sizeBytes).toBe(
      0xffe * 2 ** 32 + SMALL.length,
    );
  });

  it.each<[string, (view: DataView, at: number) => void, RegExp]>([
    ['extra size beyond the inode', (view, at) => view.setUint16(at + 0x80, 132, true), /extra size is 132/],
    ['odd extra size', (view, at) => view.setUint16(at + 0x80, 30, true), /extra size is 30/],
    ['unknown type', (view, at) => view.setUint16(at, 0o030644, true), /mode is 030644, of no known type/],
    ['negative size', (view, at) => view.setUint32(at + 0x6c, 0x80000000, true), /size .* impossible/],
    ['size beyond the extent tree', (view, at) => view.setUint32(at + 0x6c, 0x1000, true), /above the map's/],
  ])('is refused for its %s', (_, change, finding) => {
    expect(() => patched(change)).toThrow(CorruptionError);
    expect(() => patched(change)).toThrow(finding);
  });

  it('is refused for a checksum that does not match, and the others are not', () => {
    const bytes = pristine.slice();
    const { tableBlock, tableOffset } = openBytes(bytes).inode(ino);
    bytes[tableBlock * 4096 + tableOffset + 0x90] ^= 1;
    const filesystem = openBytes(bytes);
    expect(() => filesystem.inode(ino)).toThrow(
      new RegExp(`corrupt inode, inode ${ino}, block ${tableBlock}: bad checksum`),
    );
    expect(filesystem.inode(ino + 1).linksCount).toBe(1);
  });

  it('is gone when nothing links to it', () => {
    expect(() => patched((view, at) => view.setUint16(at + 0x1a, 0, true))).toThrow(
      expect.objectContaining({ errno: Errno.ESTALE }),
    );
  });

  it('is the same object as long as it is remembered', () => {
    const filesystem = openBytes(pristine);
    expect(filesystem.inode(ino)).toBe(filesystem.inode(ino));
    expect([1, 3, 8, 10, 11].map((reserved) => filesystem.isReservedInode(reserved))).toEqual([
      true,
      true,
      true,
      true,
      false,
    ]);
    expect(filesystem.isReservedInode(2)).toBe(false);
  });

  it('of the file system itself is not to be had by a name', () => {
    const filesystem = openImage(directory.make(16 * MIB, [], ['link <8> journal']));
    expect(() => find(filesystem, 'journal')).toThrow('corrupt directory, inode 2: entry leads to inode 8');
  });

  it('of a link is refused when its target can not be there', () => {
    const link = (change: (view: DataView, at: number) => void): string => {
      const bytes = pristine.slice();
      const fast = find(openBytes(bytes.slice()), 'fast').ino;
      patchInode(bytes, fast, change);
      const filesystem = openBytes(bytes);
      return Buffer.from(filesystem.readLink(filesystem.inode(fast))).toString();
    };
    expect(link(() => {})).toBe('../short');
    expect(() => link((view, at) => view.setUint32(at + 4, 60, true))).toThrow(
      '60 bytes of target in an inode without blocks',
    );
    expect(() => link((view, at) => view.setUint32(at + 4, 0, true))).toThrow('the target is empty');
    expect(() => link((view, at) => view.setUint32(at + 0x1c, 8, true))).toThrow(CorruptionError);
  });
});
