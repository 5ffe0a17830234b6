import { Errno } from '../../shared/errno.ts';
import type { Ext4Context } from './context.ts';
import { CorruptionError, FsError } from './errors.ts';
import { readInlineData } from './inline-data.ts';
import type { Inode } from './inode.ts';
import { Incompat } from './layout/features.ts';
import { INODE, InodeFlag } from './layout/inode.ts';

/** Longest target that a path lookup takes, PATH_MAX less the terminating zero. */
const MAX_TARGET = 4095;

/**
 * True when the target is in i_block. The kernel's rule: the inode owns no blocks beyond that of its
 * attributes; the size alone does not tell, since short targets may be in a block. With the ea_inode
 * feature the size alone must do: inodes are charged for the blocks of their attribute inodes.
 */
export function isFastSymlink(ctx: Ext4Context, inode: Inode): boolean {
  const { superblock } = ctx;
  if (superblock.hasIncompat(Incompat.EA_INODE)) return inode.sizeBytes < INODE.I_BLOCK_SIZE;
  const attributeBlocks = inode.xattrBlock === 0 ? 0 : (superblock.clusterBlocks * ctx.blockSize) / 512;
  return inode.allocatedBlocks512 === attributeBlocks;
}

/** The target of a symbolic link, up to its first zero byte. */
export function readSymlink(ctx: Ext4Context, inode: Inode): Uint8Array {
  if (!inode.isSymlink) throw new FsError(Errno.EINVAL, `inode ${inode.ino} is no symbolic link`);
  const target = targetBytes(ctx, inode);
  const zero = target.indexOf(0);
  const length = Math.min(zero < 0 ? target.length : zero, MAX_TARGET);
  if (length === 0) throw corruptLink(inode, 'the target is empty');
  return target.slice(0, length);
}

const corruptLink = (inode: Inode, finding: string): CorruptionError =>
  new CorruptionError('symbolic link', finding, { inode: inode.ino });

/** May be part of a cached block. */
function targetBytes(ctx: Ext4Context, inode: Inode): Uint8Array {
  const size = inode.sizeBytes;
  if (inode.hasFlag(InodeFlag.INLINE_DATA)) return readInlineData(ctx, inode);
  if (isFastSymlink(ctx, inode)) {
    if (size >= INODE.I_BLOCK_SIZE) throw corruptLink(inode, `${size} bytes of target in an inode without blocks`);
    const start = inode.tableOffset + INODE.i_block;
    return ctx.cache.get(inode.tableBlock).bytes.subarray(start, start + size);
  }
  if (size > ctx.blockSize) throw corruptLink(inode, `${size} bytes of target in a block of ${ctx.blockSize}`);
  const block = ctx.fileBlock(inode, 0);
  if (block === null) throw corruptLink(inode, 'the block of the target is missing');
  return block.bytes.subarray(0, size);
}
