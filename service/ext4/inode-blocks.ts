import { Errno } from '../../shared/errno.ts';
import { FsError } from './errors.ts';
import type { Inode } from './inode.ts';
import { RoCompat } from './layout/features.ts';
import type { WriteContext } from './write-context.ts';

/** i_blocks has 32 bits, and 48 with the huge_file feature (then in blocks instead of sectors where it must). */
const MAX_SECTORS = 2 ** 32 - 1;

/** Counts `lenBlocks` blocks, of data or of the map, as the inode's. */
export function chargeBlocks(ctx: WriteContext, inode: Inode, lenBlocks: number): void {
  const total = inode.allocatedBlocks512 + lenBlocks * (ctx.blockSize / 512);
  if (total > MAX_SECTORS && !ctx.superblock.hasRoCompat(RoCompat.HUGE_FILE)) {
    throw new FsError(Errno.EFBIG, `inode ${inode.ino} can't count more than 2 TiB without the huge_file feature`);
  }
  ctx.inodes.modify(inode);
  inode.allocatedBlocks512 = total;
}

/** Takes back what `chargeBlocks` counted. A count that was too small before can't go below zero. */
export function unchargeBlocks(ctx: WriteContext, inode: Inode, lenBlocks: number): void {
  ctx.inodes.modify(inode);
  inode.allocatedBlocks512 = Math.max(0, inode.allocatedBlocks512 - lenBlocks * (ctx.blockSize / 512));
}
