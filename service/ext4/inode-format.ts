import { u16le } from '../../shared/bytes.ts';
import type { CachedBlock } from './buffer-cache.ts';
import type { MetadataChecksum } from './checksum.ts';
import type { Geometry } from './geometry.ts';
import { indirectReach } from './indirect-map.ts';
import type { Inode } from './inode.ts';
import { EXTENT_LBLK_END } from './layout/extent.ts';
import { Incompat, RoCompat } from './layout/features.ts';
import { FileType, INODE, InodeFlag } from './layout/inode.ts';
import { DefaultMountOption } from './layout/superblock.ts';

/** All fields that are known beyond the first 128 bytes. */
const KNOWN_EXTRA_SIZE = INODE.i_projid + 4 - INODE.BASE_SIZE;
/** What the checksum covers before the inode itself: number and generation. */
const PREFIX = 8;
const I = INODE;

/** What a file system's features and superblock say about the fields of its inodes. */
export class InodeFormat {
  readonly inodeSize: number;
  readonly blockSize: number;
  readonly wideIds: boolean;
  readonly hugeFiles: boolean;
  readonly largeDirectories: boolean;
  readonly projects: boolean;
  readonly bit64: boolean;
  readonly checksum: MetadataChecksum;
  /** i_extra_isize of new inodes. */
  readonly newExtraSize: number;
  readonly #maxExtentSize: number;
  readonly #maxIndirectSize: number;
  /** Inode number, generation, and the inode itself with an empty checksum: what the checksum covers. */
  readonly #covered: Uint8Array;

  constructor(geometry: Geometry, checksum: MetadataChecksum) {
    const { superblock, blockSize } = geometry;
    this.inodeSize = superblock.inodeSizeBytes;
    this.blockSize = blockSize;
    this.wideIds = !superblock.hasDefaultOption(DefaultMountOption.UID16);
    this.hugeFiles = superblock.hasRoCompat(RoCompat.HUGE_FILE);
    this.largeDirectories = superblock.hasIncompat(Incompat.LARGEDIR);
    this.projects = superblock.hasRoCompat(RoCompat.PROJECT);
    this.bit64 = superblock.hasIncompat(Incompat.BIT64);
    this.checksum = checksum;
    this.newExtraSize = newExtraSize(geometry);
    this.#maxExtentSize = EXTENT_LBLK_END * blockSize;
    this.#maxIndirectSize = indirectReach(blockSize) * blockSize;
    this.#covered = new Uint8Array(PREFIX + this.inodeSize);
  }

  /** Largest size that the inode's kind of map reaches. */
  maxSizeBytes(inode: Inode): number {
    return (inode.flags & InodeFlag.EXTENTS) === 0 ? this.#maxIndirectSize : this.#maxExtentSize;
  }

  /**
   * True when the fields before offset `end` are in use. An extra size of zero leaves all known fields
   * usable, as the kernel has it; they are zero on disk then.
   */
  fits(inode: Inode, end: number): boolean {
    if (this.inodeSize === I.BASE_SIZE) return false;
    return inode.extraSizeBytes === 0 || I.BASE_SIZE + inode.extraSizeBytes >= end;
  }

  /** True when the checksum has its upper half as well. */
  hasWideChecksum(inode: Inode): boolean {
    return inode.extraSizeBytes > 0 && this.fits(inode, I.i_checksum_hi + 2);
  }

  /** True when i_size_high belongs to the size: elsewhere it has meant other things. */
  hasWideSize(inode: Inode): boolean {
    const type = inode.fileType;
    return type === FileType.REGULAR || (type === FileType.DIRECTORY && this.largeDirectories);
  }

  /** The checksum of the inode as it is in its table block, 32 or 16 bits. */
  checksumOf(inode: Inode, block: CachedBlock): number {
    const covered = this.#covered;
    const at = inode.tableOffset;
    const wide = this.hasWideChecksum(inode);
    putLe32(covered, 0, inode.ino);
    putLe32(covered, 4, inode.generation);
    covered.set(block.bytes.subarray(at, at + this.inodeSize), PREFIX);
    covered[PREFIX + I.i_checksum_lo] = 0;
    covered[PREFIX + I.i_checksum_lo + 1] = 0;
    if (wide) {
      covered[PREFIX + I.i_checksum_hi] = 0;
      covered[PREFIX + I.i_checksum_hi + 1] = 0;
    }
    const crc = this.checksum.crc32c(this.checksum.seed, covered, 0, covered.length);
    return wide ? crc : crc & 0xffff;
  }

  /** The checksum that the table block holds for the inode. */
  storedChecksum(inode: Inode, block: CachedBlock): number {
    const at = inode.tableOffset;
    const low = u16le(block.view, at + I.i_checksum_lo);
    return this.hasWideChecksum(inode) ? u16le(block.view, at + I.i_checksum_hi) * 2 ** 16 + low : low;
  }
}

/** As the kernel: all known fields, and more if the superblock asks for it and the inodes have the room. */
function newExtraSize(geometry: Geometry): number {
  const { superblock } = geometry;
  const room = superblock.inodeSizeBytes - I.BASE_SIZE;
  if (room === 0) return 0;
  const asked = superblock.hasRoCompat(RoCompat.EXTRA_ISIZE)
    ? Math.max(KNOWN_EXTRA_SIZE, superblock.wantExtraSize, superblock.minExtraSize)
    : KNOWN_EXTRA_SIZE;
  return asked > room || asked % 4 !== 0 ? KNOWN_EXTRA_SIZE : asked;
}

function putLe32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}
