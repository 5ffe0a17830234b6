import { u8, u32be } from '../../../shared/bytes.ts';
import { CorruptionError } from '../errors.ts';
import {
  JOURNAL_COMMIT,
  JOURNAL_CRC32_SIZE,
  JournalBlockType,
  JournalChecksumType,
  JournalIncompat,
} from '../layout/journal.ts';
import { crc32Be } from './crc32-be.ts';
import type { Log } from './log.ts';
import { nextSequence } from './sequence.ts';

const CRC32_START = 0xffffffff;

/**
 * Finds the end of the log: the sequence number of the first transaction that is not complete. A
 * transaction is complete when its commit block is where it should be. Throws CorruptionError when a
 * transaction was committed but its checksum is wrong, as the kernel refuses such a journal.
 */
export function findEndOfLog(log: Log): number {
  return new Scan(log).run();
}

class Scan {
  readonly #log: Log;
  #at: number;
  #sequence: number;
  #blocksSeen = 0;
  /**
   * A descriptor or revoke block of this transaction failed its checksum: damage, or a leftover of an older
   * journal.
   */
  #isSuspect = false;
  /**
   * Set when an asynchronous commit did not reach the disk whole: the log ends there, if nothing was committed
   * later.
   */
  #tornSequence = -1;
  #lastCommitSec = 0;
  #transactionCrc = CRC32_START;
  readonly #data: Uint8Array;

  constructor(log: Log) {
    this.#log = log;
    this.#at = log.superblock.startBlock;
    this.#sequence = log.superblock.sequence;
    this.#data = new Uint8Array(log.superblock.blockSizeBytes);
  }

  run(): number {
    while (this.#step());
    return this.#tornSequence === -1 ? this.#sequence : this.#tornSequence;
  }

  /** Looks at one block of the log and skips what it describes. False at the end of the log. */
  #step(): boolean {
    this.#log.readBlock(this.#at);
    switch (this.#log.blockTypeOf(this.#sequence)) {
      case JournalBlockType.DESCRIPTOR:
        return this.#descriptor();
      case JournalBlockType.REVOKE:
        this.#suspectUnless(this.#log.checksum.blockTailMatches(this.#log.bytes, this.#log.view));
        return this.#pass(1);
      case JournalBlockType.COMMIT:
        return this.#commit() && this.#pass(1);
      default:
        return false;
    }
  }

  #descriptor(): boolean {
    const { bytes, view, checksum, superblock } = this.#log;
    this.#suspectUnless(checksum.blockTailMatches(bytes, view));
    const dataBlocks = this.#log.tags.count(view);
    const mustSum = superblock.hasTransactionChecksum && this.#tornSequence === -1;
    if (mustSum) this.#transactionCrc = crc32Be(this.#transactionCrc, bytes);
    const dataAt = this.#log.advance(this.#at, 1);
    if (!this.#pass(1 + dataBlocks)) return false;
    if (mustSum) this.#sumData(dataAt, dataBlocks);
    return true;
  }

  #sumData(firstBlock: number, count: number): void {
    for (let index = 0; index < count; index++) {
      this.#log.readInto(this.#log.advance(firstBlock, index), this.#data);
      this.#transactionCrc = crc32Be(this.#transactionCrc, this.#data);
    }
  }

  /** False when the log ends here. */
  #commit(): boolean {
    const commitSec = commitSeconds(this.#log.view);
    const isStale = commitSec < this.#lastCommitSec;
    if (this.#isSuspect) {
      if (isStale) return false;
      this.#refuse(this.#sequence, 'descriptor or revoke block');
    }
    if (this.#tornSequence !== -1) this.#refuse(this.#tornSequence, 'commit block');
    if (!this.#commitChecksumMatches()) {
      if (isStale) return false;
      if (!this.#log.superblock.hasIncompat(JournalIncompat.ASYNC_COMMIT)) this.#refuse(this.#sequence, 'commit block');
      this.#tornSequence = this.#sequence;
    }
    this.#transactionCrc = CRC32_START;
    this.#lastCommitSec = commitSec;
    this.#sequence = nextSequence(this.#sequence);
    return true;
  }

  #commitChecksumMatches(): boolean {
    const { bytes, view, checksum, superblock } = this.#log;
    return superblock.hasTransactionChecksum
      ? transactionChecksumMatches(view, this.#transactionCrc)
      : checksum.commitMatches(bytes, view);
  }

  /**
   * Moves on by `count` blocks. No log is longer than the journal: one that is would never end. What a
   * leftover block claims is not held against the journal; the log just ends there.
   */
  #pass(count: number): boolean {
    this.#blocksSeen += count;
    if (this.#blocksSeen > this.#log.capacityBlocks) {
      if (this.#isSuspect) return false;
      throw new CorruptionError('journal', `the log has no end: transaction ${this.#sequence} runs into its beginning`);
    }
    this.#at = this.#log.advance(this.#at, count);
    return true;
  }

  #suspectUnless(matches: boolean): void {
    if (!matches) this.#isSuspect = true;
  }

  #refuse(sequence: number, block: string): never {
    throw new CorruptionError('journal', `transaction ${sequence}: checksum mismatch in a ${block}; run e2fsck -fy`);
  }
}

/** A commit block without any checksum is valid as well: the feature may have been turned on in mid-log. */
function transactionChecksumMatches(commit: DataView, crc: number): boolean {
  const type = u8(commit, JOURNAL_COMMIT.h_chksum_type);
  const size = u8(commit, JOURNAL_COMMIT.h_chksum_size);
  const found = u32be(commit, JOURNAL_COMMIT.h_chksum);
  if (type === JournalChecksumType.NONE && size === 0 && found === 0) return true;
  return type === JournalChecksumType.CRC32 && size === JOURNAL_CRC32_SIZE && found === crc;
}

const commitSeconds = (commit: DataView): number =>
  u32be(commit, JOURNAL_COMMIT.h_commit_sec) * 2 ** 32 + u32be(commit, JOURNAL_COMMIT.h_commit_sec + 4);
