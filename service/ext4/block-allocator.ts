import { Errno } from '../../shared/errno.ts';
import type { BlockBitmaps } from './block-bitmap.ts';
import type { BlockValidity } from './block-validity.ts';
import { type CorruptionError, type DeviceError, FsError, SpaceAwaitsCommit } from './errors.ts';
import type { FreeCounts } from './free-counts.ts';
import { FreeSpace } from './free-space.ts';
import type { Geometry } from './geometry.ts';
import type { GroupDescriptors } from './group-descriptors.ts';
import type { Inode } from './inode.ts';
import type { Handle, JournalParticipant } from './journal/handle.ts';
import { InodeFlag } from './layout/inode.ts';
import { PendingFrees } from './pending-frees.ts';
import { type Reservation, Reservations } from './reservation.ts';
import { growthReserveClusters } from './statfs.ts';
import { type BlockAllocator, BlockRun, type Caller } from './write-context.ts';

/** Files up to this size share reservations, so that the small files of a directory lie next to each other. */
const SMALL_FILE_BYTES = 64 * 1024;
/** What is set aside for small files at a time. */
const SMALL_FILE_AREA_BYTES = 2 * 2 ** 20;
/** The most that is set aside for one file. */
const MAX_RESERVATION_BYTES = 8 * 2 ** 20;
/** No more is set aside at a time than this part of the blocks that can be had. */
const SCARCE = 32;
/** With flexible groups of at least this many groups the first one is left to directories. */
const MIN_FLEX_FOR_DIRECTORIES = 4;
/** Block maps have 32-bit block numbers. */
const BLOCK_MAP_LIMIT = 2 ** 32;

export interface BlockAllocatorParts {
  readonly geometry: Geometry;
  readonly descriptors: GroupDescriptors;
  readonly bitmaps: BlockBitmaps;
  readonly validity: BlockValidity;
  readonly counts: FreeCounts;
  readonly handle: Handle;
  /** On whose behalf the present request is. */
  readonly caller: Caller;
}

export interface BlockAllocatorOptions {
  /** Besides root, these may use the reserved blocks (options resuid, resgid; else as the superblock says). */
  readonly reservedUid: number;
  readonly reservedGid: number;
  /** Told once of each group that can't be used. */
  readonly report: (error: CorruptionError | DeviceError) => void;
  /**
   * Told of blocks that a commit has freed for good. When it returns true it is going to discard them, and calls
   * `discarded` when that is done: nobody gets them until then. Null: never asked.
   */
  readonly onDiscardable: ((pblk: number, lenBlocks: number) => boolean) | null;
}

/** Allocates blocks in groups near where they belong, in runs as long as can be had. */
export class GroupBlockAllocator implements BlockAllocator, JournalParticipant {
  readonly #geometry: Geometry;
  readonly #validity: BlockValidity;
  readonly #counts: FreeCounts;
  readonly #handle: Handle;
  readonly #caller: Caller;
  readonly #options: BlockAllocatorOptions;
  readonly #space: FreeSpace;
  readonly #reservations: Reservations;
  readonly #pending = new PendingFrees();
  /**
   * Told of metadata blocks that a commit has freed for good, before anybody gets them: copies of them may be left in a
   * cache beside ours. Null: never asked.
   */
  onMetadataFreed: ((pblk: number, lenBlocks: number) => void) | null = null;
  readonly #pendingMetadata = new PendingFrees();
  /** Blocks kept out of reach until `discarded`. */
  #discardingBlocks = 0;
  /** Somebody was refused who is going to try again after the next commit: no time for discarding. */
  #isAwaited = false;
  readonly #growthReserve: number;
  /** Groups whose blocks all have 32-bit numbers. */
  readonly #blockMapGroups: number;
  readonly #metadataRun = new BlockRun();

  constructor(parts: BlockAllocatorParts, options: BlockAllocatorOptions) {
    const { geometry } = parts;
    this.#geometry = geometry;
    this.#validity = parts.validity;
    this.#counts = parts.counts;
    this.#handle = parts.handle;
    this.#caller = parts.caller;
    this.#options = options;
    this.#space = new FreeSpace(geometry, parts.bitmaps, parts.descriptors, parts.counts, options.report);
    this.#reservations = new Reservations(this.#space);
    this.#growthReserve = growthReserveClusters(geometry);
    this.#blockMapGroups =
      geometry.blocksCount <= BLOCK_MAP_LIMIT ? geometry.groupCount : geometry.groupOfBlock(BLOCK_MAP_LIMIT);
    parts.handle.addParticipant(this);
  }

  /** Free blocks that somebody will get before long: those set aside for appends. */
  get reservedAhead(): number {
    return this.#reservations.blocks;
  }

  /** Freed blocks that nobody gets before the next commit. */
  get awaitingCommit(): number {
    return this.#pending.blocks;
  }

  /** Free blocks that nobody waits for or has been promised. */
  get spareBlocks(): number {
    return this.#counts.clusters - this.#pending.blocks - this.#reservations.blocks;
  }

  allocateData(inode: Inode, lblk: number, goal: number, wantBlocks: number, out: BlockRun): void {
    const want = this.#affordable(wantBlocks, false);
    const kept = this.#reservations.find(inode.ino);
    if (kept?.holds(lblk)) {
      this.#takeReserved(kept, lblk, want, out);
      return;
    }
    const window = this.#windowFor(inode, lblk, want);
    if (window > 0 && (lblk + want) * this.#geometry.blockSize <= SMALL_FILE_BYTES) {
      this.#allocateSmall(inode, goal, want, window, out);
      return;
    }
    this.#search(this.#goal(inode, goal), Math.max(want, window), this.#endGroupFor(inode), out);
    const { pblk, lenBlocks } = out;
    const count = Math.min(want, lenBlocks);
    this.#space.take(pblk, count);
    if (window > 0) this.#keep(inode.ino, lblk + count, pblk + count, lenBlocks - count);
    out.lenBlocks = count;
  }

  allocateMetadata(goal: number, essential = false, anywhere = false): number {
    this.#affordable(1, essential);
    const run = this.#metadataRun;
    this.#search(goal, 1, anywhere ? this.#geometry.groupCount : this.#blockMapGroups, run);
    this.#space.take(run.pblk, 1);
    return run.pblk;
  }

  /** As the kernel: behind the metadata of the inode's flexible group; in the inode's own group if that isn't first. */
  goalFor(inode: Inode): number {
    const { groupsPerFlex, groupCount, inodesPerGroup } = this.#geometry;
    let group = Math.floor((inode.ino - 1) / inodesPerGroup);
    if (groupsPerFlex >= MIN_FLEX_FOR_DIRECTORIES) {
      const first = group - (group % groupsPerFlex);
      if (!inode.isRegular) group = first;
      else if (group === first && first + 1 < groupCount) group = first + 1;
    }
    return this.#geometry.groupFirstBlock(group < groupCount ? group : 0);
  }

  free(pblk: number, lenBlocks: number): void {
    this.#validity.check(pblk, lenBlocks, 'blocks to be freed', 0);
    const end = pblk + lenBlocks;
    for (let at = pblk; at < end; at = this.#pieceEnd(at, end)) {
      this.#space.requireUsed(at, this.#pieceEnd(at, end) - at);
    }
    const { sequence } = this.#handle.running;
    for (let at = pblk; at < end; ) {
      const pieceEnd = this.#pieceEnd(at, end);
      if (this.#space.putBack(at, pieceEnd - at)) this.#pending.add(sequence, at, pieceEnd - at);
      at = pieceEnd;
    }
  }

  freeMetadata(pblk: number, lenBlocks: number): void {
    this.free(pblk, lenBlocks);
    if (this.onMetadataFreed !== null) this.#pendingMetadata.add(this.#handle.running.sequence, pblk, lenBlocks);
    for (let blockNr = pblk; blockNr < pblk + lenBlocks; blockNr++) this.#handle.forget(blockNr);
  }

  discardReservation(ino: number): void {
    this.#reservations.drop(ino);
  }

  /** Free runs of `leastBlocks` or more in [first, end) of one group, as pairs; nobody gets them before `discarded`. */
  setAsideRuns(group: number, first: number, end: number, leastBlocks: number): readonly number[] {
    const runs: number[] = [];
    this.#space.setAsideRuns(group, first, end, leastBlocks, runs);
    for (let index = 1; index < runs.length; index += 2) this.#discardingBlocks += runs[index];
    return runs;
  }

  /** The blocks, which `onDiscardable` or `setAsideRuns` kept out of reach, may be used. */
  discarded(pblk: number, lenBlocks: number): void {
    this.#discardingBlocks -= lenBlocks;
    this.#giveBack(pblk, lenBlocks);
  }

  handleEnded(): void {
    this.#space.handleEnded();
    this.#reservations.handleEnded();
    this.#pending.handleEnded();
    this.#pendingMetadata.handleEnded();
  }

  handleCancelled(): void {
    this.#space.handleCancelled();
    this.#reservations.handleCancelled();
    this.#pendingMetadata.takeHandle();
    const runs = this.#pending.takeHandle();
    for (let index = 0; index < runs.length; index += 2) this.#useAgain(runs[index], runs[index + 1]);
  }

  transactionCommitted(sequence: number): void {
    this.#pendingMetadata.takeCommitted(sequence, (pblk, lenBlocks) => this.onMetadataFreed?.(pblk, lenBlocks));
    const { onDiscardable } = this.#options;
    if (onDiscardable === null || this.#isAwaited) {
      this.#isAwaited = false;
      this.#pending.takeCommitted(sequence, (pblk, lenBlocks) => this.#giveBack(pblk, lenBlocks));
      return;
    }
    const runs: BlockRun[] = [];
    this.#pending.takeCommitted(sequence, (pblk, lenBlocks) => runs.push(new BlockRun(pblk, lenBlocks)));
    for (const { pblk, lenBlocks } of joinedRuns(runs)) {
      this.#discardingBlocks += lenBlocks;
      if (!onDiscardable(pblk, lenBlocks)) this.discarded(pblk, lenBlocks);
    }
  }

  #giveBack(pblk: number, lenBlocks: number): void {
    const end = pblk + lenBlocks;
    for (let at = pblk; at < end; ) {
      const pieceEnd = this.#pieceEnd(at, end);
      this.#space.giveBack(at, pieceEnd - at);
      at = pieceEnd;
    }
  }

  #useAgain(pblk: number, lenBlocks: number): void {
    const end = pblk + lenBlocks;
    for (let at = pblk; at < end; ) {
      const pieceEnd = this.#pieceEnd(at, end);
      this.#space.use(at, pieceEnd - at);
      at = pieceEnd;
    }
  }

  #takeReserved(reservation: Reservation, lblk: number, want: number, out: BlockRun): void {
    this.#reservations.take(reservation, lblk, want, out);
    this.#space.take(out.pblk, out.lenBlocks);
  }

  /** From the area that the small files near the inode share; the file's block number plays no part. */
  #allocateSmall(inode: Inode, goal: number, want: number, window: number, out: BlockRun): void {
    const place = this.#goal(inode, goal);
    const key = -1 - this.#geometry.groupOfBlock(place);
    const area = this.#reservations.find(key);
    const endGroup = this.#endGroupFor(inode);
    const isInReach = area !== null && this.#geometry.groupOfBlock(area.pblk) < endGroup;
    if (area !== null && isInReach && area.lenBlocks >= want) {
      this.#takeReserved(area, area.lblk, want, out);
      return;
    }
    this.#reservations.drop(key);
    this.#search(area !== null && isInReach ? area.pblk : place, window, endGroup, out);
    const { pblk, lenBlocks } = out;
    const count = Math.min(want, lenBlocks);
    this.#space.take(pblk, count);
    this.#keep(key, 0, pblk + count, lenBlocks - count);
    out.lenBlocks = count;
  }

  #keep(key: number, lblk: number, pblk: number, lenBlocks: number): void {
    if (lenBlocks > 0) this.#reservations.set(key, lblk, pblk, lenBlocks);
    else this.#reservations.drop(key);
  }

  /** How long a run is sought for an append, of which the rest is set aside; 0 for what is no append. */
  #windowFor(inode: Inode, lblk: number, want: number): number {
    const { blockSize, blocksPerGroup } = this.#geometry;
    const endBytes = (lblk + want) * blockSize;
    if (!inode.isRegular || endBytes < inode.sizeBytes) return 0;
    let bytes = SMALL_FILE_AREA_BYTES;
    if (endBytes > SMALL_FILE_BYTES) {
      bytes = 2 * SMALL_FILE_BYTES;
      while (bytes < MAX_RESERVATION_BYTES && bytes < endBytes) bytes *= 2;
    }
    const most = Math.min(blocksPerGroup >>> 2, Math.floor(this.spareBlocks / SCARCE));
    const window = Math.min(Math.floor(bytes / blockSize), most);
    return window < want ? 0 : window;
  }

  #goal(inode: Inode, goal: number): number {
    return goal > 0 && goal < this.#geometry.blocksCount ? goal : this.goalFor(inode);
  }

  #endGroupFor(inode: Inode): number {
    return inode.hasFlag(InodeFlag.EXTENTS) ? this.#geometry.groupCount : this.#blockMapGroups;
  }

  /** How many of the blocks the caller may have. Throws FsError ENOSPC when it is none. */
  #affordable(want: number, essential: boolean): number {
    const free = this.#counts.clusters - this.#space.unusableBlocks;
    if (free >= want + this.#growthReserve + this.#geometry.superblock.reservedBlocksCount) return want;
    const affordable = Math.min(want, free - this.#reserveFor(essential));
    if (affordable <= 0) throw new FsError(Errno.ENOSPC, 'no free blocks');
    return affordable;
  }

  #reserveFor(essential: boolean): number {
    if (essential) return 0;
    const { reservedUid, reservedGid } = this.#options;
    const { uid, gid } = this.#caller;
    const privileged = uid === 0 || uid === reservedUid || (reservedGid !== 0 && gid === reservedGid);
    return this.#growthReserve + (privileged ? 0 : this.#geometry.superblock.reservedBlocksCount);
  }

  #search(goal: number, wanted: number, endGroup: number, out: BlockRun): void {
    if (this.#space.find(goal, wanted, endGroup, out)) return;
    if (this.#reservations.blocks > 0) {
      this.#reservations.dropAll();
      if (this.#space.find(goal, wanted, endGroup, out)) return;
    }
    if (this.#pending.blocks + this.#discardingBlocks > 0) {
      this.#isAwaited = true;
      throw new SpaceAwaitsCommit();
    }
    throw new FsError(Errno.ENOSPC, 'no free blocks');
  }

  /** Where the part of [at, end) that lies in the group of `at` ends. */
  #pieceEnd(at: number, end: number): number {
    return Math.min(end, this.#geometry.groupEndBlock(this.#geometry.groupOfBlock(at)));
  }
}

/** The runs in the order of their blocks, neighbours made one: a few large discards cost less than many small ones. */
function joinedRuns(runs: BlockRun[]): BlockRun[] {
  runs.sort((a, b) => a.pblk - b.pblk);
  const joined: BlockRun[] = [];
  let last: BlockRun | null = null;
  for (const run of runs) {
    if (last !== null && last.pblk + last.lenBlocks === run.pblk) {
      last.lenBlocks += run.lenBlocks;
    } else {
      joined.push(run);
      last = run;
    }
  }
  return joined;
}
