import { putU16le, putU32le, u16le, u32le, viewOf } from '../../../shared/bytes.ts';
import type { WritableBlockDevice } from '../block-device.ts';
import type { Crc32c } from '../checksum.ts';
import { CorruptionError, DeviceError } from '../errors.ts';
import { Incompat, RoCompat } from '../layout/features.ts';
import { SUPERBLOCK, type Superblock, SuperblockState } from '../layout/superblock.ts';
import { JournalExtents } from './journal-extents.ts';
import { type JournalFile, JournalSuperblock, readJournalSuperblockBlock } from './journal-superblock.ts';
import { JournalSuperblockImage } from './journal-superblock-image.ts';
import { checkCleanJournal, type RecoveredBlocks, recoverLog } from './recovery.ts';

export interface ReplayRequest {
  readonly device: WritableBlockDevice;
  /** The file system's superblock as it is on the device, and where. */
  readonly superblock: Superblock;
  readonly superblockOffsetBytes: number;
  readonly crc32c: Crc32c;
  readonly journal: JournalFile;
  /** False for a mount that goes on to write: the file system needs recovery as long as its journal is in use. */
  readonly clearNeedsRecovery: boolean;
}

export interface ReplayReport {
  /** Blocks written; when it isn't 0, everything read before is stale, the superblock as well. */
  readonly blocks: number;
  /** A positive errno when the journal had been aborted: the file system is now marked as having errors. */
  readonly journalErrno: number;
}

/** The part of the superblock that records errors: s_error_count up to s_mount_opts. */
const ERROR_RECORD = Object.freeze({ START: 0x194, END: 0x200 });

/**
 * Writes what the journal holds to its places, then marks the journal as empty. Each step is durable before the next
 * one begins, and until the last one all can be done again, so that a crash in between is just another crash.
 *
 * The log may hold an older superblock than the one at home, which records errors outside the journal: as with
 * the kernel, its record of errors stays and an error state isn't lost.
 *
 * Throws what `recoverInMemory` throws, before anything is written, and DeviceError.
 */
export function replayJournal(request: ReplayRequest): ReplayReport {
  return new Replay(request).run();
}

class Replay {
  readonly #request: ReplayRequest;
  readonly #device: WritableBlockDevice;
  readonly #blockSize: number;
  readonly #image: JournalSuperblockImage;
  readonly #before: JournalSuperblock;

  constructor(request: ReplayRequest) {
    const { device, superblock, crc32c, journal } = request;
    this.#request = request;
    this.#device = device;
    this.#blockSize = superblock.blockSizeBytes;
    const bytes = readJournalSuperblockBlock(device, this.#blockSize, superblock.blocksCount, crc32c, journal);
    this.#before = new JournalSuperblock(viewOf(bytes));
    this.#image = new JournalSuperblockImage(bytes, crc32c);
  }

  run(): ReplayReport {
    const blocks = this.#replayLog();
    const journalErrno = 0 - (this.#before.errno | 0);
    if (journalErrno !== 0) {
      this.#changeSuperblock((view) => putU16le(view, SUPERBLOCK.s_state, withError(view)));
      this.#image.setErrno(0);
    }
    if (blocks !== 0 || journalErrno !== 0 || this.#before.startBlock !== 0) this.#writeJournalSuperblock();
    if (this.#request.clearNeedsRecovery && this.#needsRecovery) {
      this.#changeSuperblock((view) => setNeedsRecovery(view, false));
    }
    return { blocks, journalErrno };
  }

  get #needsRecovery(): boolean {
    return this.#request.superblock.hasIncompat(Incompat.RECOVER);
  }

  /** Returns how many blocks it has written. */
  #replayLog(): number {
    const { superblock, crc32c, journal } = this.#request;
    const blocksCount = superblock.blocksCount;
    if (!this.#needsRecovery) {
      checkCleanJournal(this.#device, this.#blockSize, blocksCount, crc32c, journal);
      return 0;
    }
    if (this.#before.startBlock === 0) return 0;
    const { blocks, endSequence } = recoverLog(this.#device, this.#blockSize, blocksCount, crc32c, journal);
    const numbers = Array.from(blocks.blockNumbers()).sort((a, b) => a - b);
    this.#refuseOwnBlocks(numbers);
    const errorRecord = this.#readSuperblock();
    for (const blockNr of numbers) this.#writeHome(blocks, blockNr, errorRecord);
    if (numbers.length > 0) this.#flush();
    this.#image.setEmpty(endSequence, this.#before.firstBlock);
    return numbers.length;
  }

  /** A log that overwrites itself could not be replayed a second time. */
  #refuseOwnBlocks(numbers: readonly number[]): void {
    const { journal, superblock } = this.#request;
    const extents = new JournalExtents(journal, this.#before.lengthBlocks, superblock.blocksCount);
    const own = numbers.find((blockNr) => extents.holds(blockNr));
    if (own !== undefined)
      throw new CorruptionError('journal', 'the log holds a copy of a block of its own', { block: own });
  }

  #writeHome(blocks: RecoveredBlocks, blockNr: number, errorRecord: Uint8Array): void {
    const bytes = new Uint8Array(this.#blockSize);
    blocks.readNewest(blockNr, bytes);
    const at = this.#request.superblockOffsetBytes - blockNr * this.#blockSize;
    if (at >= 0 && at < this.#blockSize) this.#keepErrors(bytes.subarray(at, at + SUPERBLOCK.SIZE), errorRecord);
    this.#write(blockNr * this.#blockSize, bytes);
  }

  /** `bytes` is a superblock from the log, `before` the one that it is about to replace. */
  #keepErrors(bytes: Uint8Array, before: Uint8Array): void {
    const view = viewOf(bytes);
    bytes.set(before.subarray(ERROR_RECORD.START, ERROR_RECORD.END), ERROR_RECORD.START);
    const hadErrors = (u16le(viewOf(before), SUPERBLOCK.s_state) & SuperblockState.ERROR) !== 0;
    if (hadErrors) putU16le(view, SUPERBLOCK.s_state, withError(view));
    setNeedsRecovery(view, true);
    this.#seal(bytes, view);
  }

  #readSuperblock(): Uint8Array {
    const bytes = new Uint8Array(SUPERBLOCK.SIZE);
    const { superblockOffsetBytes } = this.#request;
    const errno = this.#device.read(superblockOffsetBytes, bytes);
    if (errno !== 0) throw new DeviceError(errno, 'read', superblockOffsetBytes, bytes.length);
    return bytes;
  }

  /** Changes the superblock at home, durably. */
  #changeSuperblock(change: (view: DataView) => void): void {
    const bytes = this.#readSuperblock();
    const view = viewOf(bytes);
    change(view);
    this.#seal(bytes, view);
    this.#write(this.#request.superblockOffsetBytes, bytes);
    this.#flush();
  }

  #seal(bytes: Uint8Array, view: DataView): void {
    if ((u32le(view, SUPERBLOCK.s_feature_ro_compat) & RoCompat.METADATA_CSUM) === 0) return;
    const crc = this.#request.crc32c(0xffffffff, bytes, 0, SUPERBLOCK.s_checksum);
    putU32le(view, SUPERBLOCK.s_checksum, crc);
  }

  #writeJournalSuperblock(): void {
    const bytes = new Uint8Array(this.#blockSize);
    this.#image.encodeInto(bytes);
    this.#write(this.#request.journal.physicalBlock(0) * this.#blockSize, bytes);
    this.#flush();
  }

  #write(offsetBytes: number, bytes: Uint8Array): void {
    const errno = this.#device.write(offsetBytes, bytes);
    if (errno !== 0) throw new DeviceError(errno, 'write', offsetBytes, bytes.length);
  }

  #flush(): void {
    const errno = this.#device.flush();
    if (errno !== 0) throw new DeviceError(errno, 'flush', 0, 0);
  }
}

const withError = (view: DataView): number => u16le(view, SUPERBLOCK.s_state) | SuperblockState.ERROR;

function setNeedsRecovery(view: DataView, needed: boolean): void {
  const incompat = u32le(view, SUPERBLOCK.s_feature_incompat);
  const changed = needed ? incompat | Incompat.RECOVER : incompat & ~Incompat.RECOVER;
  putU32le(view, SUPERBLOCK.s_feature_incompat, changed >>> 0);
}
