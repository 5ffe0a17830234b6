import { Errno } from '../../shared/errno.ts';
import { FsError } from './errors.ts';
import type { Inode } from './inode.ts';
import { INODE, InodeFlag } from './layout/inode.ts';
import { allocateFileBlock, initMapping } from './map-write.ts';
import type { WriteContext } from './write-context.ts';

/** Stores the target of a new symbolic link: in i_block when it is short, else in a block of its own. */
export function writeSymlink(ctx: WriteContext, inode: Inode, target: Uint8Array): void {
  if (target.length === 0) throw new FsError(Errno.ENOENT, 'an empty target');
  // The terminating zero is on disk, too.
  if (target.length + 1 > ctx.blockSize) throw new FsError(Errno.ENAMETOOLONG, `a target of ${target.length} bytes`);
  ctx.inodes.modify(inode);
  inode.sizeBytes = target.length;
  if (target.length < INODE.I_BLOCK_SIZE) {
    inode.flags &= ~InodeFlag.EXTENTS;
    ctx.cache.get(inode.tableBlock).bytes.set(target, inode.tableOffset + INODE.i_block);
    return;
  }
  initMapping(ctx, inode);
  allocateFileBlock(ctx, inode, 0).bytes.set(target);
}
