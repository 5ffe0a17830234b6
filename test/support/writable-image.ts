import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { crc32c } from '../../native/crc32c.ts';
import { MemoryBlockDevice, type WritableBlockDevice } from '../../service/ext4/block-device.ts';
import type { Inode } from '../../service/ext4/inode.ts';
import { AccessTimes } from '../../service/ext4/namespace/access-time.ts';
import { WritableFilesystem } from '../../service/ext4/writable-filesystem.ts';
import type { WriteOptions } from '../../service/ext4/write-options.ts';
import { imageBytes } from './ext4-image.ts';
import { Prng } from './prng.ts';

/** Bytes of a name or a text. */
export const bytesOf = (text: string): Uint8Array => Buffer.from(text, 'utf8');

/** A clock that goes on by a second with each look, and the same random numbers on each run. */
function reproducible(): Pick<WriteOptions, 'readClock' | 'random'> {
  let sec = 1_800_000_000;
  const prng = new Prng(1);
  return {
    readClock: (into) => {
      sec++;
      into.sec = sec;
      into.nsec = 123_456_789;
    },
    random: () => prng.u32() / 2 ** 32,
  };
}

export function openWritable(device: WritableBlockDevice, options: Partial<WriteOptions> = {}): WritableFilesystem {
  return WritableFilesystem.openForWriting(device, {
    crc32c,
    cacheBytes: 4 * 2 ** 20,
    superblockKiB: 0,
    noRecovery: false,
    log: () => {},
    posixAcl: true,
    accessTimes: { files: AccessTimes.RELATIVE, directories: AccessTimes.RELATIVE },
    lazyTimes: false,
    groupOfParent: false,
    reservedUid: null,
    reservedGid: null,
    isMultiMountProtected: false,
    barrier: true,
    journalChecksum: false,
    discard: false,
    mountPoint: null,
    writtenBytes: () => 0,
    allocate: (bytes) => new Uint8Array(bytes),
    report: (error) => {
      throw error;
    },
    errorBehaviour: null,
    panic: () => {
      throw new Error('errors=panic');
    },
    onAbort: (errno, during) => {
      throw new Error(`the journal was aborted with errno ${errno} while ${during}`);
    },
    ...reproducible(),
    ...options,
  });
}

/** An image in memory, opened for writing. */
export class WritableImage {
  readonly bytes: Uint8Array;
  readonly device: MemoryBlockDevice;
  fs: WritableFilesystem;
  readonly #options: Partial<WriteOptions>;

  constructor(path: string, options: Partial<WriteOptions> = {}) {
    this.bytes = imageBytes(path);
    this.device = new MemoryBlockDevice(this.bytes);
    this.#options = options;
    this.fs = openWritable(this.device, options);
  }

  /** Marks the beginning of a request, by root unless said otherwise. */
  begin(uid = 0, gid = 0): WritableFilesystem {
    this.fs.beginRequest(uid, gid);
    return this.fs;
  }

  get root(): Inode {
    return this.fs.inode(2);
  }

  /** Unmounts and mounts again. */
  reopen(): void {
    this.close();
    this.fs = openWritable(this.device, this.#options);
  }

  close(): void {
    const errno = this.fs.close();
    if (errno !== 0) throw new Error(`closing failed with errno ${errno}`);
  }

  /** Writes the image to a file. */
  save(path: string): void {
    writeFileSync(path, this.bytes);
  }
}

/** What `e2fsck -fn` has to say about an image; '' when it is in order. */
export function e2fsckComplaints(path: string): string {
  const PATH = `${process.env.PATH ?? ''}:/sbin:/usr/sbin`;
  const { status, stdout, stderr } = spawnSync('e2fsck', ['-fn', path], {
    encoding: 'latin1',
    env: { ...process.env, PATH },
  });
  return status === 0 ? '' : `exit ${status}: ${stdout}${stderr}`;
}
