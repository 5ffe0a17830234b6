/** New blocks for a directory. */
import { Errno } from '../../shared/errno.ts';
import type { CachedBlock } from './buffer-cache.ts';
import { directoryBlocks, isIndexed } from './directory-block.ts';
import { CorruptionError, FsError } from './errors.ts';
import type { Inode } from './inode.ts';
import { Incompat } from './layout/features.ts';
import { DX_ENTRY } from './layout/htree.ts';
import { allocateFileBlock } from './map-write.ts';
import { Mapping, MappingType } from './mapping.ts';
import type { WriteContext } from './write-context.ts';

/** Sizes of directories have 32 bits, but for indexed ones with large_dir; nor could a longer one be searched. */
const SIZE_LIMIT = 2 ** 32;

const mapping = new Mapping();

/** Fills the hole at the directory's block `lblk` with a block of zeros. */
export function allocateDirectoryBlock(ctx: WriteContext, dir: Inode, lblk: number): CachedBlock {
  ctx.mapBlocks(dir, lblk, mapping);
  if (mapping.type !== MappingType.HOLE) {
    throw new CorruptionError('directory', `block ${lblk}, to be allocated, is not a hole`, { inode: dir.ino });
  }
  return allocateFileBlock(ctx, dir, lblk);
}

/** Lengthens the directory by a block of zeros. Its number is the directory's size in blocks before. */
export function appendDirectoryBlock(ctx: WriteContext, dir: Inode): CachedBlock {
  const lblk = directoryBlocks(ctx, dir);
  const sizeBytes = (lblk + 1) * ctx.blockSize;
  const isUnlimited = ctx.superblock.hasIncompat(Incompat.LARGEDIR) && isIndexed(ctx, dir);
  if ((!isUnlimited && sizeBytes >= SIZE_LIMIT) || lblk > DX_ENTRY.BLOCK_MASK) {
    throw new FsError(Errno.ENOSPC, `directory inode ${dir.ino} of ${dir.sizeBytes} bytes can't grow`);
  }
  const block = allocateDirectoryBlock(ctx, dir, lblk);
  ctx.inodes.modify(dir);
  dir.sizeBytes = sizeBytes;
  return block;
}
