import type { WritableBlockDevice } from './block-device.ts';
import type { CachedBlock } from './buffer-cache.ts';
import type { Ext4Context } from './context.ts';
import type { Geometry } from './geometry.ts';
import type { Inode } from './inode.ts';
import type { Handle } from './journal/handle.ts';

/** The time of the present request: seconds since the epoch and nanoseconds. */
export interface Timestamp {
  sec: number;
  nsec: number;
}

/** On whose behalf the present request is: who owns new inodes and may use reserved blocks. */
export interface Caller {
  uid: number;
  gid: number;
  /**
   * Callers keep mtime and ctime of regular files themselves, and set them after they have written: writing changes
   * neither.
   */
  tellsFileTimes?: boolean;
  /**
   * Callers move the data of files to and from the device themselves, and zero what must read as zeros in the blocks at
   * the edges of a change: we touch no data. They keep modes and ACLs in step, and have checked what flags forbid. All
   * that holds for inodes that are not regular files, and for mappable ones.
   */
  ownsFiles?: boolean;
}

/** A run of neighbouring blocks of the device. Reused by callers, so that asking allocates nothing. */
export class BlockRun {
  pblk: number;
  lenBlocks: number;

  constructor(pblk = 0, lenBlocks = 0) {
    this.pblk = pblk;
    this.lenBlocks = lenBlocks;
  }
}

export interface InodeStore {
  /**
   * Must precede every change of the inode's fields or of its bytes in the table (i_block, in-inode attributes).
   * When the handle ends the fields are encoded and the checksum is made, once.
   */
  modify(inode: Inode): void;
  /** Like `modify` for a change of times alone, which fdatasync need not wait for and the disk may get late. */
  modifyTimes(inode: Inode): void;
  /** A new inode object for a number that was just allocated, already modified; the table's bytes are all zero. */
  create(ino: number): Inode;
}

export interface BlockAllocator {
  /**
   * Takes between 1 and `wantBlocks` neighbouring free blocks, as near behind `goal` as it can (0: no wish).
   * `inode` is whose data they are for, starting at its block `lblk`; that steers reservations for appending files.
   * Doesn't touch the inode. Throws FsError ENOSPC when the caller may have none.
   */
  allocateData(inode: Inode, lblk: number, goal: number, wantBlocks: number, out: BlockRun): void;
  /**
   * One block for an extent node, indirect block, directory, attribute block... Same errors. `essential`: for an
   * operation that may not fail, such as the conversion of unwritten blocks, which may use the very last blocks.
   * `anywhere`: for what names blocks by more than 32 bits, as extents do and block pointers don't.
   */
  allocateMetadata(goal: number, essential?: boolean, anywhere?: boolean): number;
  /** A good place for the first block of the inode. */
  goalFor(inode: Inode): number;
  /** Gives blocks back. They are not handed out again before the transaction has committed. */
  free(pblk: number, lenBlocks: number): void;
  /** Gives back metadata blocks: `free`, and forgets them in cache and log. */
  freeMetadata(pblk: number, lenBlocks: number): void;
  /** Lets go of blocks that were set aside for the inode's next appends. */
  discardReservation(ino: number): void;
}

export interface InodeAllocator {
  /**
   * A new inode of type and mode `mode`, near its parent directory: number, generation, times, owner as in
   * `ctx.caller`, flags of the format (extents), links 0; everything else is the caller's. Throws FsError ENOSPC.
   */
  allocate(parent: Inode, mode: number): Inode;
  /** Gives the number back. The inode has no blocks and no attributes any more. */
  free(inode: Inode): void;
}

/** Inodes without a name that are still in use, or whose truncation is under way: a crash must not lose them. */
export interface Orphans {
  add(inode: Inode): void;
  remove(inode: Inode): void;
  has(ino: number): boolean;
}

/** What the writing parts of the engine share, beyond what the reading ones do. */
export interface WriteContext extends Ext4Context {
  /** For the data of files only: everything else goes through cache and journal. */
  readonly device: WritableBlockDevice;
  readonly geometry: Geometry;
  readonly handle: Handle;
  readonly inodes: InodeStore;
  readonly blocks: BlockAllocator;
  readonly inodeAllocator: InodeAllocator;
  readonly orphans: Orphans;
  readonly now: Timestamp;
  readonly caller: Caller;
  /** Memory as direct I/O to the device wants it. */
  readonly alignedBuffer: (bytes: number) => Uint8Array;
  /** New inodes inherit ACLs, and chmod changes them. */
  readonly posixAcl: boolean;
  /** The block with the superblock, for changing; its fields begin at `superblockAt`. */
  superblockBlock(): CachedBlock;
  readonly superblockAt: number;
}
