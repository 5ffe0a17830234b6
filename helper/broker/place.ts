import { constants, fstatSync, readlinkSync } from 'node:fs';
import { Errno, SystemError } from '../../shared/errno.ts';
import { isFuseMount, type MountEntry, mountOf } from '../mount-info.ts';
import type { MountPoint } from '../mount-point.ts';

/**
 * File systems that hold users' files, as fusermount3 has them. A mount on any other, such as proc, cgroup2 or devpts,
 * could be taken by programs for what the kernel shows there.
 */
const HOSTS: ReadonlySet<string> = new Set(
  [
    'afs aufs bcachefs btrfs ceph cifs ecryptfs exfat ext2 ext3 ext4 f2fs gfs2 gpfs hfsplus jffs2 jfs lustre msdos',
    'ncpfs nfs nfs4 nilfs2 ntfs ntfs3 overlay panfs ramfs reiserfs smb3 squashfs tmpfs ubifs ufsd vfat virtiofs wekafs',
    'xfs zfs',
  ].flatMap((names) => names.split(' ')),
);

const ROOT_UID = 0;

/**
 * The mount that a descriptor from a user lies in, before anything is asked of it: it must be one that the whole system
 * sees, of a kind on which users keep files, and not be served by some user's program, which could keep us waiting and
 * tell us anything.
 */
export function hostOf(fd: number, what: string, table: readonly MountEntry[]): MountEntry {
  const host = mountOf(fd, table);
  if (host === null) return refuse(Errno.EINVAL, what, 'is in no file system that the system has mounted');
  const isTrusted = isFuseMount(host) ? host.options.includes(`user_id=${ROOT_UID}`) : HOSTS.has(host.type);
  return isTrusted ? host : refuse(Errno.EPERM, what, `is on a file system of type ${host.type}, which is not allowed`);
}

/** A directory of this user's own. The descriptor stays the caller's. */
export function checkedMountPoint(fd: number, uid: number, table: readonly MountEntry[]): MountPoint {
  hostOf(fd, 'mount point', table);
  const status = fstatSync(fd);
  const path = readlinkSync(`/proc/self/fd/${fd}`);
  if (!status.isDirectory()) refuse(Errno.ENOTDIR, path, 'is not a directory');
  if (status.uid !== uid) refuse(Errno.EPERM, path, 'is not owned by you');
  return { fd, path, format: constants.S_IFDIR };
}

function refuse(errno: number, what: string, why: string): never {
  throw new SystemError(errno, 'mount point', what === 'mount point' ? '' : what, why);
}
