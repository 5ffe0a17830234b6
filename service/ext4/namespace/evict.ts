import type { Inode } from '../inode.ts';
import { atomically } from '../journal/atomically.ts';
import { releaseAllBlocks } from '../truncate.ts';
import type { WriteContext } from '../write-context.ts';
import { releaseXattrs } from '../xattr-write.ts';

/** Frees an orphan that nobody uses any more: its blocks in as many handles as it takes, then itself. */
export function evict(ctx: WriteContext, inode: Inode): void {
  releaseAllBlocks(ctx, inode);
  atomically(ctx.handle, () => {
    ctx.inodes.modify(inode);
    releaseXattrs(ctx, inode);
    ctx.orphans.remove(inode);
    ctx.inodeAllocator.free(inode);
  });
}
