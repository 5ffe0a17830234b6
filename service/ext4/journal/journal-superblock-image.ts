import { putU32be, u32be, viewOf } from '../../../shared/bytes.ts';
import type { Crc32c } from '../checksum.ts';
import { JOURNAL_SUPERBLOCK, JournalChecksumType, JournalCompat, JournalIncompat } from '../layout/journal.ts';
import { crcWithZeroedField } from './checksum-field.ts';
import { JournalSuperblock } from './journal-superblock.ts';

/** How the log is checksummed: not at all, each transaction as a whole, or block by block. */
export const JournalChecksumVersion = Object.freeze({ NONE: 0, V1: 1, V2: 2, V3: 3 });

/** As the kernel chooses it; `isWanted`: by the mount option journal_checksum. */
export function journalChecksumVersion(hasMetadataChecksums: boolean, isWanted: boolean): number {
  if (hasMetadataChecksums) return JournalChecksumVersion.V3;
  return isWanted ? JournalChecksumVersion.V1 : JournalChecksumVersion.NONE;
}

const CHECKSUM_BITS: readonly (readonly [compat: number, incompat: number])[] = [
  [0, 0],
  [JournalCompat.CHECKSUM, 0],
  [0, JournalIncompat.CSUM_V2],
  [0, JournalIncompat.CSUM_V3],
];

/** The block of the journal superblock as it will be written next. */
export class JournalSuperblockImage {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #crc32c: Crc32c;

  /** Owns `bytes`, the block as it is on the device. */
  constructor(bytes: Uint8Array, crc32c: Crc32c) {
    this.#bytes = bytes;
    this.#view = viewOf(bytes);
    this.#crc32c = crc32c;
  }

  decode(): JournalSuperblock {
    return new JournalSuperblock(this.#view);
  }

  /** The log begins with transaction `sequence` at `startBlock`. */
  setStart(sequence: number, startBlock: number): void {
    putU32be(this.#view, JOURNAL_SUPERBLOCK.s_sequence, sequence);
    putU32be(this.#view, JOURNAL_SUPERBLOCK.s_start, startBlock);
  }

  /** Nothing needs recovery; the next transaction will be `sequence` and its log may begin at `headBlock`. */
  setEmpty(sequence: number, headBlock: number): void {
    this.setStart(sequence, 0);
    putU32be(this.#view, JOURNAL_SUPERBLOCK.s_head, headBlock);
  }

  /** Records why the journal was aborted, as a negative errno; 0: it is sound again. */
  setErrno(errno: number): void {
    putU32be(this.#view, JOURNAL_SUPERBLOCK.s_errno, -errno >>> 0);
  }

  addIncompat(bits: number): void {
    this.#change(JOURNAL_SUPERBLOCK.s_feature_incompat, 0, bits);
  }

  /**
   * Sets the features of a log that is empty, as the kernel does when it mounts for writing: 64-bit block numbers
   * where the file system has them, one version of checksums, no asynchronous commits.
   */
  setFeatures(is64bit: boolean, checksumVersion: number): void {
    const [compat, incompat] = CHECKSUM_BITS[checksumVersion];
    const { CSUM_V2, CSUM_V3, ASYNC_COMMIT, BIT64 } = JournalIncompat;
    this.#change(JOURNAL_SUPERBLOCK.s_feature_compat, JournalCompat.CHECKSUM, compat);
    const added = incompat | (is64bit ? BIT64 : 0);
    this.#change(JOURNAL_SUPERBLOCK.s_feature_incompat, CSUM_V2 | CSUM_V3 | ASYNC_COMMIT, added);
    if (incompat !== 0) this.#bytes[JOURNAL_SUPERBLOCK.s_checksum_type] = JournalChecksumType.CRC32C;
  }

  /** The block with its checksum made. */
  encodeInto(into: Uint8Array): void {
    if (this.decode().hasBlockChecksums) {
      const { s_checksum, SIZE } = JOURNAL_SUPERBLOCK;
      const crc = crcWithZeroedField(this.#crc32c, 0xffffffff, this.#bytes, s_checksum, SIZE);
      putU32be(this.#view, s_checksum, crc);
    }
    into.set(this.#bytes);
  }

  #change(at: number, clear: number, set: number): void {
    putU32be(this.#view, at, ((u32be(this.#view, at) & ~clear) | set) >>> 0);
  }
}
