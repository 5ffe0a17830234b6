import type { Filesystem } from '../ext4/filesystem.ts';
import type { Inode } from '../ext4/inode.ts';

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
