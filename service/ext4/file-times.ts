import type { Inode } from './inode.ts';
import type { WriteContext } from './write-context.ts';

/**
 * The file's data has changed. What else has changed with it (size, map) says so itself, so that fdatasync waits for
 * a commit only when it must.
 */
export function touchWritten(ctx: WriteContext, inode: Inode): void {
  if (ctx.caller.tellsFileTimes === true) return;
  ctx.inodes.modifyTimes(inode);
  inode.mtimeSec = ctx.now.sec;
  inode.mtimeNsec = ctx.now.nsec;
  inode.ctimeSec = ctx.now.sec;
  inode.ctimeNsec = ctx.now.nsec;
}
