import { Errno } from '../../shared/errno.ts';
import type { BufferCache } from './buffer-cache.ts';
import type { MetadataChecksum } from './checksum.ts';
import { CorruptionError, FsError } from './errors.ts';
import type { Geometry } from './geometry.ts';
import type { GroupDescriptors } from './group-descriptors.ts';
import { Inode } from './inode.ts';
import { decodeInode, noSuchInode } from './inode-decode.ts';
import { encodeInode } from './inode-encode.ts';
import { InodeFormat } from './inode-format.ts';
import type { JournalParticipant } from './journal/handle.ts';
import { INODE } from './layout/inode.ts';
import type { LazyTimes } from './lazy-times.ts';
import { requireLargeFile } from './superblock-write.ts';
import type { InodeStore, WriteContext } from './write-context.ts';

/** Decoded inodes kept, about 500 bytes each. A power of two: an inode's place follows from its number. */
const CACHED_INODES = 8192;
/**
 * Inodes that lost their place to another, kept in a ring: whoever asks twice within one operation must get the
 * same object, or a change made in one would be lost in the other.
 */
const DISPLACED_INODES = 32;
/** Blocks of an inode table that are read ahead together, as the kernel's inode_readahead_blks. */
const READ_AHEAD_BLOCKS = 32;

/** An inode that the open handle changes, and what it was like before. */
class InodeChange {
  inode: Inode;
  readonly before = new Inode(0);
  /** Created in this handle. */
  isNew = false;
  /** Its number was given to a new inode later in this handle. */
  isReplaced = false;

  constructor(inode: Inode) {
    this.inode = inode;
  }
}

/** Finds, verifies, decodes and remembers inodes; when writing, encodes those that a handle has changed. */
export class InodeTable implements InodeStore, JournalParticipant {
  readonly #geometry: Geometry;
  readonly #cache: BufferCache;
  readonly #descriptors: GroupDescriptors;
  readonly #format: InodeFormat;
  readonly #remembered: (Inode | null)[] = new Array<Inode | null>(CACHED_INODES).fill(null);
  readonly #displaced: (Inode | null)[] = new Array<Inode | null>(DISPLACED_INODES).fill(null);
  #nextDisplaced = 0;
  #lastReadAhead = -1;
  /** Null while the file system is only read. */
  #writing: WriteContext | null = null;
  #lazyTimes: LazyTimes | null = null;
  /** Changes of the open handle; the objects are used again and again. */
  readonly #changes: InodeChange[] = [];
  #changesUsed = 0;
  /** Counts handles, so that an inode tells whether it is among the changes already. */
  #handleNumber = 1;

  constructor(geometry: Geometry, cache: BufferCache, checksum: MetadataChecksum, descriptors: GroupDescriptors) {
    this.#geometry = geometry;
    this.#cache = cache;
    this.#descriptors = descriptors;
    this.#format = new InodeFormat(geometry, checksum);
  }

  /** From now on inodes can be changed, within handles of `ctx`. With `lazyTimes`, their times alone without. */
  becomeWritable(ctx: WriteContext, lazyTimes: LazyTimes | null): void {
    this.#writing = ctx;
    this.#lazyTimes = lazyTimes;
    ctx.handle.addParticipant(this);
  }

  /**
   * The inode numbered `ino`. Throws CorruptionError when it breaks the format's rules, FsError ESTALE
   * when there is no such inode any more.
   */
  get(ino: number): Inode {
    const remembered = this.#remembered[ino & (CACHED_INODES - 1)];
    if (remembered !== null && remembered.ino === ino) return remembered;
    const inode = this.#changed(ino) ?? this.#takeDisplaced(ino) ?? this.#lazyTimes?.find(ino) ?? this.#read(ino);
    this.#remember(inode);
    return inode;
  }

  /** Memory is short: forgets all inodes, which are decoded again when they are asked for. Between operations only. */
  shrink(): void {
    if (this.#changesUsed > 0) return;
    this.#remembered.fill(null);
    this.#displaced.fill(null);
  }

  modify(inode: Inode): void {
    this.#modify(inode);
    inode.dataChangedIn = inode.changedIn;
  }

  /**
   * Like `modify` for a change of times alone, which fdatasync need not see committed. With lazy times it may come
   * after the handle, which is not undone then, unless the inode could not hold it all: encoding would change it.
   */
  modifyTimes(inode: Inode): void {
    const isLazy = this.#lazyTimes !== null && this.#format.fits(inode, INODE.i_atime_extra + 4);
    if (isLazy && inode.modifiedIn !== this.#handleNumber) this.#lazyTimes?.add(inode);
    else this.#modify(inode);
  }

  /** Brings times to the disk that `modifyTimes` has left in memory. */
  modifyKept(inode: Inode): void {
    this.#modify(inode);
  }

  create(ino: number): Inode {
    const { handle } = this.#requireWriting();
    const inode = new Inode(ino);
    const indexBlock = this.#locate(inode);
    inode.extraSizeBytes = this.#format.newExtraSize;
    inode.hasCrtime = this.#format.fits(inode, INODE.i_crtime + 4);
    inode.versionLow = 1;
    if (this.#wasNeverUsed(ino, indexBlock)) {
      handle.fresh(inode.tableBlock);
    } else {
      const block = this.#cache.get(inode.tableBlock);
      handle.modify(block);
      block.bytes.fill(0, inode.tableOffset, inode.tableOffset + this.#format.inodeSize);
    }
    for (let index = 0; index < this.#changesUsed; index++) {
      if (this.#changes[index].inode.ino === ino) this.#changes[index].isReplaced = true;
    }
    this.#addChange(inode, true);
    inode.dataChangedIn = inode.changedIn;
    return inode;
  }

  handleEnding(): void {
    for (let index = 0; index < this.#changesUsed; index++) {
      const { inode, isNew, isReplaced } = this.#changes[index];
      if (isReplaced) continue;
      if (inode.sizeBytes >= 2 ** 31 && inode.isRegular) requireLargeFile(this.#requireWriting());
      encodeInode(this.#format, inode, this.#cache.get(inode.tableBlock), isNew);
    }
  }

  handleEnded(): void {
    for (let index = 0; index < this.#changesUsed; index++) {
      const { inode, isReplaced } = this.#changes[index];
      this.#lazyTimes?.remove(inode.ino);
      if (isReplaced || (inode.linksCount === 0 && !this.#isOrphan(inode.ino))) this.#forget(inode);
    }
    this.#changesUsed = 0;
    this.#handleNumber++;
  }

  handleCancelled(): void {
    for (let index = 0; index < this.#changesUsed; index++) {
      const { inode, before, isNew } = this.#changes[index];
      if (isNew) this.#forget(inode);
      else inode.copyFrom(before);
    }
    this.#changesUsed = 0;
    this.#handleNumber++;
  }

  /** True when no inode of the table block was ever used, so that the block may hold anything. */
  #wasNeverUsed(ino: number, indexBlock: number): boolean {
    const { inodesPerGroup, inodesPerBlock } = this.#geometry;
    const unused = this.#descriptors.unusedInodes(Math.floor((ino - 1) / inodesPerGroup));
    return indexBlock * inodesPerBlock >= inodesPerGroup - unused;
  }

  #modify(inode: Inode): void {
    if (inode.modifiedIn === this.#handleNumber) return;
    this.#requireWriting().handle.modify(this.#cache.get(inode.tableBlock));
    this.#addChange(inode, false);
    if (inode.extraSizeBytes === 0) inode.extraSizeBytes = this.#format.newExtraSize;
  }

  #addChange(inode: Inode, isNew: boolean): void {
    let change = this.#changes[this.#changesUsed];
    if (change === undefined) {
      change = new InodeChange(inode);
      this.#changes.push(change);
    }
    change.inode = inode;
    change.isNew = isNew;
    change.isReplaced = false;
    if (!isNew) change.before.copyFrom(inode);
    this.#changesUsed++;
    inode.modifiedIn = this.#handleNumber;
    inode.changedIn = this.#requireWriting().handle.running.sequence;
    this.#remember(inode);
  }

  #requireWriting(): WriteContext {
    if (this.#writing === null) throw new FsError(Errno.EROFS, 'the file system is only read');
    return this.#writing;
  }

  #isOrphan(ino: number): boolean {
    return this.#writing?.orphans.has(ino) === true;
  }

  #changed(ino: number): Inode | null {
    for (let index = this.#changesUsed - 1; index >= 0; index--) {
      if (this.#changes[index].inode.ino === ino) return this.#changes[index].inode;
    }
    return null;
  }

  #remember(inode: Inode): void {
    const slot = inode.ino & (CACHED_INODES - 1);
    const displaced = this.#remembered[slot];
    if (displaced === inode) return;
    this.#remembered[slot] = inode;
    if (this.#writing === null) return;
    // It has one place at a time, or it would be found again when it has been forgotten.
    const ringPlace = this.#displaced.indexOf(inode);
    if (ringPlace >= 0) this.#displaced[ringPlace] = null;
    if (displaced === null || displaced.ino === inode.ino) return;
    this.#displaced[this.#nextDisplaced] = displaced;
    this.#nextDisplaced = (this.#nextDisplaced + 1) % DISPLACED_INODES;
  }

  #takeDisplaced(ino: number): Inode | null {
    if (this.#writing === null) return null;
    for (let index = 0; index < DISPLACED_INODES; index++) {
      const inode = this.#displaced[index];
      if (inode === null || inode.ino !== ino) continue;
      this.#displaced[index] = null;
      return inode;
    }
    return null;
  }

  #forget(inode: Inode): void {
    const slot = inode.ino & (CACHED_INODES - 1);
    if (this.#remembered[slot] === inode) this.#remembered[slot] = null;
    const displaced = this.#displaced.indexOf(inode);
    if (displaced >= 0) this.#displaced[displaced] = null;
  }

  #read(ino: number): Inode {
    const inode = new Inode(ino);
    const indexBlock = this.#locate(inode);
    const blockNr = inode.tableBlock;
    if (!this.#cache.has(blockNr)) this.#readAhead(blockNr - indexBlock, indexBlock);
    const block = this.#cache.get(blockNr);
    decodeInode(this.#format, inode, block, this.#isOrphan(ino));
    // What exactly was changed is not known any more: fsync must assume all of it.
    inode.changedIn = block.transaction;
    inode.dataChangedIn = block.transaction;
    return inode;
  }

  /** Sets where the inode's bytes are; returns which block of its group's table that is. */
  #locate(inode: Inode): number {
    const geometry = this.#geometry;
    const { ino } = inode;
    if (!(ino >= 1 && ino <= geometry.superblock.inodesCount)) {
      throw new CorruptionError('inode number', `${ino} is not in 1..${geometry.superblock.inodesCount}`);
    }
    const group = Math.floor((ino - 1) / geometry.inodesPerGroup);
    const index = ino - 1 - group * geometry.inodesPerGroup;
    if (this.#descriptors.inodesAreUninitialised(group)) throw noSuchInode(ino);
    const indexBlock = Math.floor(index / geometry.inodesPerBlock);
    inode.tableBlock = this.#descriptors.inodeTable(group) + indexBlock;
    inode.tableOffset = (index - indexBlock * geometry.inodesPerBlock) * this.#format.inodeSize;
    return indexBlock;
  }

  #readAhead(table: number, indexBlock: number): void {
    const first = indexBlock - (indexBlock % READ_AHEAD_BLOCKS);
    if (table + first === this.#lastReadAhead) return;
    this.#lastReadAhead = table + first;
    this.#cache.readAhead(table + first, Math.min(READ_AHEAD_BLOCKS, this.#geometry.inodeTableBlocks - first));
  }
}
