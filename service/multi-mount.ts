import { hostname } from 'node:os';
import { basename } from 'node:path';
import { crc32c } from '../native/crc32c.ts';
import { alignedBuffer, type NativeWritableBlockDevice } from '../native/writable-block-device.ts';
import { Errno, errnoOf } from '../shared/errno.ts';
import type { Log } from '../shared/log.ts';
import { pauseThread } from '../shared/pause.ts';
import { bytesOf } from '../shared/service-protocol/byte-string.ts';
import { DeviceError } from './ext4/errors.ts';
import { Incompat } from './ext4/layout/features.ts';
import { SUPERBLOCK } from './ext4/layout/superblock.ts';
import { type MmpDevice, MultiMountProtection } from './ext4/mmp.ts';
import { metadataChecksum, readSuperblock } from './ext4/superblock.ts';
import type { WritableFilesystem } from './ext4/writable-filesystem.ts';
import type { Options } from './options.ts';

const MS_PER_SECOND = 1000;

/** The one block that must never be answered from this machine's caches. */
class UncachedBlocks implements MmpDevice {
  readonly #device: NativeWritableBlockDevice;
  readonly #buffer: Uint8Array;

  constructor(device: NativeWritableBlockDevice, blockSizeBytes: number) {
    this.#device = device;
    this.#buffer = alignedBuffer(blockSizeBytes);
  }

  readBlock(blockNr: number, into: Uint8Array): void {
    const offsetBytes = blockNr * into.length;
    const errno = this.#device.readUncached(offsetBytes, this.#buffer);
    if (errno !== 0) throw new DeviceError(errno, 'read', offsetBytes, into.length);
    into.set(this.#buffer);
  }

  writeBlock(blockNr: number, from: Uint8Array): void {
    const offsetBytes = blockNr * from.length;
    this.#buffer.set(from);
    let result = 0;
    const step = { kind: 'write', offsetBytes, bytes: this.#buffer, durable: true } as const;
    const program = this.#device.run([step], (errno) => {
      result = errno;
    });
    this.#device.wait(program);
    if (result !== 0) throw new DeviceError(result, 'write', offsetBytes, from.length);
  }

  nowSec(): number {
    return Math.floor(Date.now() / MS_PER_SECOND);
  }

  random(): number {
    return Math.random();
  }
}

/** The right to write a file system that several machines can reach; held from before the first write on. */
export class MultiMount {
  readonly #protection: MultiMountProtection;
  #timer: NodeJS.Timeout | undefined;

  private constructor(protection: MultiMountProtection) {
    this.#protection = protection;
  }

  /**
   * Takes the right where the file system wants that (feature mmp); null where it does not. Waits for others to show
   * themselves, for ten seconds and more. Throws FsError EBUSY when somebody else is writing.
   */
  static acquire(device: NativeWritableBlockDevice, options: Options, log: Log): MultiMount | null {
    // With a copy of the superblock nothing is written.
    if (options.superblockKiB !== null) return null;
    const superblock = readSuperblock(device, SUPERBLOCK.PRIMARY_OFFSET, crc32c);
    if (!superblock.hasIncompat(Incompat.MMP)) return null;
    const blocks = new UncachedBlocks(device, superblock.blockSizeBytes);
    const protection = new MultiMountProtection(superblock, metadataChecksum(superblock, crc32c), blocks, {
      nodeName: Buffer.from(hostname()),
      deviceName: Buffer.from(basename(Buffer.from(bytesOf(options.device)).toString('latin1')), 'latin1'),
    });
    let waitSec = protection.begin();
    log.notice(`multi-mount protection: waiting ${waitSec} seconds for other systems`);
    while (waitSec > 0) {
      pauseThread(waitSec * MS_PER_SECOND);
      waitSec = protection.proceed();
    }
    return new MultiMount(protection);
  }

  /** Says from time to time that we are still there; when somebody else is, too, writing ends. */
  keep(filesystem: WritableFilesystem, log: Log): void {
    this.#timer = setInterval(() => {
      try {
        this.#protection.update();
      } catch (error) {
        clearInterval(this.#timer);
        const text = error instanceof Error ? error.message : String(error);
        log.error(`multi-mount protection: ${text}`);
        filesystem.abort(errnoOf(error) === Errno.EUCLEAN ? Errno.EBUSY : errnoOf(error), 'updating the MMP block');
      }
    }, this.#protection.updateIntervalSec * MS_PER_SECOND);
  }

  /** Nothing is written any more. Others that wait for us to go notice it in any case, only later. */
  release(log: Log): void {
    clearInterval(this.#timer);
    try {
      this.#protection.release();
    } catch (error) {
      log.error(`multi-mount protection: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}
