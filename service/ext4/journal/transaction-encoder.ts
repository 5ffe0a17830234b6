import { putU16be, putU32be, u32be } from '../../../shared/bytes.ts';
import type { CachedBlock } from '../buffer-cache.ts';
import type { Crc32c } from '../checksum.ts';
import {
  JOURNAL_COMMIT,
  JOURNAL_CRC32_SIZE,
  JOURNAL_HEADER,
  JOURNAL_MAGIC,
  JOURNAL_REVOKE,
  JOURNAL_TAG,
  JOURNAL_TAG_UUID_SIZE,
  JournalBlockType,
  JournalChecksumType,
  JournalIncompat,
  JournalTagFlag,
  journalTagSize,
} from '../layout/journal.ts';
import type { Timestamp } from '../write-context.ts';
import { crc32Be } from './crc32-be.ts';
import { JournalChecksum } from './journal-checksum.ts';
import type { JournalSuperblock } from './journal-superblock.ts';
import type { LogBuffer, LogSlot } from './log-buffer.ts';

const CRC32_START = 0xffffffff;

/**
 * Turns a transaction into blocks of the log: revoke blocks, then descriptor blocks each followed by the blocks
 * that its tags speak of, at last the commit block (kernel docs: ext4, "Journal (jbd2)").
 */
export class TransactionEncoder {
  readonly #superblock: JournalSuperblock;
  readonly #checksum: JournalChecksum;
  readonly #buffer: LogBuffer;
  readonly #tagSize: number;
  readonly #is64bit: boolean;
  readonly #tagsPerDescriptor: number;
  readonly #revokesPerBlock: number;
  #used = 0;
  #sequence = 0;
  /** Of descriptor and journalled blocks, when the journal sums whole transactions. */
  #transactionCrc = CRC32_START;

  constructor(superblock: JournalSuperblock, crc32c: Crc32c, buffer: LogBuffer) {
    this.#superblock = superblock;
    this.#checksum = new JournalChecksum(superblock, crc32c);
    this.#buffer = buffer;
    this.#tagSize = journalTagSize(superblock.incompat);
    this.#is64bit = superblock.hasIncompat(JournalIncompat.BIT64);
    const room = superblock.blockSizeBytes - this.#checksum.tailSize;
    this.#tagsPerDescriptor = Math.floor((room - JOURNAL_HEADER.SIZE - JOURNAL_TAG_UUID_SIZE) / this.#tagSize);
    this.#revokesPerBlock = Math.floor((room - JOURNAL_REVOKE.SIZE) / this.#revokeSize);
  }

  /** Blocks of the log that a transaction takes, its commit block included. */
  logBlocks(blocks: number, revokes: number): number {
    const descriptors = Math.ceil(blocks / this.#tagsPerDescriptor);
    return Math.ceil(revokes / this.#revokesPerBlock) + descriptors + blocks + 1;
  }

  /**
   * Copies the blocks into the buffer, encoded as transaction `sequence` of the log. Returns how many blocks there
   * are; the last one is the commit block.
   */
  encode(sequence: number, blocks: readonly CachedBlock[], revokes: readonly number[], time: Timestamp): number {
    this.#used = 0;
    this.#sequence = sequence;
    this.#transactionCrc = CRC32_START;
    for (let from = 0; from < revokes.length; from += this.#revokesPerBlock) this.#revokeBlock(revokes, from);
    for (let from = 0; from < blocks.length; from += this.#tagsPerDescriptor) this.#descriptor(blocks, from);
    this.#commitBlock(time);
    return this.#used;
  }

  get #revokeSize(): number {
    return this.#is64bit ? 8 : 4;
  }

  #take(): LogSlot {
    return this.#buffer.slot(this.#used++);
  }

  #takeOfType(type: number): LogSlot {
    const slot = this.#take();
    slot.bytes.fill(0);
    putU32be(slot.view, JOURNAL_HEADER.h_magic, JOURNAL_MAGIC);
    putU32be(slot.view, JOURNAL_HEADER.h_blocktype, type);
    putU32be(slot.view, JOURNAL_HEADER.h_sequence, this.#sequence);
    return slot;
  }

  #revokeBlock(revokes: readonly number[], from: number): void {
    const { bytes, view } = this.#takeOfType(JournalBlockType.REVOKE);
    const count = Math.min(this.#revokesPerBlock, revokes.length - from);
    for (let index = 0; index < count; index++) {
      const blockNr = revokes[from + index];
      const at = JOURNAL_REVOKE.SIZE + index * this.#revokeSize;
      if (this.#is64bit) putU32be(view, at, Math.floor(blockNr / 2 ** 32));
      putU32be(view, at + this.#revokeSize - 4, blockNr >>> 0);
    }
    putU32be(view, JOURNAL_REVOKE.r_count, JOURNAL_REVOKE.SIZE + count * this.#revokeSize);
    this.#checksum.sealBlockTail(bytes, view);
  }

  #descriptor(blocks: readonly CachedBlock[], from: number): void {
    const descriptor = this.#takeOfType(JournalBlockType.DESCRIPTOR);
    const firstData = this.#used;
    const end = Math.min(blocks.length, from + this.#tagsPerDescriptor);
    let tagAt = JOURNAL_HEADER.SIZE;
    for (let index = from; index < end; index++) {
      const data = this.#take();
      const isEscaped = copyEscaped(blocks[index], data);
      const isFirst = index === from;
      let flags = isEscaped ? JournalTagFlag.ESCAPE : 0;
      if (!isFirst) flags |= JournalTagFlag.SAME_UUID;
      if (index === end - 1) flags |= JournalTagFlag.LAST_TAG;
      this.#tag(descriptor.view, tagAt, blocks[index].blockNr, flags);
      this.#checksum.sealData(data.bytes, this.#sequence, descriptor.view, tagAt);
      tagAt += this.#tagSize;
      if (!isFirst) continue;
      descriptor.bytes.set(this.#superblock.uuid, tagAt);
      tagAt += JOURNAL_TAG_UUID_SIZE;
    }
    this.#checksum.sealBlockTail(descriptor.bytes, descriptor.view);
    if (this.#superblock.hasTransactionChecksum) this.#sumTransaction(firstData - 1);
  }

  /** Block number and flags lie at the same offsets in both forms of the tag. */
  #tag(view: DataView, at: number, blockNr: number, flags: number): void {
    putU32be(view, at + JOURNAL_TAG.t_blocknr, blockNr >>> 0);
    putU16be(view, at + JOURNAL_TAG.t_flags, flags);
    if (this.#is64bit) putU32be(view, at + JOURNAL_TAG.t_blocknr_high, Math.floor(blockNr / 2 ** 32));
  }

  #sumTransaction(from: number): void {
    for (let index = from; index < this.#used; index++) {
      this.#transactionCrc = crc32Be(this.#transactionCrc, this.#buffer.slot(index).bytes);
    }
  }

  #commitBlock(time: Timestamp): void {
    const { bytes, view } = this.#takeOfType(JournalBlockType.COMMIT);
    putU32be(view, JOURNAL_COMMIT.h_commit_sec, Math.floor(time.sec / 2 ** 32));
    putU32be(view, JOURNAL_COMMIT.h_commit_sec + 4, time.sec >>> 0);
    putU32be(view, JOURNAL_COMMIT.h_commit_nsec, time.nsec);
    if (this.#superblock.hasTransactionChecksum) {
      bytes[JOURNAL_COMMIT.h_chksum_type] = JournalChecksumType.CRC32;
      bytes[JOURNAL_COMMIT.h_chksum_size] = JOURNAL_CRC32_SIZE;
      putU32be(view, JOURNAL_COMMIT.h_chksum, this.#transactionCrc);
    }
    this.#checksum.sealCommit(bytes, view);
  }
}

/** A block that begins with the journal's magic number is logged with zeros there. True when it was. */
function copyEscaped(block: CachedBlock, to: LogSlot): boolean {
  to.bytes.set(block.bytes);
  if (u32be(block.view, 0) !== JOURNAL_MAGIC) return false;
  putU32be(to.view, 0, 0);
  return true;
}
