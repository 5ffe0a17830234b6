import { putU16be, putU32be, u16be, u32be } from '../../../shared/bytes.ts';
import type { Crc32c } from '../checksum.ts';
import {
  JOURNAL_BLOCK_TAIL_SIZE,
  JOURNAL_COMMIT,
  JOURNAL_TAG,
  JOURNAL_TAG3,
  JournalIncompat,
} from '../layout/journal.ts';
import { crcWithZeroedField } from './checksum-field.ts';
import type { JournalSuperblock } from './journal-superblock.ts';

/**
 * The per-block checksums of journals with CSUM_V2 or CSUM_V3, seeded with the journal's UUID. Without
 * these features every check passes.
 */
export class JournalChecksum {
  readonly #crc32c: Crc32c;
  readonly #enabled: boolean;
  readonly #version3: boolean;
  readonly #seed: number;
  readonly #sequence = new Uint8Array(4);

  constructor(superblock: JournalSuperblock, crc32c: Crc32c) {
    this.#crc32c = crc32c;
    this.#enabled = superblock.hasBlockChecksums;
    this.#version3 = superblock.hasIncompat(JournalIncompat.CSUM_V3);
    this.#seed = crc32c(0xffffffff, superblock.uuid, 0, 16);
  }

  /** Are journalled blocks checksummed one by one? */
  get coversData(): boolean {
    return this.#enabled;
  }

  /** Bytes at the end of descriptor and revoke blocks that hold their checksum. */
  get tailSize(): number {
    return this.#enabled ? JOURNAL_BLOCK_TAIL_SIZE : 0;
  }

  /** Descriptor and revoke blocks. */
  blockTailMatches(bytes: Uint8Array, view: DataView): boolean {
    return !this.#enabled || this.#fieldMatches(bytes, view, bytes.length - JOURNAL_BLOCK_TAIL_SIZE);
  }

  /**
   * A commit block counts when its header is whole: the power may have gone off after its first sector. Behind the
   * header there were zeros then. Recent kernels do the same (jbd2_commit_block_csum_verify_partial).
   */
  commitMatches(bytes: Uint8Array, view: DataView): boolean {
    if (!this.#enabled || this.#fieldMatches(bytes, view, JOURNAL_COMMIT.h_chksum)) return true;
    const whole = new Uint8Array(bytes.length);
    whole.set(bytes.subarray(0, JOURNAL_COMMIT.SIZE));
    return this.#fieldMatches(whole, view, JOURNAL_COMMIT.h_chksum);
  }

  /** The journalled block `data` against the tag at `tagAt` of its descriptor block. */
  dataMatches(data: Uint8Array, sequence: number, descriptor: DataView, tagAt: number): boolean {
    if (!this.#enabled) return true;
    const computed = this.#ofData(data, sequence);
    return this.#version3
      ? u32be(descriptor, tagAt + JOURNAL_TAG3.t_checksum) === computed
      : u16be(descriptor, tagAt + JOURNAL_TAG.t_checksum) === (computed & 0xffff);
  }

  /** Descriptor and revoke blocks. */
  sealBlockTail(bytes: Uint8Array, view: DataView): void {
    if (this.#enabled) this.#sealField(bytes, view, bytes.length - JOURNAL_BLOCK_TAIL_SIZE);
  }

  sealCommit(bytes: Uint8Array, view: DataView): void {
    if (this.#enabled) this.#sealField(bytes, view, JOURNAL_COMMIT.h_chksum);
  }

  /** Puts the checksum of the journalled block `data` into its tag. */
  sealData(data: Uint8Array, sequence: number, descriptor: DataView, tagAt: number): void {
    if (!this.#enabled) return;
    const computed = this.#ofData(data, sequence);
    if (this.#version3) putU32be(descriptor, tagAt + JOURNAL_TAG3.t_checksum, computed);
    else putU16be(descriptor, tagAt + JOURNAL_TAG.t_checksum, computed & 0xffff);
  }

  #ofData(data: Uint8Array, sequence: number): number {
    const bytes = this.#sequence;
    bytes[0] = sequence >>> 24;
    bytes[1] = sequence >>> 16;
    bytes[2] = sequence >>> 8;
    bytes[3] = sequence;
    return this.#crc32c(this.#crc32c(this.#seed, bytes, 0, 4), data, 0, data.length) >>> 0;
  }

  #sealField(bytes: Uint8Array, view: DataView, fieldAt: number): void {
    putU32be(view, fieldAt, crcWithZeroedField(this.#crc32c, this.#seed, bytes, fieldAt, bytes.length));
  }

  #fieldMatches(bytes: Uint8Array, view: DataView, fieldAt: number): boolean {
    return u32be(view, fieldAt) === crcWithZeroedField(this.#crc32c, this.#seed, bytes, fieldAt, bytes.length);
  }
}
