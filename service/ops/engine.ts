import type { Filesystem } from '../ext4/filesystem.ts';
import type { Inode } from '../ext4/inode.ts';
import type { WritePlan } from '../ext4/planned-write.ts';
import type { WritableFilesystem } from '../ext4/writable-filesystem.ts';

/** What the operations need from the ext4 engine. */
export type Engine = Pick<
  Filesystem,
  | 'superblock'
  | 'blockSize'
  | 'beginOperation'
  | 'inode'
  | 'isReservedInode'
  | 'lookup'
  | 'readDirectory'
  | 'readLink'
  | 'getXattr'
  | 'listXattrs'
  | 'seekData'
  | 'seekHole'
  | 'readFile'
  | 'statfs'
  | 'mapBlocks'
>;

/** Answers a READ request from the device, some time later. */
export interface DataReader {
  /** False when it can't, and the caller has to answer from memory. */
  read(inode: Inode, offsetBytes: number, sizeBytes: number, uniqueLow: number, uniqueHigh: number): boolean;
  /** Blocks until all reads that were begun have ended. */
  waitForReads(): void;
}

/** What the operations need in addition where the file system can change. */
export type WritableEngine = Engine &
  Pick<
    WritableFilesystem,
    | 'now'
    | 'caller'
    | 'geometry'
    | 'blocks'
    | 'beginRequest'
    | 'createNode'
    | 'makeDirectory'
    | 'makeSymlink'
    | 'makeTemporary'
    | 'link'
    | 'unlink'
    | 'removeDirectory'
    | 'rename'
    | 'evict'
    | 'setAttributes'
    | 'setXattr'
    | 'removeXattr'
    | 'setFlags'
    | 'setProject'
    | 'setGeneration'
    | 'setLabel'
    | 'writeSmall'
    | 'planWrite'
    | 'finishWrite'
    | 'fallocate'
    | 'touchAccessTime'
    | 'commit'
    | 'commitNow'
    | 'isReadOnly'
    | 'reclaimThrough'
    | 'needsCommit'
    | 'lazyTimes'
    | 'abort'
    | 'noteError'
    | 'files'
    | 'freeze'
    | 'thaw'
  >;

/** Moves file data to the device past the page cache. */
export interface DataWriter {
  /** What device offsets and lengths of the data must be multiples of. */
  readonly alignmentBytes: number;
  /**
   * Writes `bytes` from `start` on to where the plan says. Returns 0 or a positive errno when that is done, or -1 when
   * it is under way: then the bytes must stay as they are until the end is reported under `token`.
   */
  write(token: number, bytes: Uint8Array, start: number, plan: WritePlan): number;
  /** Blocks until a write that is under way has ended. */
  wait(): void;
  /** Fills `into` with (token, errno) pairs of writes that have ended, and returns how many pairs. */
  takeCompleted(into: Float64Array): number;
}
