import { putU32le } from '../../shared/bytes.ts';
import { BlockRole, type BufferCache, type CachedBlock } from './buffer-cache.ts';
import { CorruptionError } from './errors.ts';
import type { Geometry } from './geometry.ts';
import type { GroupDescriptors } from './group-descriptors.ts';
import type { Handle, JournalParticipant } from './journal/handle.ts';
import { Incompat } from './layout/features.ts';
import { SUPERBLOCK } from './layout/superblock.ts';

/** Above this many groups (2^20 of 128 MiB are 128 TiB) the superblock's own counters are believed. */
const MAX_SUMMED_GROUPS = 2 ** 20;
/** Groups summed in one go before the cache may shrink again. */
const GROUPS_PER_BATCH = 4096;

export interface FreeSpace {
  readonly clusters: number;
  readonly inodes: number;
}

/** Reads every group descriptor. Must not be called in the middle of an operation, as it lets the cache shrink. */
export function sumFreeSpace(geometry: Geometry, descriptors: GroupDescriptors, cache: BufferCache): FreeSpace {
  const { superblock, groupCount } = geometry;
  if (groupCount > MAX_SUMMED_GROUPS) {
    const clusters = Math.floor(superblock.freeBlocksCount / superblock.clusterBlocks);
    return { clusters, inodes: superblock.freeInodesCount };
  }
  let clusters = 0;
  let inodes = 0;
  for (let group = 0; group < groupCount; group++) {
    if (group % GROUPS_PER_BATCH === GROUPS_PER_BATCH - 1) cache.beginOperation();
    try {
      clusters += descriptors.freeClusters(group);
      inodes += descriptors.freeInodes(group);
    } catch (error) {
      // A lost descriptor costs its group's share of the sum, not the answer.
      if (!(error instanceof CorruptionError)) throw error;
    }
  }
  return { clusters, inodes };
}

/** Where the superblock can be changed. */
export interface SuperblockHome {
  superblockBlock(): CachedBlock;
  readonly superblockAt: number;
}

/**
 * Free clusters and inodes of the whole file system. They change with nearly every handle and are therefore kept in
 * memory; the superblock gets them when a transaction closes.
 */
export class FreeCounts implements JournalParticipant {
  readonly #handle: Handle;
  readonly #home: SuperblockHome;
  readonly #wide: boolean;
  #clusters: number;
  #inodes: number;
  /** What the open handle has added to each. */
  #clustersInHandle = 0;
  #inodesInHandle = 0;
  #storedClusters: number;
  #storedInodes: number;

  constructor(
    geometry: Geometry,
    descriptors: GroupDescriptors,
    cache: BufferCache,
    handle: Handle,
    home: SuperblockHome,
  ) {
    const { superblock } = geometry;
    const free = sumFreeSpace(geometry, descriptors, cache);
    this.#handle = handle;
    this.#home = home;
    this.#wide = superblock.hasIncompat(Incompat.BIT64);
    this.#clusters = free.clusters;
    this.#inodes = free.inodes;
    this.#storedClusters = superblock.freeBlocksCount;
    this.#storedInodes = superblock.freeInodesCount;
    handle.addParticipant(this);
  }

  get clusters(): number {
    return this.#clusters;
  }

  get inodes(): number {
    return this.#inodes;
  }

  addClusters(count: number): void {
    this.#clusters += count;
    this.#clustersInHandle += count;
  }

  addInodes(count: number): void {
    this.#inodes += count;
    this.#inodesInHandle += count;
  }

  handleEnded(): void {
    this.#clustersInHandle = 0;
    this.#inodesInHandle = 0;
  }

  handleCancelled(): void {
    this.#clusters -= this.#clustersInHandle;
    this.#inodes -= this.#inodesInHandle;
    this.handleEnded();
  }

  transactionClosing(): void {
    if (this.#clusters === this.#storedClusters && this.#inodes === this.#storedInodes) return;
    const block = this.#home.superblockBlock();
    const at = this.#home.superblockAt;
    this.#handle.modify(block);
    block.role = BlockRole.SUPERBLOCK;
    putU32le(block.view, at + SUPERBLOCK.s_free_blocks_count_lo, this.#clusters);
    if (this.#wide) putU32le(block.view, at + SUPERBLOCK.s_free_blocks_count_hi, this.#clusters / 2 ** 32);
    putU32le(block.view, at + SUPERBLOCK.s_free_inodes_count, this.#inodes);
    this.#storedClusters = this.#clusters;
    this.#storedInodes = this.#inodes;
  }
}
