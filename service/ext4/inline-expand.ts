import { readInlineData } from './inline-data.ts';
import { removeInlineData } from './inline-data-write.ts';
import type { Inode } from './inode.ts';
import { Incompat } from './layout/features.ts';
import { InodeFlag } from './layout/inode.ts';
import { allocateBlocks, initMapping } from './map-write.ts';
import { isCallers } from './mappable.ts';
import { Mapping, MappingType } from './mapping.ts';
import { writeUncached } from './uncached-write.ts';
import type { WriteContext } from './write-context.ts';
import { writeDevice } from './zero-fill.ts';

const mapping = new Mapping();

/** Moves the inline data of a regular file into a block of its own. Within the open handle. */
export function expandInlineFile(ctx: WriteContext, inode: Inode): void {
  const data = readInlineData(ctx, inode);
  removeInlineData(ctx, inode);
  if (ctx.superblock.hasIncompat(Incompat.EXTENTS)) inode.flags |= InodeFlag.EXTENTS;
  initMapping(ctx, inode);
  if (data.length === 0) return;
  allocateBlocks(ctx, inode, 0, 1, MappingType.WRITTEN, mapping);
  const block = ctx.alignedBuffer(ctx.blockSize);
  block.set(data);
  const write = isCallers(ctx, inode) ? writeUncached : writeDevice;
  write(ctx, mapping.pblk * ctx.blockSize, block);
}
