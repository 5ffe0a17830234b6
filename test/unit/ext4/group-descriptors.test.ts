import { afterAll, describe, expect, it } from 'vitest';
import { crc32c } from '../../../native/crc32c.ts';
import { MemoryBlockDevice } from '../../../service/ext4/block-device.ts';
import { BlockValidity } from '../../../service/ext4/block-validity.ts';
import { BufferCache } from '../../../service/ext4/buffer-cache.ts';
import { crc16 } from '../../../service/ext4/crc16.ts';
import { CorruptionError } from '../../../service/ext4/errors.ts';
import { Geometry } from '../../../service/ext4/geometry.ts';
import { GroupDescriptors } from '../../../service/ext4/group-descriptors.ts';
import { metadataChecksum, readSuperblock, superblockBlock } from '../../../service/ext4/superblock.ts';
import { e2fsprogs } from '../../support/e2fsprogs.ts';
import { FileBlockDevice, ImageDirectory, imageBytes } from '../../support/ext4-image.ts';

const MIB = 2 ** 20;
const directory = new ImageDirectory();
afterAll(() => directory.remove());

const matrix: [string, number, string[]][] = [
  ['ext2 with 1 KiB blocks', 40, ['-t', 'ext2', '-b', '1024']],
  ['ext3', 300, ['-t', 'ext3', '-b', '2048']],
  ['ext4', 600, []],
  ['ext4 with 1 KiB blocks', 100, ['-b', '1024']],
  ['ext4 with 64 KiB blocks', 64, ['-b', '65536']],
  ['32-byte descriptors and uninit_bg', 600, ['-O', '^64bit,^metadata_csum,uninit_bg']],
  ['64-byte descriptors and uninit_bg', 600, ['-O', '64bit,^metadata_csum,uninit_bg']],
  ['no descriptor checksums', 600, ['-O', '^metadata_csum,^uninit_bg']],
  ['metadata_csum_seed', 600, ['-O', 'metadata_csum_seed']],
  ['meta_bg', 300, ['-b', '1024', '-O', 'meta_bg,^resize_inode']],
  ['many small groups', 600, ['-b', '1024', '-O', '^resize_inode', '-g', '1024']],
  ['sparse_super2', 600, ['-O', 'sparse_super2']],
  ['superblocks in all groups', 300, ['-b', '1024', '-O', '^sparse_super,^resize_inode']],
  ['no flex_bg', 600, ['-O', '^flex_bg']],
  ['flexible groups of 64', 600, ['-b', '1024', '-G', '64']],
  ['bigalloc', 5000, ['-O', 'bigalloc', '-C', '65536']],
  ['bigalloc with 1 KiB blocks', 500, ['-b', '1024', '-O', 'bigalloc', '-C', '16384']],
  ['inodes of 1 KiB', 100, ['-I', '1024']],
];

interface Parts {
  readonly geometry: Geometry;
  readonly descriptors: GroupDescriptors;
  readonly validity: BlockValidity;
}

function parts(device: MemoryBlockDevice | FileBlockDevice, offsetBytes = 1024): Parts {
  const superblock = readSuperblock(device, offsetBytes, crc32c);
  const cache = new BufferCache(device, superblock.blockSizeBytes, MIB);
  const geometry = new Geometry(superblock, superblockBlock(superblock, offsetBytes));
  const descriptors = new GroupDescriptors(geometry, cache, metadataChecksum(superblock, crc32c));
  return { geometry, descriptors, validity: new BlockValidity(geometry, descriptors) };
}

/** What dumpe2fs prints about one group. */
interface ShownGroup {
  readonly group: number;
  readonly first: number;
  readonly last: number;
  readonly hasSuperblock: boolean;
  readonly descriptorsAt: string;
  readonly reserved: string;
  readonly blockBitmap: number;
  readonly inodeBitmap: number;
  readonly inodeTable: string;
  readonly freeClusters: number;
  readonly freeInodes: number;
  readonly uninitialised: boolean;
}

function shownGroups(image: string): ShownGroup[] {
  return e2fsprogs('dumpe2fs', [image])
    .split(/^Group (?=\d)/m)
    .slice(1)
    .map((section) => {
      const find = (pattern: RegExp): string => pattern.exec(section)?.[1] ?? '';
      return {
        group: Number(find(/^(\d+):/)),
        first: Number(find(/\(Blocks (\d+)-/)),
        last: Number(find(/\(Blocks \d+-(\d+)/)),
        hasSuperblock: /superblock at/.test(section),
        descriptorsAt: find(/Group descriptors? at (\d+(?:-\d+)?)/),
        reserved: find(/Reserved GDT blocks at (\d+-\d+)/),
        blockBitmap: Number(find(/Block bitmap at (\d+)/)),
        inodeBitmap: Number(find(/Inode bitmap at (\d+)/)),
        inodeTable: find(/Inode table at (\d+-\d+)/),
        freeClusters: Number(find(/(\d+) free (?:blocks|clusters)/)),
        freeInodes: Number(find(/(\d+) free inodes/)),
        uninitialised: /INODE_UNINIT/.test(section),
      };
    });
}

describe('group descriptors', () => {
  it.each(matrix)('are where dumpe2fs sees them: %s', (_, mebibytes, mkfsArguments) => {
    const image = directory.make(mebibytes * MIB, mkfsArguments);
    const device = new FileBlockDevice(image);
    const { geometry, descriptors, validity } = parts(device);
    const groups = shownGroups(image);
    expect(groups.length).toBe(geometry.groupCount);
    let total = 0;
    for (const shown of groups) {
      const { group } = shown;
      expect(geometry.groupFirstBlock(group)).toBe(shown.first);
      expect(geometry.groupEndBlock(group)).toBe(shown.last + 1);
      expect([group, geometry.groupHasSuperblock(group)]).toEqual([group, shown.hasSuperblock]);
      const lastOf = (range: string): number => Number(range.split('-').at(-1));
      const headEnd = Math.max(
        shown.hasSuperblock ? shown.first : -1,
        lastOf(shown.descriptorsAt),
        lastOf(shown.reserved),
      );
      const head = geometry.groupHeadBlocks(group);
      const bootBlock = geometry.blockSize === 1024 && geometry.firstDataBlock === 0 && group === 0;
      if (!bootBlock) expect([group, head]).toEqual([group, headEnd <= 0 && group > 0 ? 0 : headEnd + 1 - shown.first]);
      total += head;
      expect(descriptors.blockBitmap(group)).toBe(shown.blockBitmap);
      expect(descriptors.inodeBitmap(group)).toBe(shown.inodeBitmap);
      const table = descriptors.inodeTable(group);
      expect(`${table}-${table + geometry.inodeTableBlocks - 1}`).toBe(shown.inodeTable);
      expect(descriptors.freeClusters(group)).toBe(shown.freeClusters);
      expect(descriptors.freeInodes(group)).toBe(shown.freeInodes);
      expect(descriptors.inodesAreUninitialised(group)).toBe(shown.uninitialised);
      for (const own of [shown.blockBitmap, shown.inodeBitmap, table, table + geometry.inodeTableBlocks - 1]) {
        expect(() => validity.check(own, 1, 'test', 12)).toThrow(/overlap superblock, descriptors, bitmaps or inode/);
      }
      if (shown.hasSuperblock) expect(() => validity.check(shown.first, 1, 'test', 12)).toThrow(CorruptionError);
    }
    expect(geometry.totalHeadBlocks()).toBe(total);
    device.close();
  });

  it('begin to spread over the meta groups where the superblock says so', () => {
    const device = new FileBlockDevice(directory.make(300 * MIB, ['-b', '1024', '-O', 'meta_bg,^resize_inode']));
    const superblock = readSuperblock(device, 1024, crc32c);
    const later = new Geometry(Object.assign(Object.create(superblock), { firstMetaBlockGroup: 1 }), 1);
    const first = new Geometry(superblock, 1);
    expect([0, 1, 2].map((index) => first.descriptorBlock(index))).toEqual([2, 1 + 16 * 8192, 1 + 32 * 8192]);
    expect(later.groupHeadBlocks(1)).toBe(2);
    expect(later.groupHeadBlocks(15)).toBe(0);
    expect([16, 17, 18, 31].map((group) => later.groupHeadBlocks(group))).toEqual([1, 1, 0, 1]);
    expect([first.groupHeadBlocks(15), first.groupHeadBlocks(25)]).toEqual([1, 1]);
    expect(later.groupHeadBlocks(9)).toBe(2);
    let total = 0;
    for (let group = 0; group < later.groupCount; group++) total += later.groupHeadBlocks(group);
    expect(later.totalHeadBlocks()).toBe(total);
    device.close();
  });

  it('are found behind a backup superblock too', () => {
    const image = directory.make(600 * MIB, []);
    const device = new FileBlockDevice(image);
    const primary = parts(device);
    const backup = parts(device, 32768 * 4096);
    for (let group = 0; group < primary.geometry.groupCount; group++) {
      expect(backup.descriptors.inodeTable(group)).toBe(primary.descriptors.inodeTable(group));
    }
    device.close();
  });

  it.each([
    ['crc32c', ['-O', 'metadata_csum']],
    ['crc16', ['-O', '^metadata_csum,uninit_bg']],
  ])('are refused one by one when their %s does not match', (_, mkfsArguments) => {
    const bytes = imageBytes(directory.make(40 * MIB, ['-b', '1024', ...mkfsArguments]));
    const first = parts(new MemoryBlockDevice(bytes));
    const at = first.geometry.descriptorBlock(0) * 1024 + 2 * first.geometry.descriptorSize;
    bytes[at + 0x10] ^= 1;
    const { descriptors } = parts(new MemoryBlockDevice(bytes));
    expect(() => descriptors.inodeTable(2)).toThrow(/group 2: bad checksum/);
    expect(descriptors.inodeTable(1)).toBe(first.descriptors.inodeTable(1));
    expect(descriptors.inodeTable(3)).toBe(first.descriptors.inodeTable(3));
  });

  it('are refused when they place structures outside the file system, or outside the group without flex_bg', () => {
    const mkfs = ['-b', '1024', '-O', '^metadata_csum,^uninit_bg'];
    const flexible = imageBytes(directory.make(40 * MIB, mkfs));
    const rigid = imageBytes(directory.make(40 * MIB, ['-b', '1024', '-O', '^flex_bg,^metadata_csum,^uninit_bg']));
    const place = (bytes: Uint8Array, blockNr: number): GroupDescriptors => {
      const { geometry } = parts(new MemoryBlockDevice(bytes));
      const at = geometry.descriptorBlock(0) * 1024 + geometry.descriptorSize;
      new DataView(bytes.buffer).setUint32(at + 8, blockNr, true);
      return parts(new MemoryBlockDevice(bytes)).descriptors;
    };
    expect(() => place(flexible, 40 * 1024 - 1).inodeTable(1)).toThrow(/group 1: inode table at block 40959, outside/);
    expect(() => place(flexible, 1).inodeTable(1)).toThrow(CorruptionError);
    expect(place(flexible, 20000).inodeTable(1)).toBe(20000);
    expect(() => place(rigid, 20000).inodeTable(1)).toThrow(/group 1: inode table at block 20000, outside 8193..16384/);
  });
});

describe('block validity', () => {
  it('lets files have all blocks that are in no structure, and only those', () => {
    const image = directory.make(40 * MIB, ['-b', '1024', '-O', '^has_journal']);
    const { geometry, descriptors, validity } = parts(new MemoryBlockDevice(imageBytes(image)));
    const own = new Set<number>([0, 1]);
    for (let group = 0; group < geometry.groupCount; group++) {
      for (let i = 0; i < geometry.groupHeadBlocks(group); i++) own.add(geometry.groupFirstBlock(group) + i);
      for (let i = 0; i < geometry.inodeTableBlocks; i++) own.add(descriptors.inodeTable(group) + i);
      own.add(descriptors.blockBitmap(group)).add(descriptors.inodeBitmap(group));
    }
    const refused = (pblk: number, len: number): boolean => {
      try {
        validity.check(pblk, len, 'test', 12);
        return false;
      } catch (error) {
        if (error instanceof CorruptionError) return true;
        throw error;
      }
    };
    for (let pblk = 0; pblk < geometry.blocksCount; pblk++) expect(refused(pblk, 1)).toBe(own.has(pblk));
    for (let pblk = 2; pblk + 500 < geometry.blocksCount; pblk += 97) {
      const expected = Array.from({ length: 500 }, (_, i) => pblk + i).some((blockNr) => own.has(blockNr));
      expect(refused(pblk, 500)).toBe(expected);
    }
  });

  it('refuses runs that leave the file system', () => {
    const { geometry, validity } = parts(new MemoryBlockDevice(imageBytes(directory.make(8 * MIB, []))));
    expect(() => validity.check(geometry.blocksCount - 1, 2, 'extent', 77)).toThrow(/extent, inode 77: .*outside/);
    expect(() => validity.check(2 ** 48, 1, 'extent', 77)).toThrow(CorruptionError);
    expect(() => validity.check(0, 1, 'extent', 77)).toThrow(CorruptionError);
  });
});

describe('crc16', () => {
  it('matches the check value of CRC-16/MODBUS and continues', () => {
    const digits = new TextEncoder().encode('123456789');
    expect(crc16(0xffff, digits, 0, 9)).toBe(0x4b37);
    expect(crc16(crc16(0xffff, digits, 0, 4), digits, 4, 9)).toBe(0x4b37);
  });
});
