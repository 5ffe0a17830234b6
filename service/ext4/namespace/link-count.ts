/** Link counts (kernel: ext4_inc_count, ext4_dec_count). A directory's 1 stands for "too many to count". */
import { Errno } from '../../../shared/errno.ts';
import { isIndexed } from '../directory-block.ts';
import { FsError } from '../errors.ts';
import type { Inode } from '../inode.ts';
import { RoCompat } from '../layout/features.ts';
import type { WriteContext } from '../write-context.ts';

export const LINKS_MAX = 65000;
const UNCOUNTED = 1;

/** Throws EMLINK when the directory can't take another subdirectory. */
export function requireRoomForSubdirectory(ctx: WriteContext, dir: Inode): void {
  const countless = ctx.superblock.hasRoCompat(RoCompat.DIR_NLINK) && isIndexed(ctx, dir);
  if (dir.linksCount >= LINKS_MAX && !countless) {
    throw new FsError(Errno.EMLINK, `directory inode ${dir.ino} has ${dir.linksCount} links`);
  }
}

/** A subdirectory's ".." now leads here. */
export function addSubdirectoryLink(ctx: WriteContext, dir: Inode): void {
  ctx.inodes.modify(dir);
  dir.linksCount++;
  if (isIndexed(ctx, dir) && (dir.linksCount > LINKS_MAX || dir.linksCount === UNCOUNTED + 1)) {
    dir.linksCount = UNCOUNTED;
  }
}

export function removeSubdirectoryLink(ctx: WriteContext, dir: Inode): void {
  if (dir.linksCount <= 2) return;
  ctx.inodes.modify(dir);
  dir.linksCount--;
}

/** Throws EMLINK when the inode can't have another name. */
export function requireRoomForLink(inode: Inode): void {
  if (inode.linksCount >= LINKS_MAX)
    throw new FsError(Errno.EMLINK, `inode ${inode.ino} has ${inode.linksCount} links`);
}
