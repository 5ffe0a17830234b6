import type { WritableBlockDevice } from './block-device.ts';
import { sealBlock } from './block-seal.ts';
import type { CachedBlock } from './buffer-cache.ts';
import { DeviceError } from './errors.ts';
import type { GroupDescriptors } from './group-descriptors.ts';
import { Compat } from './layout/features.ts';
import { SUPERBLOCK, type Superblock } from './layout/superblock.ts';
import { hasInternalJournal } from './superblock.ts';
import { noteMount, noteUnmount } from './superblock-write.ts';
import type { WriteContext } from './write-context.ts';

export interface MarkedFilesystem extends WriteContext {
  readonly device: WritableBlockDevice;
  readonly superblock: Superblock;
  readonly orphans: WriteContext['orphans'] & { readonly fileIsEmpty: boolean };
  superblockBlock(): CachedBlock;
}

/**
 * What the superblock says about the mount: that the file system is being written, or that it is in order. Written past
 * the journal, so only while nothing of the superblock is in a transaction.
 */
export class MountMarks {
  readonly #fs: MarkedFilesystem;
  readonly #descriptors: GroupDescriptors;
  readonly #mountPoint: Uint8Array | null;
  readonly #readClock: () => void;
  readonly #stateAtMount: number;
  /** Of what was written since the mount, what the superblock counts already. */
  #kbytesNoted = 0;

  /** `readClock` brings the time of the file system up to date. */
  constructor(
    fs: MarkedFilesystem,
    descriptors: GroupDescriptors,
    mountPoint: Uint8Array | null,
    readClock: () => void,
  ) {
    this.#fs = fs;
    this.#descriptors = descriptors;
    this.#mountPoint = mountPoint;
    this.#readClock = readClock;
    this.#stateAtMount = fs.superblock.state;
  }

  /** Before anything else is written: after a crash the superblock must tell that there is something to recover. */
  noteMount(resumes: boolean): void {
    const fs = this.#fs;
    this.#readClock();
    const { bytes, view } = fs.superblockBlock();
    noteMount(
      { bytes, view, at: fs.superblockAt },
      {
        resumes,
        nowSec: fs.now.sec,
        journalled: hasInternalJournal(fs.superblock),
        hasOrphanFile: fs.superblock.hasCompat(Compat.ORPHAN_FILE),
        mountPoint: this.#mountPoint,
      },
    );
    const errno = this.#write();
    if (errno !== 0) throw new DeviceError(errno, 'write', SUPERBLOCK.PRIMARY_OFFSET, SUPERBLOCK.SIZE);
  }

  /** When all is in its place. `kbytesWritten`: since the mount, in KiB. Returns 0 or a positive errno. */
  noteUnmount(kbytesWritten: number): number {
    const fs = this.#fs;
    this.#readClock();
    const { bytes, view } = fs.superblockBlock();
    noteUnmount(
      { bytes, view, at: fs.superblockAt },
      {
        nowSec: fs.now.sec,
        stateAtMount: this.#stateAtMount,
        orphanFileIsEmpty: fs.orphans.fileIsEmpty,
        kbytesWritten: kbytesWritten - this.#kbytesNoted,
      },
    );
    this.#kbytesNoted = kbytesWritten;
    return this.#write();
  }

  #write(): number {
    const fs = this.#fs;
    const block = fs.superblockBlock();
    sealBlock(fs, this.#descriptors, block);
    const errno = fs.device.write(block.blockNr * fs.blockSize, block.bytes);
    return errno === 0 ? fs.device.flush() : errno;
  }
}
