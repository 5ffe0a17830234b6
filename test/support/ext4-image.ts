import {
  closeSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32c } from '../../native/crc32c.ts';
import { type BlockDevice, MemoryBlockDevice } from '../../service/ext4/block-device.ts';
import { Filesystem, type OpenOptions } from '../../service/ext4/filesystem.ts';
import { debugfsWrite, e2fsprogs } from './e2fsprogs.ts';

/** A directory for one test file's images; remove it with `remove()`. */
export class ImageDirectory {
  readonly path = mkdtempSync(join(tmpdir(), 'fuse4fs-image-'));
  #count = 0;

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }

  file(name: string): string {
    return join(this.path, name);
  }

  /** Makes a file system in a new sparse file with mkfs.ext4 and then runs debugfs commands on it. */
  make(sizeBytes: number, mkfsArguments: readonly string[], debugfsCommands: readonly string[] = []): string {
    const path = this.file(`image${this.#count++}`);
    writeFileSync(path, '');
    truncateSync(path, sizeBytes);
    e2fsprogs('mkfs.ext4', ['-q', '-F', ...mkfsArguments, path]);
    if (debugfsCommands.length > 0) debugfsWrite(path, debugfsCommands);
    return path;
  }
}

/** An image file read in place, for images too big for memory. */
export class FileBlockDevice implements BlockDevice {
  readonly sizeBytes: number;
  readonly #fd: number;
  reads = 0;

  constructor(path: string) {
    this.#fd = openSync(path, 'r');
    this.sizeBytes = fstatSync(this.#fd).size;
  }

  read(offsetBytes: number, into: Uint8Array): number {
    this.reads++;
    return readSync(this.#fd, into, 0, into.length, offsetBytes) === into.length ? 0 : 5;
  }

  readAhead(): void {}

  close(): void {
    closeSync(this.#fd);
  }
}

export const imageBytes = (path: string): Uint8Array => new Uint8Array(readFileSync(path));

/** Opens an image held in memory; what would be logged is collected in `log`. */
export function openBytes(bytes: Uint8Array, options: Partial<OpenOptions> = {}): Filesystem {
  return openDevice(new MemoryBlockDevice(bytes), options);
}

export function openDevice(device: BlockDevice, options: Partial<OpenOptions> = {}): Filesystem {
  return Filesystem.open(device, {
    crc32c,
    cacheBytes: 4 * 2 ** 20,
    superblockKiB: 0,
    noRecovery: false,
    log: () => {},
    ...options,
  });
}

export const openImage = (path: string, options: Partial<OpenOptions> = {}): Filesystem =>
  openBytes(imageBytes(path), options);

/** The superblock's checksum, made to match again after a test has changed the superblock at `at`. */
export function sealSuperblock(bytes: Uint8Array, at = 1024): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  view.setUint32(at + 0x3fc, crc32c(0xffffffff, bytes, at, at + 0x3fc), true);
}

/** Changes the bytes of one inode in an image and makes its checksum match again. */
export function patchInode(bytes: Uint8Array, ino: number, change: (view: DataView, at: number) => void): void {
  const filesystem = openBytes(bytes.slice());
  const { tableBlock, tableOffset } = filesystem.inode(ino);
  const at = tableBlock * filesystem.blockSize + tableOffset;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  change(view, at);
  if (filesystem.checksum.enabled) sealInode(filesystem, view, bytes, ino, at);
}

function sealInode(filesystem: Filesystem, view: DataView, bytes: Uint8Array, ino: number, at: number): void {
  const size = filesystem.superblock.inodeSizeBytes;
  const hasHigh = size > 128 && view.getUint16(at + 0x80, true) >= 4;
  view.setUint16(at + 0x7c, 0, true);
  if (hasHigh) view.setUint16(at + 0x82, 0, true);
  const seed = filesystem.checksum.inodeSeed(ino, view.getUint32(at + 0x64, true));
  const crc = crc32c(seed, bytes, at, at + size);
  view.setUint16(at + 0x7c, crc & 0xffff, true);
  if (hasHigh) view.setUint16(at + 0x82, crc >>> 16, true);
}

/** Changes the superblock of an image and makes its checksum match again. */
export function patchSuperblock(bytes: Uint8Array, change: (view: DataView) => void): Uint8Array {
  change(new DataView(bytes.buffer, bytes.byteOffset + 1024, 1024));
  sealSuperblock(bytes);
  return bytes;
}
