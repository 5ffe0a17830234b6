import { Compat, Incompat, RoCompat } from './layout/features.ts';
import { GROUP_DESCRIPTOR } from './layout/group-descriptor.ts';
import type { Superblock } from './layout/superblock.ts';

/** True for 1, base, base^2, ... */
const isPowerOf = (value: number, base: number): boolean => {
  let power = 1;
  while (power < value) power *= base;
  return power === value;
};

/** Powers of 3, 5 and 7 (1 once) below `limit`, the groups that keep backups under sparse_super. */
function sparseGroups(limit: number): number[] {
  const groups = limit > 1 ? [1] : [];
  for (const base of [3, 5, 7]) for (let group = base; group < limit; group *= base) groups.push(group);
  return groups;
}

/**
 * How a file system is divided into block groups, and where superblocks and descriptor blocks are
 * (kernel docs: ext4, "Layout", "Meta Block Groups", "Flexible Block Groups"). Everything follows
 * from a superblock that has passed validation; nothing is read.
 */
export class Geometry {
  readonly superblock: Superblock;
  readonly blockSize: number;
  readonly blocksPerGroup: number;
  readonly firstDataBlock: number;
  readonly blocksCount: number;
  readonly groupCount: number;
  readonly descriptorSize: number;
  readonly descriptorsPerBlock: number;
  readonly descriptorBlocks: number;
  readonly inodesPerGroup: number;
  readonly inodesPerBlock: number;
  readonly inodeTableBlocks: number;
  /** Groups whose bitmaps and inode tables are packed together; 1 without flex_bg. */
  readonly groupsPerFlex: number;
  readonly #metaBg: boolean;
  /** Block that holds the superblock in use; its descriptors follow. */
  readonly #superblockBlock: number;

  constructor(superblock: Superblock, superblockBlock: number) {
    const blockSize = superblock.blockSizeBytes;
    this.superblock = superblock;
    this.blockSize = blockSize;
    this.blocksPerGroup = superblock.blocksPerGroup;
    this.firstDataBlock = superblock.firstDataBlock;
    this.blocksCount = superblock.blocksCount;
    this.groupCount = Math.ceil((superblock.blocksCount - superblock.firstDataBlock) / superblock.blocksPerGroup);
    this.descriptorSize = superblock.hasIncompat(Incompat.BIT64)
      ? superblock.descriptorSizeField
      : GROUP_DESCRIPTOR.SIZE_32;
    this.descriptorsPerBlock = blockSize / this.descriptorSize;
    this.descriptorBlocks = Math.ceil(this.groupCount / this.descriptorsPerBlock);
    this.inodesPerGroup = superblock.inodesPerGroup;
    this.inodesPerBlock = blockSize / superblock.inodeSizeBytes;
    this.inodeTableBlocks = Math.ceil(superblock.inodesPerGroup / this.inodesPerBlock);
    this.groupsPerFlex = superblock.hasIncompat(Incompat.FLEX_BG) ? 2 ** superblock.logGroupsPerFlex : 1;
    this.#metaBg = superblock.hasIncompat(Incompat.META_BG);
    this.#superblockBlock = superblockBlock;
  }

  groupOfBlock(blockNr: number): number {
    return Math.floor((blockNr - this.firstDataBlock) / this.blocksPerGroup);
  }

  groupFirstBlock(group: number): number {
    return this.firstDataBlock + group * this.blocksPerGroup;
  }

  /** One past the group's last block. */
  groupEndBlock(group: number): number {
    return Math.min(this.groupFirstBlock(group + 1), this.blocksCount);
  }

  groupHasSuperblock(group: number): boolean {
    if (group === 0) return true;
    const superblock = this.superblock;
    if (superblock.hasCompat(Compat.SPARSE_SUPER2)) return superblock.backupGroups.includes(group);
    if (group === 1 || !superblock.hasRoCompat(RoCompat.SPARSE_SUPER)) return true;
    return group % 2 === 1 && (isPowerOf(group, 3) || isPowerOf(group, 5) || isPowerOf(group, 7));
  }

  /** Where the descriptor block number `index` is. */
  descriptorBlock(index: number): number {
    if (!this.#metaBg || index < this.superblock.firstMetaBlockGroup) return this.#superblockBlock + 1 + index;
    const group = index * this.descriptorsPerBlock;
    const superblockBlocks = this.groupHasSuperblock(group) ? 1 + this.#bootBlocks(group) : 0;
    return this.groupFirstBlock(group) + superblockBlocks;
  }

  /** Blocks at the head of the group taken by superblock, descriptors and blocks reserved for more descriptors. */
  groupHeadBlocks(group: number): number {
    const superblockBlocks = this.groupHasSuperblock(group) ? 1 + this.#bootBlocks(group) : 0;
    return superblockBlocks + this.#groupDescriptorBlocks(group) + this.#reservedDescriptorBlocks(group);
  }

  /** Sum of `groupHeadBlocks` over all groups, in a time that does not grow with their number. */
  totalHeadBlocks(): number {
    const backups = this.#backupGroupCount();
    const total = (1 + backups) * (1 + this.#classicDescriptorBlocks()) + this.#bootBlocks(0);
    if (!this.#metaBg) return total + (1 + backups) * this.superblock.reservedGdtBlocks;
    return this.#totalMetaBgHeadBlocks();
  }

  #totalMetaBgHeadBlocks(): number {
    const perBlock = this.descriptorsPerBlock;
    const firstMetaGroup = this.superblock.firstMetaBlockGroup * perBlock;
    let total = this.#bootBlocks(0) + 1 + this.#backupGroupCount();
    total += this.#classicDescriptorBlocks() * this.#superblockGroupsBelow(Math.min(firstMetaGroup, this.groupCount));
    const metaGroups = Math.max(0, this.groupCount - firstMetaGroup);
    // Every complete meta group keeps its descriptor block three times, an incomplete one up to twice.
    total += Math.floor(metaGroups / perBlock) * 3 + Math.min(2, metaGroups % perBlock);
    return total;
  }

  #backupGroupCount(): number {
    return this.#superblockGroupsBelow(this.groupCount) - 1;
  }

  #superblockGroupsBelow(limit: number): number {
    if (limit === 0) return 0;
    const superblock = this.superblock;
    if (superblock.hasCompat(Compat.SPARSE_SUPER2)) {
      const [first, second] = superblock.backupGroups;
      const firstCounts = first > 0 && first < limit ? 1 : 0;
      return 1 + firstCounts + (second > 0 && second < limit && second !== first ? 1 : 0);
    }
    return superblock.hasRoCompat(RoCompat.SPARSE_SUPER) ? 1 + sparseGroups(limit).length : limit;
  }

  /** Descriptor blocks that follow each superblock copy. */
  #classicDescriptorBlocks(): number {
    return this.#metaBg ? Math.min(this.superblock.firstMetaBlockGroup, this.descriptorBlocks) : this.descriptorBlocks;
  }

  #groupDescriptorBlocks(group: number): number {
    const metaGroup = Math.floor(group / this.descriptorsPerBlock);
    if (!this.#metaBg || metaGroup < this.superblock.firstMetaBlockGroup) {
      return this.groupHasSuperblock(group) ? this.#classicDescriptorBlocks() : 0;
    }
    const position = group - metaGroup * this.descriptorsPerBlock;
    return position < 2 || position === this.descriptorsPerBlock - 1 ? 1 : 0;
  }

  #reservedDescriptorBlocks(group: number): number {
    return !this.#metaBg && this.groupHasSuperblock(group) ? this.superblock.reservedGdtBlocks : 0;
  }

  /** With 1 KiB blocks and group 0 starting at block 0 the boot block comes before the superblock. */
  #bootBlocks(group: number): number {
    return group === 0 && this.blockSize === 1024 && this.firstDataBlock === 0 ? 1 : 0;
  }
}
