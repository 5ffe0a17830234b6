import type { Filesystem } from '../ext4/filesystem.ts';
import type { Inode } from '../ext4/inode.ts';
import type { AttributeChange } from '../ext4/namespace/set-attributes.ts';
import type { WritePlan } from '../ext4/planned-write.ts';
import type { Timestamp } from '../ext4/write-context.ts';

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
}

/** What the operations need in addition where the file system can change. Names are bytes[start, end). */
export interface WritableEngine extends Engine {
  /** The time of the present request. */
  readonly now: Timestamp;
  /** Sets time and caller, and marks where one request ends and the next begins. */
  beginRequest(uid: number, gid: number): void;
  /** Anything but directories and symbolic links. */
  createNode(
    parent: Inode,
    name: Uint8Array,
    start: number,
    end: number,
    mode: number,
    umask: number,
    rdevMajor: number,
    rdevMinor: number,
  ): Inode;
  makeDirectory(parent: Inode, name: Uint8Array, start: number, end: number, mode: number, umask: number): Inode;
  makeSymlink(parent: Inode, name: Uint8Array, start: number, end: number, target: Uint8Array): Inode;
  /** O_TMPFILE. */
  makeTemporary(parent: Inode, mode: number, umask: number): Inode;
  link(inode: Inode, parent: Inode, name: Uint8Array, start: number, end: number): void;
  /** Both return what has lost the name; without links it must be evicted when nobody uses it any more. */
  unlink(parent: Inode, name: Uint8Array, start: number, end: number): Inode;
  removeDirectory(parent: Inode, name: Uint8Array, start: number, end: number): Inode;
  /** Returns what has lost the new name, or null. */
  rename(
    oldParent: Inode,
    oldName: Uint8Array,
    oldStart: number,
    oldEnd: number,
    newParent: Inode,
    newName: Uint8Array,
    newStart: number,
    newEnd: number,
    flags: number,
  ): Inode | null;
  /** Frees an inode without links. */
  evict(ino: number): void;
  setAttributes(inode: Inode, change: AttributeChange): void;
  setXattr(inode: Inode, name: Uint8Array, value: Uint8Array, flags: number): void;
  removeXattr(inode: Inode, name: Uint8Array): void;
  setFlags(inode: Inode, flags: number): void;
  setProject(inode: Inode, projectId: number): void;
  setGeneration(inode: Inode, generation: number): void;
  setLabel(label: Uint8Array): void;
  /** Returns how many bytes were written. */
  writeSmall(inode: Inode, offsetBytes: number, bytes: Uint8Array): number;
  planWrite(inode: Inode, offsetBytes: number, lengthBytes: number, plan: WritePlan): void;
  finishWrite(inode: Inode, offsetBytes: number, lengthBytes: number): void;
  fallocate(inode: Inode, mode: number, offsetBytes: number, lengthBytes: number): void;
  touchAccessTime(inode: Inode): void;
  /** FITRIM; returns how many bytes were discarded. */
  trim(startBytes: number, lengthBytes: number, minLengthBytes: number): number;
  /** Calls back with an errno when all that was changed up to now is on stable storage. */
  commit(done: (errno: number) => void): void;
  /** Whether the inode has changes that only a commit makes durable. */
  needsCommit(inode: Inode, dataOnly: boolean): boolean;
  flushDevice(done: (errno: number) => void): void;
  /** The shutdown ioctl: from now on everything fails with EIO. */
  shutdown(flushFirst: boolean): void;
}

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
