import { changeModeInAcl } from '../acl-write.ts';
import type { Inode } from '../inode.ts';
import { fractionOf } from '../inode-encode.ts';
import { atomically } from '../journal/atomically.ts';
import { FileType } from '../layout/inode.ts';
import { isCallers } from '../mappable.ts';
import { truncate } from '../truncate.ts';
import type { WriteContext } from '../write-context.ts';
import { requireChangeable, requireMutable } from './protection.ts';
import { touchChange, touchTimes } from './times.ts';

const UNCHANGED = -1;

/**
 * What SETATTR is to change. Reused by callers. -1 stands for "stays as it is" except in times, which have
 * switches of their own because they may be negative.
 */
export class AttributeChange {
  /** Permission bits. */
  mode = UNCHANGED;
  uid = UNCHANGED;
  gid = UNCHANGED;
  sizeBytes = UNCHANGED;
  setsAtime = false;
  atimeSec = 0;
  atimeNsec = 0;
  setsMtime = false;
  mtimeSec = 0;
  mtimeNsec = 0;
  /** Otherwise the present time is taken. */
  setsCtime = false;
  ctimeSec = 0;
  ctimeNsec = 0;
  /** Nothing but times is set, those of earlier changes, told late. */
  bringsKeptTimes = false;
  /** Data or owner change on behalf of somebody who may not keep set-user-ID and set-group-ID. */
  dropsPrivileges = false;

  clear(): void {
    this.mode = UNCHANGED;
    this.uid = UNCHANGED;
    this.gid = UNCHANGED;
    this.sizeBytes = UNCHANGED;
    this.setsAtime = false;
    this.setsMtime = false;
    this.setsCtime = false;
    this.dropsPrivileges = false;
    this.bringsKeptTimes = false;
  }
}

const SET_UID = 0o4000;
const SET_GID = 0o2000;
const GROUP_EXECUTE = 0o10;

/** The mode less what a change by an unprivileged user takes away; set-group-ID without execute means locking. */
export function withoutPrivileges(mode: number): number {
  const kept = mode & ~SET_UID;
  return (kept & GROUP_EXECUTE) !== 0 ? kept & ~SET_GID : kept;
}

/** The size first: that may fail for lack of space, and then nothing has changed. */
export function setAttributes(ctx: WriteContext, inode: Inode, change: AttributeChange): void {
  const resizes = change.sizeBytes !== UNCHANGED;
  if (isCallers(ctx, inode)) {
    // They have looked at the flags already, and may bring times of what was done before a flag was set.
  } else if (resizes || change.mode !== UNCHANGED || change.uid !== UNCHANGED || change.gid !== UNCHANGED) {
    requireChangeable(inode);
  } else if (!change.bringsKeptTimes) {
    requireMutable(inode);
  }
  if (resizes) truncate(ctx, inode, change.sizeBytes);
  atomically(ctx.handle, () => apply(ctx, inode, change));
}

function apply(ctx: WriteContext, inode: Inode, change: AttributeChange): void {
  // Callers who own files have waited with the times as long as these may wait.
  if (change.bringsKeptTimes && !isCallers(ctx, inode)) touchTimes(ctx, inode);
  else touchChange(ctx, inode);
  if (change.uid !== UNCHANGED) inode.uid = change.uid;
  if (change.gid !== UNCHANGED) inode.gid = change.gid;
  if (change.dropsPrivileges) inode.mode = withoutPrivileges(inode.mode);
  if (change.mode !== UNCHANGED) {
    inode.mode = (inode.mode & FileType.MASK) | (change.mode & ~FileType.MASK);
    changeModeInAcl(ctx, inode, inode.mode);
  }
  if (change.setsAtime) {
    inode.atimeSec = change.atimeSec;
    inode.atimeNsec = fractionOf(change.atimeSec, change.atimeNsec);
  }
  if (change.setsMtime) {
    inode.mtimeSec = change.mtimeSec;
    inode.mtimeNsec = fractionOf(change.mtimeSec, change.mtimeNsec);
  }
  if (change.setsCtime) {
    inode.ctimeSec = change.ctimeSec;
    inode.ctimeNsec = change.ctimeNsec;
  }
}
