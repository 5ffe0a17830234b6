import { Errno } from '../shared/errno.ts';
import { addon, type RawDataPump, type RawFuseChannel, type RawWritePump } from './addon.ts';
import { check } from './check.ts';
import { setNonBlocking } from './descriptor.ts';

/** The /dev/fuse end of a mount: nonblocking, driven by the event loop. See RawFuseChannel for the contract. */
export type FuseChannel = RawFuseChannel;

/**
 * Takes over `fd` (it is made nonblocking and closed by `close`). Sizes are bytes. After a reply, `exchange`
 * waits up to `spinMicroseconds` for the next request, as long as that often pays off. More than one request buffer
 * is for keeping requests while others are read.
 */
export function openFuseChannel(
  fd: number,
  requestBytes: number,
  replyBytes: number,
  spinMicroseconds: number,
  requestBuffers = 1,
): FuseChannel {
  setNonBlocking(fd, true);
  return new addon.FuseChannel(fd, requestBytes, replyBytes, spinMicroseconds, requestBuffers);
}

/** Threads that answer READ requests from the device. See RawDataPump for the contract. */
export type DataPump = RawDataPump;

/**
 * `deviceFd` and `channelFd` stay the caller's and must outlive the pump. `alignmentBytes` is what
 * transfers on `deviceFd` must be aligned to (1 for buffered access).
 */
export function openDataPump(
  channelFd: number,
  deviceFd: number,
  alignmentBytes: number,
  threads: number,
  maxReadBytes: number,
): DataPump {
  return new addon.DataPump(channelFd, deviceFd, alignmentBytes, threads, maxReadBytes);
}

/** Threads that write file data. See RawWritePump for the contract. */
export type WritePump = RawWritePump;

/** As `openDataPump`. `onCompleted` is called on the main thread when writes have ended. */
export function openWritePump(
  channelFd: number,
  deviceFd: number,
  alignmentBytes: number,
  threads: number,
  onCompleted: () => void,
): WritePump {
  return new addon.WritePump(channelFd, deviceFd, alignmentBytes, threads, onCompleted);
}

/**
 * Sends a notification by a thread: the kernel may first want requests answered. `done` gets 0 or a positive errno.
 */
export function notifyKernel(channelFd: number, message: Uint8Array, done: (errno: number) => void): void {
  addon.fuseNotify(channelFd, message, done);
}

/**
 * Pre-approves iomap on a fuse descriptor that is not mounted yet. Returns false on kernels and callers that
 * can't (ENOTTY, EOPNOTSUPP, EPERM).
 */
export function grantIomap(fd: number): boolean {
  const result = addon.fuseIomapGrant(fd);
  if (result === -Errno.ENOTTY || result === -Errno.EOPNOTSUPP || result === -Errno.EPERM) return false;
  check(result, 'ioctl FUSE_DEV_IOC_ADD_IOMAP', '/dev/fuse');
  return true;
}

/** Makes the unmounted descriptor `fd` serve the connection of the mounted `sessionFd` as well (FUSE_DEV_IOC_CLONE). */
export function cloneFuseDevice(fd: number, sessionFd: number): void {
  check(addon.fuseCloneDevice(fd, sessionFd), 'ioctl FUSE_DEV_IOC_CLONE', '/dev/fuse');
}
