import type { BufferCache } from './buffer-cache.ts';
import { CorruptionError } from './errors.ts';
import type { Geometry } from './geometry.ts';
import type { GroupDescriptors } from './group-descriptors.ts';
import { Incompat, RoCompat } from './layout/features.ts';

/** Sizes in blocks. */
export class StatFs {
  blockSize = 0;
  blocks = 0;
  blocksFree = 0;
  blocksAvailable = 0;
  files = 0;
  filesFree = 0;
  nameMax = 255;
}

/** Above this many groups (2^20 of 128 MiB are 128 TiB) the superblock's own counters are believed. */
const MAX_SUMMED_GROUPS = 2 ** 20;
/** Groups summed in one go before the cache may shrink again. */
const GROUPS_PER_BATCH = 4096;
/** The kernel keeps 2 % of the clusters back for extent tree growth, but at most this many. */
const MAX_RESERVED_CLUSTERS = 4096;

interface FreeCounts {
  readonly clusters: number;
  readonly inodes: number;
}

/**
 * The numbers of statfs as the kernel's ext4 gives them. Counting reads every group descriptor, so it
 * waits until somebody asks, and is done once: nothing changes under a read-only mount.
 */
export class SpaceAccount {
  readonly #geometry: Geometry;
  readonly #descriptors: GroupDescriptors;
  readonly #cache: BufferCache;
  #free: FreeCounts | null = null;
  #overhead = -1;

  constructor(geometry: Geometry, descriptors: GroupDescriptors, cache: BufferCache) {
    this.#geometry = geometry;
    this.#descriptors = descriptors;
    this.#cache = cache;
  }

  /**
   * `minixDf` counts the file system's own structures as space, as the mount option does; else they, the
   * internal journal included, are left out.
   */
  fill(out: StatFs, minixDf: boolean, journalBlocks: number): void {
    this.#free ??= this.#countFree();
    if (this.#overhead < 0) this.#overhead = this.#countOverhead(journalBlocks);
    const { superblock, blockSize, blocksCount } = this.#geometry;
    const { clusterBlocks } = superblock;
    const reserved = superblock.reservedBlocksCount + this.#growthReserve();
    out.blockSize = blockSize;
    out.blocks = blocksCount - (minixDf ? 0 : Math.min(blocksCount, this.#overhead * clusterBlocks));
    out.blocksFree = Math.min(blocksCount, this.#free.clusters * clusterBlocks);
    out.blocksAvailable = Math.max(0, out.blocksFree - reserved);
    out.files = superblock.inodesCount;
    out.filesFree = Math.min(superblock.inodesCount, this.#free.inodes);
  }

  #growthReserve(): number {
    const { superblock, blocksCount } = this.#geometry;
    if (!superblock.hasIncompat(Incompat.EXTENTS)) return 0;
    const clusters = Math.floor(blocksCount / superblock.clusterBlocks);
    return Math.min(Math.floor(clusters / 50), MAX_RESERVED_CLUSTERS) * superblock.clusterBlocks;
  }

  #countFree(): FreeCounts {
    const { superblock, groupCount } = this.#geometry;
    if (groupCount > MAX_SUMMED_GROUPS) {
      const clusters = Math.floor(superblock.freeBlocksCount / superblock.clusterBlocks);
      return { clusters, inodes: superblock.freeInodesCount };
    }
    let clusters = 0;
    let inodes = 0;
    for (let group = 0; group < groupCount; group++) {
      if (group % GROUPS_PER_BATCH === GROUPS_PER_BATCH - 1) this.#cache.beginOperation();
      try {
        clusters += this.#descriptors.freeClusters(group);
        inodes += this.#descriptors.freeInodes(group);
      } catch (error) {
        // A lost descriptor costs its group's share of the sum, not the answer.
        if (!(error instanceof CorruptionError)) throw error;
      }
    }
    return { clusters, inodes };
  }

  /** In clusters. The stored value counts only with bigalloc: elsewhere the kernel prefers to compute it. */
  #countOverhead(journalBlocks: number): number {
    const { superblock, groupCount, inodeTableBlocks, blocksCount } = this.#geometry;
    const { clusterBlocks, overheadClusters } = superblock;
    const bigalloc = superblock.hasRoCompat(RoCompat.BIGALLOC);
    if (bigalloc && overheadClusters > 0 && overheadClusters <= blocksCount) return overheadClusters;
    const bitmapsAndTables = groupCount * (inodeTableBlocks + 2);
    const blocks = this.#geometry.totalHeadBlocks() + bitmapsAndTables + journalBlocks;
    return Math.ceil((blocks + superblock.firstDataBlock) / clusterBlocks);
  }
}
