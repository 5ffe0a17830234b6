import { closeSync, constants, fstatSync, openSync, readdirSync, readFileSync, type Stats, statSync } from 'node:fs';
import { closeQuietly, flockExclusive, lockWholeFile } from '../native/descriptor.ts';
import { configureLoop, findFreeLoop, LoopFlag, removeLoop } from '../native/loop-device.ts';
import { Errno, errnoOf, SystemError } from '../shared/errno.ts';
import { pauseThread } from '../shared/pause.ts';

const SECTOR_BYTES = 512;
const LOCK_WAIT_MS = 5000;
const LOCK_RETRY_MS = 100;
/** LOOP_CTL_GET_FREE reserves nothing, so somebody else may take the device first. */
const CONFIGURE_ATTEMPTS = 8;
const ACCESS_MODE = constants.O_WRONLY | constants.O_RDWR;
const CONTROL_PATH = '/dev/loop-control';

interface AttachedLoop {
  readonly deviceId: number;
  readonly inode: number;
  /** Keeps the device attached (it clears itself at the last close) and is reopened for further requests. */
  readonly fd: number;
}

/**
 * Loop devices over regular files of one session. A second request for the same file gets the same
 * device again, opened with its own flags: two devices over one file would not see each other's writes.
 */
export class LoopDevices {
  readonly #attached: AttachedLoop[] = [];

  /**
   * A loop device over regular file `fd` (opened with `openFlags`), or null when there can't be one and
   * the file itself has to do. Throws SystemError EBUSY when the file backs somebody else's loop device.
   * The caller owns the result.
   */
  open(fd: number, path: string, openFlags: number): number | null {
    const file = fstatSync(fd);
    if (!file.isFile() || file.size < SECTOR_BYTES || file.size % SECTOR_BYTES !== 0) return null;
    const known = this.#attached.find((loop) => loop.deviceId === file.dev && loop.inode === file.ino);
    const loopFd = known?.fd ?? this.#attach(fd, file, path, openFlags);
    return loopFd === null ? null : openSync(`/proc/self/fd/${loopFd}`, openFlags);
  }

  /** A device lives on while the service has it open. */
  close(): void {
    for (const loop of this.#attached) closeQuietly(loop.fd);
    this.#attached.length = 0;
  }

  #attach(fd: number, file: Stats, path: string, openFlags: number): number | null {
    // A description of its own: the loop device keeps the file's, and with it any lock, as long as it lives.
    const lockFd = openSync(`/proc/self/fd/${fd}`, constants.O_RDONLY);
    try {
      if (!lock(lockFd)) return null;
      if (loopDevicesOver(file).length > 0) throw new SystemError(Errno.EBUSY, 'loop device', path, 'already attached');
      lockForLoop(fd, path, openFlags);
      const loopFd = attachFree(fd, path, openFlags);
      if (loopFd !== null) this.#attached.push({ deviceId: file.dev, inode: file.ino, fd: loopFd });
      return loopFd;
    } finally {
      closeSync(lockFd);
    }
  }
}

/** Keeps other tools that attach loop devices out while we look whether there is one already. */
function lock(fd: number): boolean {
  for (let waited = 0; waited <= LOCK_WAIT_MS; waited += LOCK_RETRY_MS) {
    try {
      flockExclusive(fd);
      return true;
    } catch (error) {
      if (errnoOf(error) !== Errno.EAGAIN) return false;
    }
    pauseThread(LOCK_RETRY_MS);
  }
  return false;
}

/** Servers lock an image that they have as a plain file. This lock lives as long as the loop device. */
function lockForLoop(fd: number, path: string, openFlags: number): void {
  try {
    lockWholeFile(fd, (openFlags & ACCESS_MODE) !== constants.O_RDONLY);
  } catch (error) {
    const isHeld = errnoOf(error) === Errno.EAGAIN || errnoOf(error) === Errno.EACCES;
    if (isHeld) throw new SystemError(Errno.EBUSY, 'loop device', path, 'somebody has locked the file');
    // Not every file system has locks.
  }
}

/** Names of the loop devices that this very file backs. */
export function loopDevicesOver(file: Stats): string[] {
  return readdirSync('/sys/block').filter((name) => name.startsWith('loop') && isBackedBy(name, file));
}

/** A device that is not attached has no backing file; one that vanished is another file. */
function isBackedBy(loopName: string, file: Stats): boolean {
  try {
    const backing = statSync(readFileSync(`/sys/block/${loopName}/loop/backing_file`, 'utf8').replace(/\n$/, ''));
    return backing.dev === file.dev && backing.ino === file.ino;
  } catch {
    return false;
  }
}

/** Null when this machine or caller can't have a loop device. */
function attachFree(fd: number, path: string, openFlags: number): number | null {
  let controlFd: number;
  try {
    controlFd = openSync(CONTROL_PATH, constants.O_RDONLY);
  } catch {
    return null;
  }
  try {
    for (let attempt = 1; attempt <= CONFIGURE_ATTEMPTS; attempt++) {
      const loopFd = tryAttach(controlFd, fd, path, openFlags);
      if (loopFd !== 'taken') return loopFd;
    }
    return null;
  } finally {
    closeSync(controlFd);
  }
}

function tryAttach(controlFd: number, fd: number, path: string, openFlags: number): number | null | 'taken' {
  const accessMode = openFlags & ACCESS_MODE;
  const readOnly = accessMode === constants.O_RDONLY ? LoopFlag.READ_ONLY : 0;
  let loopFd = -1;
  let index = -1;
  try {
    index = findFreeLoop(controlFd);
    loopFd = openSync(`/dev/loop${index}`, accessMode);
    configureLoop(loopFd, fd, 0, LoopFlag.AUTOCLEAR | LoopFlag.DIRECT_IO | readOnly, path);
    return loopFd;
  } catch (error) {
    if (loopFd >= 0) closeQuietly(loopFd);
    if (errnoOf(error) === Errno.EBUSY) return 'taken';
    if (loopFd >= 0) removeQuietly(controlFd, index);
    return null;
  }
}

function removeQuietly(controlFd: number, index: number): void {
  try {
    removeLoop(controlFd, index);
  } catch {
    // Somebody uses it now, so it is not ours to remove.
  }
}
