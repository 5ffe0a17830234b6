import { Errno } from '../../shared/errno.ts';
import type { Inode } from '../ext4/inode.ts';
import { isCallers } from '../ext4/mappable.ts';
import { requireChangeable } from '../ext4/namespace/protection.ts';
import { AttributeChange } from '../ext4/namespace/set-attributes.ts';
import { SETATTR_IN, SetattrValid } from '../fuse/abi.ts';
import type { Reply } from '../fuse/reply.ts';
import type { Request } from '../fuse/request.ts';
import type { WritableEngine } from './engine.ts';
import { inodeOf } from './nodes.ts';

const NSEC_MAX = 999_999_999;
/** A size above this is refused further down; below it, numbers are exact. */
const SIZE_LIMIT = Number.MAX_SAFE_INTEGER;
const V = SetattrValid;

const change = new AttributeChange();

/**
 * SETATTR: chmod, chown, truncate and utimes, alone or together. The kernel has checked permissions, and no data is
 * under way when it truncates.
 */
export function setattr(engine: WritableEngine, request: Request, reply: Reply): number {
  const inode = inodeOf(engine, request.nodeId);
  const valid = request.u32(SETATTR_IN.valid);
  change.clear();
  change.bringsKeptTimes = bringsKeptTimes(inode, request, valid);
  const isKernels = isCallers(engine, inode);
  if (setsTimes(valid) && !change.bringsKeptTimes && !isKernels) requireChangeable(inode);
  if ((valid & V.MODE) !== 0) change.mode = request.u32(SETATTR_IN.mode);
  if ((valid & V.UID) !== 0) change.uid = request.u32(SETATTR_IN.uid);
  if ((valid & V.GID) !== 0) change.gid = request.u32(SETATTR_IN.gid);
  change.dropsPrivileges = !isKernels && losesPrivileges(inode, valid);
  takeTimes(engine, request, valid);
  if ((valid & V.SIZE) !== 0) {
    const errno = takeSize(inode, request);
    if (errno !== Errno.OK) return errno;
  }
  const oldBytes = inode.sizeBytes;
  engine.setAttributes(inode, change);
  if ((valid & V.SIZE) !== 0) engine.files.resized(inode, oldBytes);
  reply.attributes(inode, engine.blockSize);
  return Errno.OK;
}

/**
 * The kernel brings back times that it has kept, of changes that were made before anybody protected the file. A program
 * that sets the time of modification alone looks the same but for the file handle; where the kernel has none, what it
 * brings is no news.
 */
function bringsKeptTimes(inode: Inode, request: Request, valid: number): boolean {
  if ((valid & ~(V.MTIME | V.CTIME | V.FH)) !== 0 || (valid & V.MTIME) === 0) return false;
  if ((valid & V.FH) !== 0) return true;
  const { mtimeSec, mtimeNsec } = inode;
  return request.i64(SETATTR_IN.mtime) === mtimeSec && request.u32(SETATTR_IN.mtimensec) === mtimeNsec;
}

/** Anything but both times to the present one, which appending does as well. */
function setsTimes(valid: number): boolean {
  const times = valid & (V.ATIME | V.ATIME_NOW | V.MTIME);
  return times !== 0 && times !== (V.ATIME | V.ATIME_NOW | V.MTIME);
}

/** A new owner never gets set-user-ID as a present; the kernel says when a truncation takes it away. */
function losesPrivileges(inode: Inode, valid: number): boolean {
  if (inode.isDirectory) return false;
  return (valid & (V.UID | V.GID | V.KILL_SUIDGID)) !== 0;
}

function takeSize(inode: Inode, request: Request): number {
  const sizeBytes = request.u64(SETATTR_IN.size);
  if (inode.isDirectory) return Errno.EISDIR;
  if (!inode.isRegular) return Errno.EINVAL;
  if (sizeBytes > SIZE_LIMIT) return Errno.EFBIG;
  change.sizeBytes = sizeBytes;
  return Errno.OK;
}

function takeTimes(engine: WritableEngine, request: Request, valid: number): void {
  const { now } = engine;
  if ((valid & (V.ATIME | V.ATIME_NOW)) !== 0) {
    const isNow = (valid & V.ATIME_NOW) !== 0;
    change.setsAtime = true;
    change.atimeSec = isNow ? now.sec : request.i64(SETATTR_IN.atime);
    change.atimeNsec = isNow ? now.nsec : Math.min(request.u32(SETATTR_IN.atimensec), NSEC_MAX);
  }
  if ((valid & (V.MTIME | V.MTIME_NOW)) !== 0) {
    const isNow = (valid & V.MTIME_NOW) !== 0;
    change.setsMtime = true;
    change.mtimeSec = isNow ? now.sec : request.i64(SETATTR_IN.mtime);
    change.mtimeNsec = isNow ? now.nsec : Math.min(request.u32(SETATTR_IN.mtimensec), NSEC_MAX);
  }
  if ((valid & V.CTIME) !== 0) {
    change.setsCtime = true;
    change.ctimeSec = request.i64(SETATTR_IN.ctime);
    change.ctimeNsec = Math.min(request.u32(SETATTR_IN.ctimensec), NSEC_MAX);
  }
}
