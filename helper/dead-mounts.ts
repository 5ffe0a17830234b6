import { closeSync, readFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { pinPath, UnmountFlag, unmount } from '../native/mount-api.ts';
import { Errno, errnoOf } from '../shared/errno.ts';
import { type MountEntry, mountIdOf, readMountTable } from './mount-info.ts';
import { failureText, type Report } from './report.ts';

const OUR_TYPES = new Set(['fuse.ext2', 'fuse.ext3', 'fuse.ext4']);

/** The kernel refuses at once when a server is gone. One that takes longer is there. */
const ANSWER_MS = 2_000;

/**
 * Detaches the mounts whose server is gone, which nobody can use and which stand in the way of the next mount. What
 * servers said plays no part in it: the kernel tells which are gone. False, and reports, when one can't be detached.
 */
export async function removeDeadMounts(report: Report): Promise<boolean> {
  const ours = readMountTable().filter((mount) => OUR_TYPES.has(mount.type) && !hasRequests(mount));
  const removed = await Promise.all(ours.map(async (mount) => !(await isDead(mount)) || detach(mount, report)));
  return removed.every((done) => done);
}

/** Requests are being waited for: somebody serves them, or could. A server that is gone has none. */
function hasRequests(mount: MountEntry): boolean {
  const [, minor] = mount.device.split(':');
  try {
    return Number(readFileSync(`/sys/fs/fuse/connections/${minor}/waiting`, 'latin1')) > 0;
  } catch {
    // Not every system has this file system mounted.
    return false;
  }
}

/** A question that the kernel never answers from memory. */
async function isDead(mount: MountEntry): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, ANSWER_MS, false);
  });
  const answer = statfs(mount.mountPoint).then(
    () => false,
    (error: unknown) => errnoOf(error) === Errno.ENOTCONN,
  );
  const dead = await Promise.race([answer, limit]);
  clearTimeout(timer);
  return dead;
}

/** Somebody else may have put a living mount there meanwhile: the mount is pinned, and looked at, before it goes. */
function detach(mount: MountEntry, report: Report): boolean {
  let fd = -1;
  try {
    fd = pinPath(mount.mountPoint);
    if (mountIdOf(fd) === mount.id) unmount(`/proc/self/fd/${fd}`, UnmountFlag.DETACH);
    return true;
  } catch (error) {
    report.error(failureText(error, mount.mountPoint));
    return false;
  } finally {
    if (fd >= 0) closeSync(fd);
  }
}
