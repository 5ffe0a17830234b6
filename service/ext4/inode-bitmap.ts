import { BlockCheck, BlockRole, type BufferCache, type CachedBlock } from './buffer-cache.ts';
import type { MetadataChecksum } from './checksum.ts';
import { CorruptionError } from './errors.ts';
import type { Geometry } from './geometry.ts';
import type { GroupDescriptors } from './group-descriptors.ts';
import type { Handle, JournalParticipant } from './journal/handle.ts';
import { GroupFlag } from './layout/group-descriptor.ts';

const isSet = (bytes: Uint8Array, index: number): boolean => (bytes[index >>> 3] & (1 << (index & 7))) !== 0;

/**
 * Which inodes of each group are in use. A bitmap is verified when it is first needed; one of a group that was
 * never used is made up then, whatever its block holds.
 */
export class InodeBitmaps implements JournalParticipant {
  readonly #geometry: Geometry;
  readonly #cache: BufferCache;
  readonly #checksum: MetadataChecksum;
  readonly #descriptors: GroupDescriptors;
  readonly #handle: Handle;
  /** Groups whose bitmap was changed in the running transaction. */
  readonly #changedGroups = new Set<number>();

  constructor(
    geometry: Geometry,
    cache: BufferCache,
    checksum: MetadataChecksum,
    descriptors: GroupDescriptors,
    handle: Handle,
  ) {
    this.#geometry = geometry;
    this.#cache = cache;
    this.#checksum = checksum;
    this.#descriptors = descriptors;
    this.#handle = handle;
  }

  /** Whether inode `index` (from 0) of the group is in use. Throws CorruptionError when the bitmap is bad. */
  isUsed(group: number, index: number): boolean {
    if (this.#descriptors.inodesAreUninitialised(group)) return false;
    return isSet(this.#verified(group).bytes, index);
  }

  /** The first free inode of the group from index `from` on, -1 when there is none. */
  firstFree(group: number, from: number): number {
    const { inodesPerGroup } = this.#geometry;
    if (this.#descriptors.inodesAreUninitialised(group)) return from < inodesPerGroup ? from : -1;
    const { bytes } = this.#verified(group);
    let index = from;
    while (index < inodesPerGroup) {
      if ((index & 7) === 0 && bytes[index >>> 3] === 0xff) index += 8;
      else if (isSet(bytes, index)) index++;
      else return index;
    }
    return -1;
  }

  /** Within the open handle. The inode must be free. */
  take(group: number, index: number): void {
    const { bytes } = this.#changeable(group);
    bytes[index >>> 3] |= 1 << (index & 7);
  }

  /** Within the open handle. Throws CorruptionError when the inode is free already. */
  giveBack(group: number, index: number): void {
    const { inodesPerGroup } = this.#geometry;
    if (!this.isUsed(group, index)) {
      const ino = group * inodesPerGroup + index + 1;
      throw new CorruptionError('inode bitmap', `group ${group}: the inode is free already`, { inode: ino });
    }
    const { bytes } = this.#changeable(group);
    bytes[index >>> 3] &= ~(1 << (index & 7));
  }

  /** The checksums are in the descriptors, which the same transaction changes for their counts. */
  transactionClosing(): void {
    for (const group of this.#changedGroups) {
      const block = this.#cache.get(this.#descriptors.inodeBitmap(group));
      const checksum = this.#checksumOf(block);
      if (this.#descriptors.inodeBitmapChecksum(group) === checksum) continue;
      this.#descriptors.setInodeBitmapChecksum(group, checksum);
    }
    this.#changedGroups.clear();
  }

  #changeable(group: number): CachedBlock {
    const descriptors = this.#descriptors;
    let block: CachedBlock;
    if (descriptors.inodesAreUninitialised(group)) {
      block = this.#handle.fresh(descriptors.inodeBitmap(group));
      this.#initialise(block);
      descriptors.setFlags(group, descriptors.flags(group) & ~GroupFlag.INODE_UNINIT);
    } else {
      block = this.#verified(group);
      this.#handle.modify(block);
    }
    block.role = BlockRole.INODE_BITMAP;
    block.owner = group;
    if (this.#checksum.enabled) this.#changedGroups.add(group);
    return block;
  }

  /** All inodes free; the bits behind the last inode count as used. */
  #initialise(block: CachedBlock): void {
    const { inodesPerGroup } = this.#geometry;
    const wholeBytes = Math.ceil(inodesPerGroup / 8);
    block.bytes.fill(0xff, wholeBytes);
    for (let index = inodesPerGroup; index < 8 * wholeBytes; index++) block.bytes[index >>> 3] |= 1 << (index & 7);
    block.checked |= BlockCheck.INODE_BITMAP;
  }

  #verified(group: number): CachedBlock {
    const block = this.#cache.get(this.#descriptors.inodeBitmap(group));
    if ((block.checked & BlockCheck.INODE_BITMAP) !== 0) return block;
    if (this.#checksum.enabled) {
      const found = this.#descriptors.inodeBitmapChecksum(group);
      const expected = this.#checksumOf(block);
      if (found !== expected) {
        const finding = `group ${group}: bad checksum ${found.toString(16)}, expected ${expected.toString(16)}`;
        throw new CorruptionError('inode bitmap', finding, { block: block.blockNr });
      }
    }
    block.checked |= BlockCheck.INODE_BITMAP;
    return block;
  }

  #checksumOf(block: CachedBlock): number {
    const length = this.#geometry.inodesPerGroup >>> 3;
    const crc = this.#checksum.crc32c(this.#checksum.seed, block.bytes, 0, length);
    return (crc & this.#descriptors.bitmapChecksumMask) >>> 0;
  }
}
