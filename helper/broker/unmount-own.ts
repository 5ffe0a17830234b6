import { closeSync } from 'node:fs';
import { pinPath, UnmountFlag, unmount } from '../../native/mount-api.ts';
import { Errno, errnoOf, SystemError } from '../../shared/errno.ts';
import { errnoText } from '../../shared/errno-text.ts';
import { belongsTo, type MountEntry, mountOf, readMountTable } from '../mount-info.ts';
import { hostOf } from './place.ts';

const NOT_MOUNTED = 'is not mounted';

/**
 * Takes away the mount on `name` in the directory `parentFd`, if it is a mount of this user and of one of `types`.
 * A lazy unmount names the mount itself, by descriptor: however the user moves things about meanwhile, nothing else is
 * unmounted. Any other must not hold one, or the mount would be busy. It names the place, and is refused where another
 * mount would come to light if the user took his own away by another program first. What the user could put there in
 * that moment is a directory that he may rename, by way of a mount namespace where nothing is mounted on it; what is
 * mounted on that he can take away without us, by removing the directory there.
 */
export function unmountOwn(
  parentFd: number,
  name: string,
  lazy: boolean,
  uid: number,
  types: ReadonlySet<string>,
): void {
  if (parentFd < 0) refuse(Errno.EINVAL, name, 'comes without the directory');
  if (name.includes('/') || name === '.' || name === '..') refuse(Errno.EINVAL, name, 'is no name in a directory');
  const parent = hostOf(parentFd, name, readMountTable());
  const place = `/proc/self/fd/${parentFd}/${name}`;
  const fd = pinned(place, name);
  try {
    const mount = checkedMount(fd, name, parent);
    if (!types.has(mount.type) || !belongsTo(mount, uid)) refuse(Errno.EPERM, name, 'is not your mount');
    if (lazy) take(`/proc/self/fd/${fd}`, UnmountFlag.DETACH, name);
    else if (mount.parentId !== parent.id) refuse(Errno.EBUSY, name, 'lies over another mount, try -z');
  } finally {
    closeSync(fd);
  }
  if (!lazy) take(place, UnmountFlag.NOFOLLOW, name);
}

/** What is absent is not mounted either: we can look where the user may not, and must not tell him what is there. */
function pinned(place: string, name: string): number {
  try {
    return pinPath(place);
  } catch (error) {
    return errnoOf(error) === Errno.ENOENT
      ? refuse(Errno.EINVAL, name, NOT_MOUNTED)
      : refuse(errnoOf(error), name, errnoText(errnoOf(error)));
  }
}

/** `fd` is what was found in a directory of `parent`: the root of another mount, if it is in another. */
function checkedMount(fd: number, name: string, parent: MountEntry): MountEntry {
  const mount = mountOf(fd, readMountTable());
  if (mount === null || mount.id === parent.id) return refuse(Errno.EINVAL, name, NOT_MOUNTED);
  return mount;
}

/** Our own paths mean nothing to the user. */
function take(target: string, flags: number, name: string): void {
  try {
    unmount(target, flags);
  } catch (error) {
    refuse(errnoOf(error), name, errnoText(errnoOf(error)));
  }
}

function refuse(errno: number, name: string, why: string): never {
  throw new SystemError(errno, 'unmount', name, why);
}
