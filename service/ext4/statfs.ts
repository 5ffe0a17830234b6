import type { BufferCache } from './buffer-cache.ts';
import { type FreeSpace, sumFreeSpace } from './free-counts.ts';
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

/** The kernel keeps 2 % of the clusters back for extent tree growth, but at most this many. */
const MAX_RESERVED_CLUSTERS = 4096;

/** Clusters that only the growth of extent trees may use, where an operation must not fail for want of space. */
export function growthReserveClusters(geometry: Geometry): number {
  const { superblock, blocksCount } = geometry;
  if (!superblock.hasIncompat(Incompat.EXTENTS)) return 0;
  return Math.min(Math.floor(Math.floor(blocksCount / superblock.clusterBlocks) / 50), MAX_RESERVED_CLUSTERS);
}

/**
 * The numbers of statfs as the kernel's ext4 gives them. Counting reads every group descriptor, so it
 * waits until somebody asks, and is done once: nothing changes under a read-only mount, and a writer keeps count.
 */
export class SpaceAccount {
  readonly #geometry: Geometry;
  readonly #descriptors: GroupDescriptors;
  readonly #cache: BufferCache;
  #free: FreeSpace | null = null;
  #overhead = -1;

  constructor(geometry: Geometry, descriptors: GroupDescriptors, cache: BufferCache) {
    this.#geometry = geometry;
    this.#descriptors = descriptors;
    this.#cache = cache;
  }

  /** From now on the free space is what the writer says. */
  follow(free: FreeSpace): void {
    this.#free = free;
  }

  /**
   * `minixDf` counts the file system's own structures as space, as the mount option does; else they, the
   * internal journal included, are left out.
   */
  fill(out: StatFs, minixDf: boolean, journalBlocks: number): void {
    this.#free ??= sumFreeSpace(this.#geometry, this.#descriptors, this.#cache);
    if (this.#overhead < 0) this.#overhead = this.#countOverhead(journalBlocks);
    const { superblock, blockSize, blocksCount } = this.#geometry;
    const { clusterBlocks } = superblock;
    const reserved = superblock.reservedBlocksCount + growthReserveClusters(this.#geometry) * clusterBlocks;
    out.blockSize = blockSize;
    out.blocks = blocksCount - (minixDf ? 0 : Math.min(blocksCount, this.#overhead * clusterBlocks));
    out.blocksFree = Math.min(blocksCount, this.#free.clusters * clusterBlocks);
    out.blocksAvailable = Math.max(0, out.blocksFree - reserved);
    out.files = superblock.inodesCount;
    out.filesFree = Math.min(superblock.inodesCount, this.#free.inodes);
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
