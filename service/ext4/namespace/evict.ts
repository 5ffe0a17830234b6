import { inHandles } from '../handle-budget.ts';
import type { Inode } from '../inode.ts';
import { releaseAllBlocks } from '../truncate.ts';
import type { WriteContext } from '../write-context.ts';
import { releaseXattrs } from '../xattr-write.ts';

/** Frees an orphan that nobody uses any more: blocks and attributes in as many handles as it takes, then itself. */
export function evict(ctx: WriteContext, inode: Inode): void {
  releaseAllBlocks(ctx, inode);
  inHandles(ctx, () => {
    ctx.inodes.modify(inode);
    if (!releaseXattrs(ctx, inode)) return false;
    ctx.orphans.remove(inode);
    ctx.inodeAllocator.free(inode);
    return true;
  });
}
