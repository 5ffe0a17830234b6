import type { Inode } from '../inode.ts';
import { atomically } from '../journal/atomically.ts';
import { InodeFlag } from '../layout/inode.ts';
import type { Timestamp, WriteContext } from '../write-context.ts';

/** When reading changes the access time (mount options of the same names). */
export const AccessTimes = Object.freeze({ RELATIVE: 0, STRICT: 1, NEVER: 2 });

const DAY_SECONDS = 24 * 60 * 60;

export interface AccessTimePolicy {
  /** One of `AccessTimes`. */
  readonly files: number;
  /** The same for directories (nodiratime). */
  readonly directories: number;
}

/** The inode's content was read. */
export function touchAccessTime(ctx: WriteContext, inode: Inode, policy: AccessTimePolicy): void {
  const kind = inode.isDirectory ? policy.directories : policy.files;
  if (kind === AccessTimes.NEVER || inode.hasFlag(InodeFlag.NOATIME)) return;
  if (kind === AccessTimes.RELATIVE && !isStale(inode, ctx.now)) return;
  if (inode.atimeSec === ctx.now.sec && inode.atimeNsec === ctx.now.nsec) return;
  atomically(ctx.handle, () => {
    ctx.inodes.modifyTimes(inode);
    inode.atimeSec = ctx.now.sec;
    inode.atimeNsec = ctx.now.nsec;
  });
}

/** Older than the last change or than a day (kernel: relatime_need_update). */
function isStale(inode: Inode, now: Timestamp): boolean {
  const { atimeSec, atimeNsec, mtimeSec, mtimeNsec, ctimeSec, ctimeNsec } = inode;
  return (
    !isLater(atimeSec, atimeNsec, mtimeSec, mtimeNsec) ||
    !isLater(atimeSec, atimeNsec, ctimeSec, ctimeNsec) ||
    now.sec - atimeSec >= DAY_SECONDS
  );
}

const isLater = (sec: number, nsec: number, otherSec: number, otherNsec: number): boolean =>
  sec > otherSec || (sec === otherSec && nsec > otherNsec);
