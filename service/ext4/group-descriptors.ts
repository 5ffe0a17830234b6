import { putU16le, putU32le, u32le, viewOf } from '../../shared/bytes.ts';
import { Errno } from '../../shared/errno.ts';
import { BlockCheck, BlockRole, type BufferCache, type CachedBlock } from './buffer-cache.ts';
import type { MetadataChecksum } from './checksum.ts';
import { crc16 } from './crc16.ts';
import { CorruptionError, FsError } from './errors.ts';
import type { Geometry } from './geometry.ts';
import type { Handle } from './journal/handle.ts';
import { Incompat, RoCompat } from './layout/features.ts';
import {
  GROUP_DESCRIPTOR,
  GroupFlag,
  groupBlockBitmap,
  groupBlockBitmapChecksum,
  groupChecksum,
  groupFlags,
  groupFreeClusters,
  groupFreeInodes,
  groupInodeBitmap,
  groupInodeBitmapChecksum,
  groupInodeTable,
  groupUnusedInodes,
  groupUsedDirectories,
  putGroupBlockBitmapChecksum,
  putGroupChecksum,
  putGroupFlags,
  putGroupFreeClusters,
  putGroupFreeInodes,
  putGroupInodeBitmapChecksum,
  putGroupUnusedInodes,
  putGroupUsedDirectories,
} from './layout/group-descriptor.ts';

/** How descriptors are protected: not at all, by crc16 (uninit_bg) or by crc32c (metadata_csum). */
const Protection = Object.freeze({ NONE: 0, CRC16: 1, CRC32C: 2 });

/**
 * Reads and changes group descriptors where they lie, through the buffer cache. A descriptor block is verified
 * as a whole when it comes into the cache; if one of its descriptors is bad, each is verified at each use,
 * so that only the bad one's group is lost.
 *
 * Changes need an open handle. Their checksums are made when the block is sealed. By then, when the transaction
 * closes, the descriptors have got the checksums of the bitmaps.
 */
export class GroupDescriptors {
  readonly #geometry: Geometry;
  readonly #cache: BufferCache;
  readonly #checksum: MetadataChecksum;
  readonly #protection: number;
  readonly #wide: boolean;
  readonly #flexible: boolean;
  readonly #uuidCrc16: number;
  readonly #groupLe = new Uint8Array(4);
  /** Group number and descriptor with an empty checksum: what crc32c covers. */
  readonly #coveredBytes: Uint8Array;
  readonly #covered: DataView;
  /** Groups whose descriptors differ from their checksums: those of others must stay as they are, right or wrong. */
  readonly #unsealed = new Set<number>();
  #handle: Handle | null = null;
  /** The descriptor found last. */
  #block: CachedBlock;
  #at = 0;

  constructor(geometry: Geometry, cache: BufferCache, checksum: MetadataChecksum) {
    const superblock = geometry.superblock;
    this.#geometry = geometry;
    this.#cache = cache;
    this.#checksum = checksum;
    this.#wide = superblock.hasIncompat(Incompat.BIT64);
    this.#flexible = superblock.hasIncompat(Incompat.FLEX_BG);
    this.#protection = checksum.enabled
      ? Protection.CRC32C
      : superblock.hasRoCompat(RoCompat.GDT_CSUM)
        ? Protection.CRC16
        : Protection.NONE;
    this.#coveredBytes = new Uint8Array(4 + geometry.descriptorSize);
    this.#covered = viewOf(this.#coveredBytes);
    this.#uuidCrc16 = crc16(0xffff, superblock.uuid, 0, superblock.uuid.length);
    this.#block = cache.get(geometry.descriptorBlock(0));
  }

  blockBitmap(group: number): number {
    this.#find(group);
    const blockNr = groupBlockBitmap(this.#block.view, this.#at, this.#wide);
    return this.#inside(group, blockNr, 1, 'block bitmap');
  }

  inodeBitmap(group: number): number {
    this.#find(group);
    const blockNr = groupInodeBitmap(this.#block.view, this.#at, this.#wide);
    return this.#inside(group, blockNr, 1, 'inode bitmap');
  }

  inodeTable(group: number): number {
    this.#find(group);
    const blockNr = groupInodeTable(this.#block.view, this.#at, this.#wide);
    return this.#inside(group, blockNr, this.#geometry.inodeTableBlocks, 'inode table');
  }

  freeClusters(group: number): number {
    this.#find(group);
    return groupFreeClusters(this.#block.view, this.#at, this.#wide);
  }

  freeInodes(group: number): number {
    this.#find(group);
    return groupFreeInodes(this.#block.view, this.#at, this.#wide);
  }

  usedDirectories(group: number): number {
    this.#find(group);
    return groupUsedDirectories(this.#block.view, this.#at, this.#wide);
  }

  /** Inodes at the end of the group's table that were never used; 0 where descriptors don't keep it. */
  unusedInodes(group: number): number {
    if (this.#protection === Protection.NONE) return 0;
    this.#find(group);
    return groupUnusedInodes(this.#block.view, this.#at, this.#wide);
  }

  /** GroupFlag bits; without descriptor checksums they mean nothing and read as 0. */
  flags(group: number): number {
    if (this.#protection === Protection.NONE) return 0;
    this.#find(group);
    return groupFlags(this.#block.view, this.#at);
  }

  /** True when no inode of the group was ever used, so that its table may hold anything. */
  inodesAreUninitialised(group: number): boolean {
    return (this.flags(group) & GroupFlag.INODE_UNINIT) !== 0;
  }

  /** True when no block of the group was ever used for data, so that its bitmap may hold anything. */
  blocksAreUninitialised(group: number): boolean {
    return (this.flags(group) & GroupFlag.BLOCK_UNINIT) !== 0;
  }

  /** As much of a bitmap's checksum as the descriptor has room for. */
  get bitmapChecksumMask(): number {
    return this.#wide ? 0xffffffff : 0xffff;
  }

  blockBitmapChecksum(group: number): number {
    this.#find(group);
    return groupBlockBitmapChecksum(this.#block.view, this.#at, this.#wide);
  }

  inodeBitmapChecksum(group: number): number {
    this.#find(group);
    return groupInodeBitmapChecksum(this.#block.view, this.#at, this.#wide);
  }

  /** From now on descriptors may be changed within handles of `handle`. */
  changeThrough(handle: Handle): void {
    this.#handle = handle;
  }

  setFreeClusters(group: number, count: number): void {
    this.#modify(group);
    putGroupFreeClusters(this.#block.view, this.#at, this.#wide, count);
    this.#changed(group);
  }

  setFreeInodes(group: number, count: number): void {
    this.#modify(group);
    putGroupFreeInodes(this.#block.view, this.#at, this.#wide, count);
    this.#changed(group);
  }

  setUsedDirectories(group: number, count: number): void {
    this.#modify(group);
    putGroupUsedDirectories(this.#block.view, this.#at, this.#wide, count);
    this.#changed(group);
  }

  /** Does nothing where descriptors don't keep it. */
  setUnusedInodes(group: number, count: number): void {
    if (this.#protection === Protection.NONE) return;
    this.#modify(group);
    putGroupUnusedInodes(this.#block.view, this.#at, this.#wide, count);
    this.#changed(group);
  }

  /** Does nothing where descriptors don't keep them. */
  setFlags(group: number, flags: number): void {
    if (this.#protection === Protection.NONE) return;
    this.#modify(group);
    putGroupFlags(this.#block.view, this.#at, flags);
    this.#changed(group);
  }

  /** When the transaction closes, for the bitmaps that it has changed. */
  setBlockBitmapChecksum(group: number, checksum: number): void {
    this.#modify(group);
    putGroupBlockBitmapChecksum(this.#block.view, this.#at, this.#wide, checksum);
    this.#changed(group);
  }

  setInodeBitmapChecksum(group: number, checksum: number): void {
    this.#modify(group);
    putGroupInodeBitmapChecksum(this.#block.view, this.#at, this.#wide, checksum);
    this.#changed(group);
  }

  /** Makes the checksums of the changed descriptors in a block of the role GROUP_DESCRIPTORS. */
  seal(block: CachedBlock): void {
    if (this.#unsealed.size === 0) return;
    const { groupCount, descriptorsPerBlock, descriptorSize } = this.#geometry;
    const first = block.owner;
    const count = Math.min(descriptorsPerBlock, groupCount - first);
    this.#block = block;
    for (let index = 0; index < count; index++) {
      if (!this.#unsealed.delete(first + index)) continue;
      const at = index * descriptorSize;
      putGroupChecksum(block.view, at, this.#checksumOf(first + index, at));
    }
  }

  #modify(group: number): void {
    this.#find(group);
    const block = this.#block;
    if (this.#handle === null) throw new FsError(Errno.EROFS, 'group descriptors may only be read');
    this.#handle.modify(block);
    block.role = BlockRole.GROUP_DESCRIPTORS;
    block.owner = group - (group % this.#geometry.descriptorsPerBlock);
  }

  /** A block with a bad descriptor in it is verified at each use, so its checksums must match at any time. */
  #changed(group: number): void {
    if (this.#protection === Protection.NONE) return;
    if ((this.#block.checked & BlockCheck.GROUP_DESCRIPTORS) !== 0) this.#unsealed.add(group);
    else putGroupChecksum(this.#block.view, this.#at, this.#checksumOf(group, this.#at));
  }

  #find(group: number): void {
    const geometry = this.#geometry;
    const index = Math.floor(group / geometry.descriptorsPerBlock);
    const block = this.#cache.get(geometry.descriptorBlock(index));
    const first = index * geometry.descriptorsPerBlock;
    this.#block = block;
    this.#at = (group - first) * geometry.descriptorSize;
    if ((block.checked & BlockCheck.GROUP_DESCRIPTORS) !== 0 || this.#protection === Protection.NONE) return;
    if (this.#allAreSound(block, first)) block.checked |= BlockCheck.GROUP_DESCRIPTORS;
    else this.#verify(group, this.#at);
  }

  #allAreSound(block: CachedBlock, first: number): boolean {
    const { groupCount, descriptorsPerBlock, descriptorSize } = this.#geometry;
    const count = Math.min(descriptorsPerBlock, groupCount - first);
    for (let index = 0; index < count; index++) {
      const at = index * descriptorSize;
      if (this.#checksumOf(first + index, at) !== groupChecksum(block.view, at)) return false;
    }
    return true;
  }

  #verify(group: number, at: number): void {
    const found = groupChecksum(this.#block.view, at);
    const expected = this.#checksumOf(group, at);
    if (found === expected) return;
    throw this.#corrupt(group, `bad checksum ${found.toString(16)}, expected ${expected.toString(16)}`);
  }

  #corrupt(group: number, finding: string): CorruptionError {
    return new CorruptionError('group descriptor', `group ${group}: ${finding}`, { block: this.#block.blockNr });
  }

  /**
   * Checksum of the descriptor at `at` of the current block: of group number and descriptor, less its checksum
   * field.
   */
  #checksumOf(group: number, at: number): number {
    if (this.#protection === Protection.CRC16) return this.#crc16Of(group, at);
    const { view } = this.#block;
    const { descriptorSize } = this.#geometry;
    const covered = this.#covered;
    putU32le(covered, 0, group);
    for (let offset = 0; offset < descriptorSize; offset += 4) {
      putU32le(covered, 4 + offset, u32le(view, at + offset));
    }
    putU16le(covered, 4 + GROUP_DESCRIPTOR.bg_checksum, 0);
    const bytes = this.#coveredBytes;
    return this.#checksum.crc32c(this.#checksum.seed, bytes, 0, bytes.length) & 0xffff;
  }

  #crc16Of(group: number, at: number): number {
    const { bytes } = this.#block;
    const checksumAt = at + GROUP_DESCRIPTOR.bg_checksum;
    const number = this.#groupLe;
    for (let index = 0; index < 4; index++) number[index] = group >>> (8 * index);
    const crc = crc16(crc16(this.#uuidCrc16, number, 0, 4), bytes, at, checksumAt);
    return this.#wide ? crc16(crc, bytes, checksumAt + 2, at + this.#geometry.descriptorSize) : crc;
  }

  /** Without flex_bg a group's own structures lie inside it, with flex_bg anywhere. */
  #inside(group: number, blockNr: number, count: number, what: string): number {
    const geometry = this.#geometry;
    const first = Math.max(this.#flexible ? 0 : geometry.groupFirstBlock(group), geometry.firstDataBlock + 1);
    const end = this.#flexible ? geometry.blocksCount : geometry.groupEndBlock(group);
    if (blockNr < first || blockNr + count > end) {
      throw this.#corrupt(group, `${what} at block ${blockNr}, outside ${first}..${end - 1}`);
    }
    return blockNr;
  }
}
