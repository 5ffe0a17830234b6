import type { Inode } from '../ext4/inode.ts';
import type { Superblock } from '../ext4/layout/superblock.ts';
import type { Mapping } from '../ext4/mapping.ts';

/** Receives directory entries, one call each; returns false when it has had enough. */
export interface EntrySink {
  entry(
    ino: number,
    fileType: number,
    bytes: Uint8Array,
    nameStart: number,
    nameEnd: number,
    nextCookieHigh: number,
    nextCookieLow: number,
  ): boolean;
}

/** statfs(2) numbers, sizes in file-system blocks. Filled by the engine. */
export class StatfsNumbers {
  blocks = 0;
  freeBlocks = 0;
  availableBlocks = 0;
  files = 0;
  freeFiles = 0;
}

/** What the operations need from the ext4 engine. */
export interface Engine {
  readonly superblock: Superblock;
  readonly blockSize: number;
  beginOperation(): void;
  inode(ino: number): Inode;
  /** Number of the inode that `directory` names `bytes[start, end)`, 0 when there is none. */
  lookup(directory: Inode, bytes: Uint8Array, start: number, end: number): number;
  readDirectory(directory: Inode, cookieHigh: number, cookieLow: number, sink: EntrySink): void;
  readLink(symlink: Inode): Uint8Array;
  /** The value, or null when there is no such attribute. */
  getXattr(inode: Inode, name: Uint8Array): Uint8Array | null;
  /** All names, a NUL after each. */
  listXattrs(inode: Inode): Uint8Array;
  /** Next offset at or after `offsetBytes` with data or without, -1 at and beyond the end of the file. */
  seekData(inode: Inode, offsetBytes: number): number;
  seekHole(inode: Inode, offsetBytes: number): number;
  /** Copies file data, returns how many bytes there were. */
  readFile(inode: Inode, offsetBytes: number, into: Uint8Array): number;
  /** `minixDf`: the structures of the file system count as space. */
  statfs(out: StatfsNumbers, minixDf: boolean): void;
  mapBlocks(inode: Inode, lblk: number, out: Mapping): void;
}

/** Answers a READ request from the device, some time later. */
export interface DataReader {
  /** False when it can't, and the caller has to answer from memory. */
  read(inode: Inode, offsetBytes: number, sizeBytes: number, uniqueLow: number, uniqueHigh: number): boolean;
}
