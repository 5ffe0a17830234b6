import { crc32c } from '../../native/crc32c.ts';
import { BufferCache, type CachedBlock } from '../../service/ext4/buffer-cache.ts';
import { atomically } from '../../service/ext4/journal/atomically.ts';
import { Handle } from '../../service/ext4/journal/handle.ts';
import { Journal, type JournalOptions } from '../../service/ext4/journal/journal.ts';
import type { JournalFile } from '../../service/ext4/journal/recovery.ts';
import { Superblock } from '../../service/ext4/layout/superblock.ts';
import { sealSuperblock } from './ext4-image.ts';
import { RecordingDevice } from './recording-device.ts';

const RECOVER = 0x4;
const SUPERBLOCK_AT = 1024;

export interface RigOptions {
  readonly immediate?: boolean;
  readonly checksumVersion?: number;
  readonly is64bit?: boolean;
  readonly heldBlocksLimit?: number;
  readonly cacheBytes?: number;
  readonly barrier?: boolean;
  readonly seal?: (block: CachedBlock) => void;
  /** No log at all. */
  readonly withoutLog?: boolean;
}

/** Says in an image's superblock that its journal is in use, as it is while the file system is mounted for writing. */
export function setNeedsRecovery(bytes: Uint8Array): void {
  bytes[SUPERBLOCK_AT + 0x60] |= RECOVER;
  if ((bytes[SUPERBLOCK_AT + 0x65] & 0x4) !== 0) sealSuperblock(bytes);
}

/**
 * A journal on an image of e2fsprogs, without a file system above it: its "metadata" are blocks that the image does
 * not use, so that every checker finds the file system sound whatever they hold.
 */
export class JournalRig {
  readonly device: RecordingDevice;
  readonly cache: BufferCache;
  readonly handle: Handle;
  readonly journal: Journal;
  readonly blockSize: number;
  readonly superblock: Superblock;
  readonly now = { sec: 1_700_000_000, nsec: 123_456_789 };
  readonly aborts: string[] = [];

  constructor(bytes: Uint8Array, file: JournalFile, options: RigOptions = {}) {
    setNeedsRecovery(bytes);
    this.device = new RecordingDevice(bytes, options.immediate ?? false);
    this.superblock = new Superblock(new DataView(bytes.buffer, bytes.byteOffset), SUPERBLOCK_AT);
    this.blockSize = this.superblock.blockSizeBytes;
    this.cache = new BufferCache(this.device, this.blockSize, options.cacheBytes ?? 2 ** 24);
    this.handle = new Handle(this.cache);
    const journalOptions: JournalOptions = {
      device: this.device,
      cache: this.cache,
      handle: this.handle,
      seal: options.seal ?? (() => {}),
      allocate: (length) => new Uint8Array(length),
      barrier: options.barrier ?? true,
      heldBlocksLimit: options.heldBlocksLimit ?? 100_000,
      onAbort: (errno, during) => this.aborts.push(`${errno} ${during}`),
    };
    const log = {
      file,
      fsBlocksCount: this.superblock.blocksCount,
      crc32c,
      is64bit: options.is64bit ?? this.superblock.hasIncompat(0x80),
      checksumVersion: options.checksumVersion ?? 0,
      now: this.now,
    };
    this.journal =
      options.withoutLog === true ? Journal.withoutLog(journalOptions) : Journal.withLog(journalOptions, log);
  }

  /** One handle that fills each block with its value. */
  change(values: ReadonlyMap<number, number>): void {
    atomically(this.handle, () => {
      for (const [blockNr, value] of values) this.fill(blockNr, value);
    });
  }

  /** Within an open handle. Values above 255 make a block that begins with the journal's magic number. */
  fill(blockNr: number, value: number): void {
    const block = this.cache.get(blockNr);
    this.handle.modify(block);
    block.bytes.set(contentOf(this.blockSize, value));
  }

  free(blockNrs: readonly number[]): void {
    atomically(this.handle, () => {
      for (const blockNr of blockNrs) this.handle.forget(blockNr);
    });
  }

  /** Starts a commit; the answer is there once the device has taken its steps. */
  commit(): { errno: number } {
    const answer = { errno: -1 };
    this.journal.commit((errno) => {
      answer.errno = errno;
    });
    return answer;
  }
}

export function contentOf(blockSize: number, value: number): Uint8Array {
  const bytes = new Uint8Array(blockSize).fill(value & 0xff);
  if (value > 255) bytes.set([0xc0, 0x3b, 0x39, 0x98]);
  return bytes;
}
