import { closeSync, fstatSync } from 'node:fs';
import { addon } from './addon.ts';
import { check } from './check.ts';

/** Size in bytes of a block device or regular file. */
export function deviceSizeBytes(fd: number): number {
  const status = fstatSync(fd);
  return status.isBlockDevice() ? check(addon.blockDeviceSize(fd), 'ioctl BLKGETSIZE64', `fd ${fd}`) : status.size;
}

/** The page cache keeps what is dirty, and writes it, in units of up to a page. */
const PAGE_BYTES = 4096;

/** Alignment in bytes that O_DIRECT transfers on `fd` need in memory, offset and length. */
export function directIoAlignment(fd: number): number {
  return check(addon.directIoAlignment(fd), 'statx', `fd ${fd}`);
}

/**
 * Alignment of O_DIRECT writes beside which others write through the page cache: one that shares a page with those is
 * lost when the page, read before and changed elsewhere meanwhile, is written back.
 */
export const directWriteAlignment = (fd: number): number => Math.max(directIoAlignment(fd), PAGE_BYTES);

/** Sets the block size the kernel uses for a block device (BLKBSZSET); needs CAP_SYS_ADMIN. */
export function setDeviceBlockSize(fd: number, bytes: number): void {
  check(addon.setBlockSize(fd, bytes), 'ioctl BLKBSZSET', `fd ${fd}`);
}

/** Buffered, synchronous access to a device or image file, for metadata. Owns `fd`. Offsets are bytes. */
export class NativeBlockDevice {
  readonly sizeBytes: number;
  readonly #fd: number;
  readonly #startBytes: number;

  /** The file system begins at `startBytes` of the descriptor (mount option `offset=`). */
  constructor(fd: number, startBytes: number) {
    this.#fd = fd;
    this.#startBytes = startBytes;
    this.sizeBytes = Math.max(0, deviceSizeBytes(fd) - startBytes);
  }

  read(offsetBytes: number, into: Uint8Array): number {
    return 0 - addon.readAt(this.#fd, this.#startBytes + offsetBytes, into);
  }

  readAhead(offsetBytes: number, lengthBytes: number): void {
    addon.readAheadAt(this.#fd, this.#startBytes + offsetBytes, lengthBytes);
  }

  close(): void {
    closeSync(this.#fd);
  }
}
