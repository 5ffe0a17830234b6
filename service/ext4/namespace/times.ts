import type { Inode } from '../inode.ts';
import type { Timestamp, WriteContext } from '../write-context.ts';

function setChangeTime(inode: Inode, now: Timestamp): void {
  inode.ctimeSec = now.sec;
  inode.ctimeNsec = now.nsec;
}

/** The inode's attributes have changed. */
export function touchChange(ctx: WriteContext, inode: Inode): void {
  ctx.inodes.modify(inode);
  setChangeTime(inode, ctx.now);
}

/** The inode's times have changed, and nothing else. */
export function touchTimes(ctx: WriteContext, inode: Inode): void {
  ctx.inodes.modifyTimes(inode);
  setChangeTime(inode, ctx.now);
}

/** The inode's content has changed: a file's data or a directory's entries. */
export function touchContent(ctx: WriteContext, inode: Inode): void {
  touchChange(ctx, inode);
  inode.mtimeSec = ctx.now.sec;
  inode.mtimeNsec = ctx.now.nsec;
}
