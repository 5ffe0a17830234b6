import { closeSync, constants, fstatSync } from 'node:fs';
import { directIoAlignment } from '../native/block-device.ts';
import { descriptorFlags, lockWholeFile } from '../native/descriptor.ts';
import { Errno, errnoOf, SystemError } from '../shared/errno.ts';
import { errnoText } from '../shared/errno-text.ts';
import { pauseThread } from '../shared/pause.ts';
import { fromByteString } from '../shared/service-protocol/byte-string.ts';
import { SOMEBODY_ELSE_HAS_IT } from '../shared/service-protocol/failure-text.ts';
import { HelperRefusal, type ServiceSession } from './handshake.ts';
import type { Options } from './options.ts';

const LOCK_WAIT_MS = 15_000;
const LOCK_PAUSE_MS = 100;
const UNALIGNED = 1;

/** The device as the service holds it: two descriptors, both for writing or both for reading only. */
export interface BackingDevice {
  readonly isWritable: boolean;
  /** Through the page cache, for metadata. */
  readonly metadataFd: number;
  /** For file data: past the page cache where the device can do that. */
  readonly dataFd: number;
  readonly dataAlignmentBytes: number;
}

/**
 * Asks the helper for the device that the user named, for writing unless that is unwanted or refused. Throws
 * SystemError when it can't be had. `tryLoop`: an image file had better come as a loop device over it.
 */
export function openBackingDevice(session: ServiceSession, options: Options, tryLoop: boolean): BackingDevice {
  const { fd, isWritable } = openForMetadata(session, options, tryLoop);
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
  if (status.isFile()) lockOrClose(fd, isWritable);
  const dataFd = openForData(session, options, isWritable, tryLoop);
  return { isWritable, metadataFd: fd, dataFd, dataAlignmentBytes: directAlignment(dataFd) };
}

/** Nobody else may hold a block device at the same time. The helper says nothing about a busy one, so we do. */
function openForMetadata(
  session: ServiceSession,
  options: Options,
  tryLoop: boolean,
): { fd: number; isWritable: boolean } {
  const wishes = { tryLoop, quiet: false };
  const access = options.readOnly ? constants.O_RDONLY : constants.O_RDWR;
  try {
    const { fd, forcedReadOnly } = session.openFile(options.device, access | constants.O_EXCL, wishes);
    return { fd, isWritable: !options.readOnly && !forcedReadOnly };
  } catch (error) {
    if (!(error instanceof HelperRefusal) || error.errno !== Errno.EBUSY) throw error;
    throw openFailure(options, Errno.EBUSY, `${SOMEBODY_ELSE_HAS_IT} block device`);
  }
}

function openForData(session: ServiceSession, options: Options, isWritable: boolean, tryLoop: boolean): number {
  const wishes = { tryLoop, quiet: true };
  const access = isWritable ? constants.O_RDWR : constants.O_RDONLY;
  try {
    return session.openFile(options.device, access | constants.O_DIRECT, wishes).fd;
  } catch (error) {
    if (!(error instanceof HelperRefusal)) throw error;
    // Not every file system has direct I/O on its files.
    if (error.errno === Errno.EINVAL) return session.openFile(options.device, access, wishes).fd;
    throw openFailure(options, error.errno, errnoText(error.errno));
  }
}

function openFailure(options: Options, errno: number, why: string): SystemError {
  return new SystemError(errno, 'opening device', fromByteString(options.device), why);
}

function directAlignment(fd: number): number {
  return (descriptorFlags(fd) & constants.O_DIRECT) === 0 ? UNALIGNED : directIoAlignment(fd);
}

/** Who looks for those that have the image open must not find us. */
function lockOrClose(fd: number, exclusive: boolean): void {
  try {
    lockImage(fd, exclusive);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/**
 * Who writes excludes all others who lock, who reads only those who write. An earlier server may be about to let
 * go.
 */
function lockImage(fd: number, exclusive: boolean): void {
  const deadlineMs = performance.now() + LOCK_WAIT_MS;
  for (;;) {
    try {
      lockWholeFile(fd, exclusive);
      return;
    } catch (error) {
      const held = errnoOf(error) === Errno.EAGAIN || errnoOf(error) === Errno.EACCES;
      if (!held) throw error;
      if (performance.now() >= deadlineMs) {
        throw new SystemError(Errno.EBUSY, 'fcntl F_SETLK', '', `${SOMEBODY_ELSE_HAS_IT} image`);
      }
      pauseThread(LOCK_PAUSE_MS);
    }
  }
}
