import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { crc32c } from '../../../native/crc32c.ts';
import { MemoryBlockDevice } from '../../../service/ext4/block-device.ts';
import { CorruptionError, DeviceError, FsError, IncompatibleError } from '../../../service/ext4/errors.ts';
import { featureNames } from '../../../service/ext4/features.ts';
import { SUPERBLOCK } from '../../../service/ext4/layout/superblock.ts';
import { readSuperblock } from '../../../service/ext4/superblock.ts';
import { dumpe2fs } from '../../support/e2fsprogs.ts';
import { ImageDirectory, imageBytes, patchSuperblock } from '../../support/ext4-image.ts';

const S = SUPERBLOCK;
const MIB = 2 ** 20;
const directory = new ImageDirectory();
let pristine: Uint8Array;
let path: string;

beforeAll(() => {
  path = directory.make(8 * MIB, ['-b', '4096', '-U', '01234567-89ab-cdef-0123-456789abcdef', '-L', 'some label']);
  pristine = imageBytes(path).slice(0, 65536);
});
afterAll(() => directory.remove());

/** A device of the image's full size that holds the changed superblock. */
class Device extends MemoryBlockDevice {
  override get sizeBytes(): number {
    return 8 * MIB;
  }
}

const read = (change: (view: DataView) => void) =>
  readSuperblock(new Device(patchSuperblock(pristine.slice(), change)), 1024, crc32c);

describe('a sound superblock', () => {
  it('is decoded as dumpe2fs shows it', () => {
    const superblock = read(() => {});
    const fields = dumpe2fs(path);
    const field = (name: string): number => Number(fields.get(name));
    expect(superblock.inodesCount).toBe(field('Inode count'));
    expect(superblock.blocksCount).toBe(field('Block count'));
    expect(superblock.reservedBlocksCount).toBe(field('Reserved block count'));
    expect(superblock.freeBlocksCount).toBe(field('Free blocks'));
    expect(superblock.freeInodesCount).toBe(field('Free inodes'));
    expect(superblock.blockSizeBytes).toBe(field('Block size'));
    expect(superblock.blocksPerGroup).toBe(field('Blocks per group'));
    expect(superblock.inodesPerGroup).toBe(field('Inodes per group'));
    expect(superblock.inodeSizeBytes).toBe(field('Inode size'));
    expect(superblock.journalInode).toBe(field('Journal inode'));
    expect(Buffer.from(superblock.volumeName).toString('latin1')).toMatch(/^some label\0/);
    expect(Buffer.from(superblock.uuid).toString('hex')).toBe('0123456789abcdef0123456789abcdef');
    const shown = (fields.get('Filesystem features') ?? '').split(/\s+/);
    expect(new Set(featureNames(superblock))).toEqual(new Set(shown));
  });

  it('may have read-only compatible features that we have never heard of', () => {
    expect(() => read((view) => view.setUint32(S.s_feature_ro_compat, 0x80000000 | 0x46b, true))).not.toThrow();
  });

  it('is read again while its checksum does not match, up to three times', () => {
    const bytes = pristine.slice();
    let reads = 0;
    const device = (soundFrom: number) => ({
      sizeBytes: 8 * MIB,
      read(offset: number, into: Uint8Array): number {
        into.set(bytes.subarray(offset, offset + into.length));
        if (++reads < soundFrom) into[S.s_mtime] ^= 0xff;
        return 0;
      },
      readAhead(): void {},
    });
    expect(readSuperblock(device(3), 1024, crc32c).magic).toBe(0xef53);
    expect(reads).toBe(3);
    reads = 0;
    expect(() => readSuperblock(device(4), 1024, crc32c)).toThrow('corrupt superblock: bad checksum');
  });
});

describe('what is no file system', () => {
  it('is refused as such', () => {
    const empty = new MemoryBlockDevice(new Uint8Array(65536));
    expect(() => readSuperblock(empty, 1024, crc32c)).toThrow(FsError);
    expect(() => readSuperblock(empty, 1024, crc32c)).toThrow('no ext2, ext3 or ext4 superblock found');
    expect(() => readSuperblock(new MemoryBlockDevice(new Uint8Array(100)), 1024, crc32c)).toThrow(FsError);
    expect(() => readSuperblock(empty, 8192, crc32c)).toThrow('superblock found at byte 8192');
  });

  it('is told from a failing device', () => {
    const failing = { sizeBytes: MIB, read: () => 5, readAhead() {} };
    expect(() => readSuperblock(failing, 1024, crc32c)).toThrow(DeviceError);
  });
});

describe('a file system that needs unsupported features', () => {
  it.each([
    [0x1, 'compression'],
    [0x8, 'journal_dev'],
    [0x1000, 'dirdata'],
    [0x10000, 'encrypt'],
    [0x20000, 'casefold'],
    [0x40000000, 'FEATURE_I30'],
    [0x80000000, 'FEATURE_I31'],
  ])('is refused by name (bit 0x%x)', (bit, name) => {
    const attempt = () =>
      read((view) => view.setUint32(S.s_feature_incompat, view.getUint32(S.s_feature_incompat, true) | bit, true));
    expect(attempt).toThrow(IncompatibleError);
    expect(attempt).toThrow(`file system feature ${name} not supported`);
  });

  it('is told all of them at once', () => {
    const attempt = () => read((view) => view.setUint32(S.s_feature_incompat, 0x10001, true));
    expect(attempt).toThrow('file system features compression, encrypt not supported');
  });
});

describe('an impossible superblock', () => {
  const u32 = (offset: number, value: number) => (view: DataView) => view.setUint32(offset, value, true);
  const u16 = (offset: number, value: number) => (view: DataView) => view.setUint16(offset, value, true);
  const bit = (offset: number, mask: number) => (view: DataView) =>
    view.setUint32(offset, view.getUint32(offset, true) | mask, true);
  const both = (first: (view: DataView) => void, second: (view: DataView) => void) => (view: DataView) => {
    first(view);
    second(view);
  };

  it.each<[string, (view: DataView) => void, RegExp]>([
    ['block size', u32(S.s_log_block_size, 7), /block size is 1024 << 7/],
    ['huge block size', u32(S.s_log_block_size, 0xffffffff), /block size/],
    ['cluster size', u32(S.s_log_cluster_size, 5), /cluster size/],
    ['bigalloc cluster size', both(bit(S.s_feature_ro_compat, 0x200), u32(S.s_log_cluster_size, 1)), /cluster size/],
    [
      'bigalloc clusters',
      both(bit(S.s_feature_ro_compat, 0x200), u32(S.s_clusters_per_group, 4096)),
      /but 4096 clusters/,
    ],
    ['inode size zero', u16(S.s_inode_size, 0), /inode size is 0/],
    ['inode size no power of two', u16(S.s_inode_size, 384), /inode size is 384/],
    ['inode size above the block size', u16(S.s_inode_size, 8192), /inode size is 8192/],
    ['descriptor size', u16(S.s_desc_size, 32), /group descriptor size is 32/],
    ['descriptor size no power of two', u16(S.s_desc_size, 96), /group descriptor size is 96/],
    ['blocks count zero', u32(S.s_blocks_count_lo, 0), /blocks count is 0/],
    ['blocks count beyond the device', u32(S.s_blocks_count_lo, 2049), /2049 blocks .* holds only 2048 \(truncated/],
    ['blocks count of more than 48 bits', u32(S.s_blocks_count_hi, 0x10001), /blocks count/],
    ['first data block', u32(S.s_first_data_block, 1), /first data block is 1 instead of 0/],
    ['no blocks per group', u32(S.s_blocks_per_group, 0), /0 blocks per group/],
    ['too many blocks per group', u32(S.s_blocks_per_group, 32769), /32769 blocks per group/],
    ['reserved blocks', u32(S.s_r_blocks_count_lo, 2049), /2049 of 2048 blocks are reserved/],
    ['reserved descriptor blocks', u16(S.s_reserved_gdt_blocks, 1025), /reserved descriptor blocks/],
    ['no inodes per group', u32(S.s_inodes_per_group, 0), /0 inodes per group/],
    ['too many inodes per group', u32(S.s_inodes_per_group, 32769), /32769 inodes per group/],
    ['inodes count', u32(S.s_inodes_count, 7), /7 inodes, but 1 groups/],
    ['first inode', u32(S.s_first_ino, 10), /first inode is 10/],
    [
      'first meta group',
      both(bit(S.s_feature_incompat, 0x10), u32(S.s_first_meta_bg, 2)),
      /first meta block group is 2/,
    ],
    ['flexible groups', (view) => view.setUint8(S.s_log_groups_per_flex, 32), /flexible group are 2\^32/],
    ['checksum type', (view) => view.setUint8(S.s_checksum_type, 2), /checksum type 2/],
  ])('is refused: %s', (_, change, finding) => {
    expect(() => read(change)).toThrow(CorruptionError);
    expect(() => read(change)).toThrow(finding);
  });

  it('is refused for its checksum', () => {
    const bytes = pristine.slice();
    bytes[1024 + S.s_mtime] ^= 1;
    expect(() => readSuperblock(new Device(bytes), 1024, crc32c)).toThrow('corrupt superblock: bad checksum');
  });

  it('never makes reading fail otherwise, whatever its fields hold', () => {
    let seed = 1;
    const random = (limit: number): number => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return Math.floor((seed / 2 ** 32) * limit);
    };
    for (let round = 0; round < 2000; round++) {
      try {
        read((view) => {
          for (let hit = 0; hit < 3; hit++) view.setUint8(random(0x3fc), random(256));
        });
      } catch (error) {
        const typed =
          error instanceof CorruptionError || error instanceof FsError || error instanceof IncompatibleError;
        if (!typed) throw error;
      }
    }
    expect(seed).not.toBe(1);
  });
});
