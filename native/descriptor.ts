import { closeSync } from 'node:fs';
import { addon } from './addon.ts';
import { check } from './check.ts';

/** Status flags of an open descriptor (F_GETFL): access mode, O_DIRECT, O_NONBLOCK... */
export function descriptorFlags(fd: number): number {
  return check(addon.descriptorFlags(fd), 'fcntl F_GETFL', `fd ${fd}`);
}

export function setNonBlocking(fd: number, on: boolean): void {
  check(addon.setNonBlocking(fd, on), 'fcntl F_SETFL', `fd ${fd}`);
}

export function setCloseOnExec(fd: number, on: boolean): void {
  check(addon.setCloseOnExec(fd, on), 'fcntl F_SETFD', `fd ${fd}`);
}

/**
 * Record lock over the whole file (F_OFD_SETLK), without waiting. Throws SystemError EAGAIN when somebody
 * holds a conflicting one, POSIX locks included. It belongs to the open file: closing another descriptor of the
 * same file does not release it.
 */
export function lockWholeFile(fd: number, exclusive: boolean): void {
  check(addon.lockWholeFile(fd, exclusive), 'fcntl F_SETLK', `fd ${fd}`);
}

/** flock(LOCK_EX|LOCK_NB); throws SystemError EAGAIN when somebody holds it. */
export function flockExclusive(fd: number): void {
  check(addon.flockExclusive(fd), 'flock', `fd ${fd}`);
}

/** Closes a descriptor on an error path, where a second error would hide the first. */
export function closeQuietly(fd: number): void {
  try {
    closeSync(fd);
  } catch {
    // Nothing better can be done with a descriptor that won't close.
  }
}
