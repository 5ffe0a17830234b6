import type { BufferCache, CachedBlock } from './buffer-cache.ts';
import type { MetadataChecksum } from './checksum.ts';
import type { Inode } from './inode.ts';
import type { Superblock } from './layout/superblock.ts';
import type { Mapping } from './mapping.ts';

/** What the parts of the engine share: one opened file system. */
export interface Ext4Context {
  readonly superblock: Superblock;
  readonly blockSize: number;
  readonly cache: BufferCache;
  readonly checksum: MetadataChecksum;
  /**
   * Where block `lblk` of the inode's data is. Serves extent files, indirect files and inline data.
   * Throws CorruptionError when the tree is broken.
   */
  mapBlocks(inode: Inode, lblk: number, out: Mapping): void;
  /** The inode's metadata block `lblk` (directories, symlinks, EA inodes...), or null for a hole. */
  fileBlock(inode: Inode, lblk: number): CachedBlock | null;
  /** The inode numbered `ino`; throws CorruptionError when its number, checksum or fields are impossible. */
  inode(ino: number): Inode;
  /**
   * Throws CorruptionError unless the run lies inside the file system and touches no superblock, descriptors,
   * bitmaps or inode tables.
   */
  checkDataBlocks(pblk: number, lenBlocks: number, structure: string, ino: number): void;
}
