import { readlinkSync } from 'node:fs';
import { descriptorFlags } from '../../native/descriptor.ts';
import { Errno, SystemError } from '../../shared/errno.ts';
import { checkedSource } from '../kernel-options.ts';
import { type MountEntry, mountOf } from '../mount-info.ts';

/** fcntl.h, the same on x86-64, arm64 and riscv64. */
const O_ACCMODE = 3;
const O_WRONLY = 1;
const O_PATH = 0x200000;

/**
 * What the mount table will show. Programs take what looks like a path there for the file or device that is mounted, so
 * it is the path of a file that the user could read: `fd`, of which nothing is asked. -1 when none came.
 */
export function sourceName(name: string, fd: number, table: readonly MountEntry[]): string {
  if (!name.includes('/')) return checkedSource(name);
  if (fd < 0) refuse(Errno.EINVAL, name, 'comes without the file');
  const flags = descriptorFlags(fd);
  if ((flags & O_PATH) !== 0 || (flags & O_ACCMODE) === O_WRONLY) refuse(Errno.EACCES, name, 'is not open for reading');
  // In another namespace any file may have any path.
  if (mountOf(fd, table) === null) refuse(Errno.EINVAL, name, 'is in no file system that the system has mounted');
  return checkedSource(readlinkSync(`/proc/self/fd/${fd}`));
}

function refuse(errno: number, name: string, why: string): never {
  throw new SystemError(errno, 'source', name, why);
}
