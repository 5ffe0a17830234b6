import { closeSync, constants, fstatSync } from 'node:fs';
import { directIoAlignment, NativeBlockDevice } from '../native/block-device.ts';
import { descriptorFlags, lockWholeFile } from '../native/descriptor.ts';
import { Errno, errnoOf, SystemError } from '../shared/errno.ts';
import { errnoText } from '../shared/errno-text.ts';
import { pauseThread } from '../shared/pause.ts';
import { fromByteString } from '../shared/service-protocol/byte-string.ts';
import { HelperRefusal, type ServiceSession } from './handshake.ts';
import type { Options } from './options.ts';

const LOCK_WAIT_MS = 15_000;
const LOCK_PAUSE_MS = 100;
const UNALIGNED = 1;

/** The device as the service holds it: two descriptors, both read-only. */
export interface BackingDevice {
  /** Through the page cache, for metadata. */
  readonly metadata: NativeBlockDevice;
  /** For file data: past the page cache where the device can do that. */
  readonly dataFd: number;
  readonly dataAlignmentBytes: number;
}

/** Asks the helper for the device that the user named. Throws SystemError when it can't be had. */
export function openBackingDevice(session: ServiceSession, options: Options): BackingDevice {
  const fd = openForMetadata(session, options);
  const status = fstatSync(fd);
  if (!status.isFile() && !status.isBlockDevice()) {
    closeSync(fd);
    throw new SystemError(
      Errno.ENOTBLK,
      'OPEN',
      fromByteString(options.device),
      'neither block device nor regular file',
    );
  }
  if (status.isFile()) lockImage(fd);
  const dataFd = openForData(session, options);
  return {
    metadata: new NativeBlockDevice(fd, options.offsetBytes),
    dataFd,
    dataAlignmentBytes: directAlignment(dataFd),
  };
}

/** Nobody else may hold a block device at the same time. The helper says nothing about a busy one, so we do. */
function openForMetadata(session: ServiceSession, options: Options): number {
  const wishes = { tryLoop: false, quiet: false };
  try {
    return session.openFile(options.device, constants.O_RDONLY | constants.O_EXCL, wishes).fd;
  } catch (error) {
    if (!(error instanceof HelperRefusal) || error.errno !== Errno.EBUSY) throw error;
    throw openFailure(options, Errno.EBUSY, 'could not lock filesystem block device');
  }
}

function openForData(session: ServiceSession, options: Options): number {
  const wishes = { tryLoop: false, quiet: true };
  try {
    return session.openFile(options.device, constants.O_RDONLY | constants.O_DIRECT, wishes).fd;
  } catch (error) {
    if (!(error instanceof HelperRefusal)) throw error;
    // Not every file system has direct I/O on its files.
    if (error.errno === Errno.EINVAL) return session.openFile(options.device, constants.O_RDONLY, wishes).fd;
    throw openFailure(options, error.errno, errnoText(error.errno));
  }
}

function openFailure(options: Options, errno: number, why: string): SystemError {
  return new SystemError(errno, 'opening device', fromByteString(options.device), why);
}

function directAlignment(fd: number): number {
  return (descriptorFlags(fd) & constants.O_DIRECT) === 0 ? UNALIGNED : directIoAlignment(fd);
}

/**
 * A shared lock: others may read the image too, but nobody who locks may write it. An earlier server may be
 * about to let go.
 */
function lockImage(fd: number): void {
  const deadlineMs = performance.now() + LOCK_WAIT_MS;
  for (;;) {
    try {
      lockWholeFile(fd, false);
      return;
    } catch (error) {
      const held = errnoOf(error) === Errno.EAGAIN || errnoOf(error) === Errno.EACCES;
      if (!held) throw error;
      if (performance.now() >= deadlineMs) {
        throw new SystemError(Errno.EBUSY, 'fcntl F_SETLK', '', 'could not lock filesystem image');
      }
      pauseThread(LOCK_PAUSE_MS);
    }
  }
}
