import { countClear, NO_BITS, nextClear, setBits } from './bitmap.ts';
import type { BlockValidity } from './block-validity.ts';
import { BlockCheck, BlockRole, type BufferCache, type CachedBlock } from './buffer-cache.ts';
import type { MetadataChecksum } from './checksum.ts';
import { CorruptionError } from './errors.ts';
import type { Geometry } from './geometry.ts';
import type { GroupDescriptors } from './group-descriptors.ts';
import type { Handle, JournalParticipant } from './journal/handle.ts';
import { GroupFlag } from './layout/group-descriptor.ts';

/**
 * Which blocks of each group are in use. A bitmap is verified when it comes into the cache; that of a group none of
 * whose blocks was ever allocated is made up then, whatever its block holds.
 */
export class BlockBitmaps implements JournalParticipant {
  readonly #geometry: Geometry;
  readonly #cache: BufferCache;
  readonly #checksum: MetadataChecksum;
  readonly #descriptors: GroupDescriptors;
  readonly #validity: BlockValidity;
  readonly #handle: Handle;
  /** Groups whose bitmap was changed in the running transaction. */
  readonly #changedGroups = new Set<number>();

  constructor(
    geometry: Geometry,
    cache: BufferCache,
    checksum: MetadataChecksum,
    descriptors: GroupDescriptors,
    validity: BlockValidity,
    handle: Handle,
  ) {
    this.#geometry = geometry;
    this.#cache = cache;
    this.#checksum = checksum;
    this.#descriptors = descriptors;
    this.#validity = validity;
    this.#handle = handle;
    handle.addParticipant(this);
  }

  /** Blocks in the group: the last one may be short. */
  sizeOf(group: number): number {
    return this.#geometry.groupEndBlock(group) - this.#geometry.groupFirstBlock(group);
  }

  /** The group's bitmap for looking at. Throws CorruptionError or DeviceError when it can't be relied on. */
  get(group: number): CachedBlock {
    const blockNr = this.#descriptors.blockBitmap(group);
    const known = this.#cache.peek(blockNr);
    if (known !== null && known.checked !== 0) {
      if ((known.checked & BlockCheck.BLOCK_BITMAP) !== 0 && known.owner === group) return known;
      throw corrupt(group, 'its bitmap is also something else', blockNr);
    }
    if (this.#descriptors.blocksAreUninitialised(group)) return this.#initialised(group, blockNr);
    const block = this.#cache.get(blockNr);
    this.#verify(group, block);
    return this.#accept(group, block);
  }

  /** The group's bitmap if it is in the cache, verified; else null. */
  peek(group: number): CachedBlock | null {
    const known = this.#cache.peek(this.#descriptors.blockBitmap(group));
    return known !== null && (known.checked & BlockCheck.BLOCK_BITMAP) !== 0 && known.owner === group ? known : null;
  }

  /** The group's bitmap for changing, within the open handle. */
  modify(group: number): CachedBlock {
    const block = this.get(group);
    this.#handle.modify(block);
    const flags = this.#descriptors.flags(group);
    if ((flags & GroupFlag.BLOCK_UNINIT) !== 0) this.#descriptors.setFlags(group, flags & ~GroupFlag.BLOCK_UNINIT);
    if (this.#checksum.enabled) this.#changedGroups.add(group);
    return block;
  }

  /** The checksums are in the descriptors, which the same transaction changes for their counts. */
  transactionClosing(): void {
    for (const group of this.#changedGroups) {
      // Nothing has come of a change that was cancelled.
      if (this.#descriptors.blocksAreUninitialised(group)) continue;
      const checksum = this.#checksumOf(this.get(group));
      if (this.#descriptors.blockBitmapChecksum(group) === checksum) continue;
      this.#descriptors.setBlockBitmapChecksum(group, checksum);
    }
    this.#changedGroups.clear();
  }

  #accept(group: number, block: CachedBlock): CachedBlock {
    block.checked |= BlockCheck.BLOCK_BITMAP;
    block.role = BlockRole.BLOCK_BITMAP;
    block.owner = group;
    return block;
  }

  #initialised(group: number, blockNr: number): CachedBlock {
    const block = this.#cache.fresh(blockNr);
    const first = this.#geometry.groupFirstBlock(group);
    const size = this.sizeOf(group);
    const ranges = this.#validity.systemRangesWithin(first, first + size);
    for (let index = 0; index < ranges.length; index += 2) {
      setBits(block.view, ranges[index] - first, ranges[index + 1] - ranges[index]);
    }
    setBits(block.view, size, 8 * block.bytes.length - size);
    this.#verifyCount(group, block, size);
    return this.#accept(group, block);
  }

  #verify(group: number, block: CachedBlock): void {
    if (this.#checksum.enabled) {
      const found = this.#descriptors.blockBitmapChecksum(group);
      const expected = this.#checksumOf(block);
      if (found !== expected) {
        const finding = `bad checksum ${found.toString(16)}, expected ${expected.toString(16)}`;
        throw corrupt(group, finding, block.blockNr);
      }
    }
    const size = this.sizeOf(group);
    const bits = 8 * block.bytes.length;
    if (nextClear(block.view, NO_BITS, size, bits) < bits) {
      throw corrupt(group, `bits behind its ${size} blocks are not set`, block.blockNr);
    }
    this.#verifySystemBlocks(group, block, size);
    this.#verifyCount(group, block, size);
  }

  #verifySystemBlocks(group: number, block: CachedBlock, size: number): void {
    const first = this.#geometry.groupFirstBlock(group);
    const ranges = this.#validity.systemRangesWithin(first, first + size);
    for (let index = 0; index < ranges.length; index += 2) {
      const end = ranges[index + 1] - first;
      const clear = nextClear(block.view, NO_BITS, ranges[index] - first, end);
      if (clear < end) {
        throw corrupt(group, `block ${first + clear} of the file system itself counts as free`, block.blockNr);
      }
    }
  }

  #verifyCount(group: number, block: CachedBlock, size: number): void {
    const free = countClear(block.view, size);
    const expected = this.#descriptors.freeClusters(group);
    if (free === expected) return;
    throw corrupt(group, `${free} blocks are free, ${expected} should be`, block.blockNr);
  }

  #checksumOf(block: CachedBlock): number {
    const length = this.#geometry.blocksPerGroup >>> 3;
    const crc = this.#checksum.crc32c(this.#checksum.seed, block.bytes, 0, length);
    return (crc & this.#descriptors.bitmapChecksumMask) >>> 0;
  }
}

/** True when all bits [from, from + count) are set. */
export const allUsed = (block: CachedBlock, from: number, count: number): boolean =>
  nextClear(block.view, NO_BITS, from, from + count) === from + count;

const corrupt = (group: number, finding: string, blockNr: number): CorruptionError =>
  new CorruptionError('block bitmap', `group ${group}: ${finding}`, { block: blockNr });
