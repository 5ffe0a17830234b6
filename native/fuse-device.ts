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
 * The ioctls and messages of a /dev/fuse descriptor that is, or will be, mounted. Results are a negative errno where
 * the kernel refuses; ENOTTY for all of iomap on kernels without it.
 */
export class FuseDevice {
  readonly #fd: number;

  /** `fd` stays the caller's. */
  constructor(fd: number) {
    this.#fd = fd;
  }

  /** 1: file I/O, 2: atomic writes; 0 when the kernel has none of it for this descriptor. */
  iomapSupport(): number {
    return Math.max(0, addon.fuseIomapSupport(this.#fd));
  }

  backingOpen(deviceFd: number): number {
    return addon.fuseBackingOpen(this.#fd, deviceFd);
  }

  backingClose(id: number): number {
    return addon.fuseBackingClose(this.#fd, id);
  }

  setBlockSize(id: number, bytes: number): number {
    return addon.fuseSetBlockSize(this.#fd, id, bytes);
  }

  setNofs(on: boolean): number {
    return addon.fuseSetNofs(this.#fd, on);
  }

  /** A positive errno. */
  probeStriping(): number {
    return Math.max(0, -addon.fuseProbeStriping(this.#fd));
  }

  /** 0 or a positive errno. */
  notifyNow(message: Uint8Array, lengthBytes: number): number {
    return addon.fuseNotifyNow(this.#fd, message, lengthBytes);
  }

  /** By a thread: the kernel may first want requests answered. `done` gets 0 or a positive errno. */
  notify(message: Uint8Array, done: (errno: number) => void): void {
    addon.fuseNotify(this.#fd, message, done);
  }
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
