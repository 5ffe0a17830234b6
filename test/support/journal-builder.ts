import { MemoryBlockDevice } from '../../service/ext4/block-device.ts';
import type { JournalFile } from '../../service/ext4/journal/recovery.ts';
import { referenceCrc32c } from './crc32c.ts';

/** One journalled block; it is escaped when it begins with the journal's magic number. */
export interface LoggedBlock {
  readonly blockNr: number;
  readonly data: Uint8Array;
}

export interface TransactionPlan {
  readonly blocks?: readonly LoggedBlock[];
  readonly revokes?: readonly number[];
  readonly commitSec?: number;
}

export interface JournalOptions {
  readonly blockSize?: number;
  readonly version?: 1 | 2;
  readonly compat?: number;
  readonly incompat?: number;
  readonly lengthBlocks?: number;
  readonly firstBlock?: number;
  readonly startBlock?: number;
  readonly sequence?: number;
  readonly fastCommitBlocks?: number;
  /** Blocks in front of the journal: the file system that it belongs to. */
  readonly homeBlocks?: number;
}

const MAGIC = 0xc03b3998;
const CHECKSUM = 0x1;
const BIT64 = 0x2;
const CSUM_V2 = 0x8;
const CSUM_V3 = 0x10;
const FAST_COMMIT = 0x20;

/**
 * Writes journals byte by byte, by the format's description and by nothing of the engine's own code. The
 * device is `homeBlocks` blocks filled with their own number, followed by the journal.
 */
export class JournalBuilder {
  readonly blockSize: number;
  readonly homeBlocks: number;
  readonly lengthBlocks: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly compat: number;
  readonly incompat: number;
  sequence: number;
  /** Journal block that is written next. */
  head: number;
  readonly #firstBlock: number;
  readonly #endBlock: number;
  readonly #uuid = Uint8Array.from({ length: 16 }, (_, index) => 0xa0 + index);
  #transactionCrc = 0;

  constructor(options: JournalOptions = {}) {
    this.blockSize = options.blockSize ?? 1024;
    this.homeBlocks = options.homeBlocks ?? 64;
    this.lengthBlocks = options.lengthBlocks ?? 1024;
    this.compat = options.compat ?? 0;
    this.incompat = options.incompat ?? 0x1;
    this.sequence = options.sequence ?? 100;
    this.#firstBlock = options.firstBlock ?? 1;
    this.head = options.startBlock ?? this.#firstBlock;
    const fastCommitBlocks = options.fastCommitBlocks ?? 0;
    this.#endBlock = this.lengthBlocks - fastCommitBlocks;
    this.bytes = new Uint8Array((this.homeBlocks + this.lengthBlocks) * this.blockSize);
    this.view = new DataView(this.bytes.buffer);
    for (let nr = 0; nr < this.homeBlocks; nr++) this.bytes.fill(nr, nr * this.blockSize, (nr + 1) * this.blockSize);
    this.#writeSuperblock(options.version ?? 2, this.head, fastCommitBlocks);
  }

  get device(): MemoryBlockDevice {
    return new MemoryBlockDevice(this.bytes);
  }

  get file(): JournalFile {
    return { lengthBlocks: this.lengthBlocks, physicalBlock: (nr) => this.homeBlocks + nr };
  }

  /** Byte offset on the device of a journal block. */
  at(journalBlockNr: number): number {
    return (this.homeBlocks + journalBlockNr) * this.blockSize;
  }

  /** Recomputes the superblock's checksum after a test has changed a field. */
  sealSuperblock(): void {
    this.#seal(this.at(0), 0xfc, 1024, 0xffffffff);
  }

  /**
   * A whole transaction: revoke block, descriptor blocks with data, commit block. Returns the commit block's
   * number.
   */
  transaction(plan: TransactionPlan): number {
    this.beginTransaction();
    if (plan.revokes !== undefined && plan.revokes.length > 0) this.revoke(plan.revokes);
    const perDescriptor = this.tagsPerDescriptor;
    const blocks = plan.blocks ?? [];
    for (let from = 0; from < blocks.length; from += perDescriptor) {
      this.descriptor(blocks.slice(from, from + perDescriptor));
    }
    return this.commit(plan.commitSec);
  }

  /** How many tags surely fit: the first one carries a UUID. */
  get tagsPerDescriptor(): number {
    return Math.floor((this.blockSize - 12 - 16 - 4) / this.#tagSize);
  }

  beginTransaction(): void {
    this.#transactionCrc = 0xffffffff;
  }

  /** Writes a descriptor block and the blocks it describes; returns the descriptor's number. */
  descriptor(blocks: readonly LoggedBlock[]): number {
    const descriptorNr = this.#take();
    const at = this.at(descriptorNr);
    this.#header(at, 1);
    let tagAt = at + 12;
    const dataNrs: number[] = [];
    blocks.forEach((block, index) => {
      const dataNr = this.#take();
      dataNrs.push(dataNr);
      const escaped = this.#writeData(dataNr, block.data);
      const flags = (escaped ? 1 : 0) | (index === 0 ? 0 : 2) | (index === blocks.length - 1 ? 8 : 0);
      this.#tag(tagAt, block.blockNr, flags, dataNr);
      tagAt += this.#tagSize;
      if (index === 0) {
        this.bytes.set(this.#uuid, tagAt);
        tagAt += 16;
      }
    });
    this.sealTail(descriptorNr);
    for (const nr of [descriptorNr, ...dataNrs]) this.#sumTransaction(nr);
    return descriptorNr;
  }

  revoke(blockNrs: readonly number[]): number {
    const nr = this.#take();
    const at = this.at(nr);
    this.#header(at, 5);
    const recordSize = this.#has(BIT64) ? 8 : 4;
    this.view.setUint32(at + 12, 16 + blockNrs.length * recordSize);
    blockNrs.forEach((blockNr, index) => {
      const recordAt = at + 16 + index * recordSize;
      if (recordSize === 8) this.view.setUint32(recordAt, Math.floor(blockNr / 2 ** 32));
      this.view.setUint32(recordAt + recordSize - 4, blockNr >>> 0);
    });
    this.sealTail(nr);
    return nr;
  }

  commit(commitSec = 1_000_000): number {
    const nr = this.#take();
    const at = this.at(nr);
    this.#header(at, 2);
    this.view.setUint32(at + 0x34, commitSec);
    if ((this.compat & CHECKSUM) !== 0) {
      this.bytes[at + 12] = 1;
      this.bytes[at + 13] = 4;
      this.view.setUint32(at + 16, this.#transactionCrc);
    }
    this.sealCommit(nr);
    this.sequence = (this.sequence + 1) >>> 0;
    return nr;
  }

  sealTail(journalBlockNr: number): void {
    if (this.#hasBlockChecksums) this.#seal(this.at(journalBlockNr), this.blockSize - 4, this.blockSize, this.#seed);
  }

  sealCommit(journalBlockNr: number): void {
    if (this.#hasBlockChecksums) this.#seal(this.at(journalBlockNr), 16, this.blockSize, this.#seed);
  }

  /** Writes fast-commit records from the start of the area on: tag and value each. A tail gets its checksum. */
  fastCommits(records: readonly { tag: number; value: Uint8Array }[]): void {
    const areaAt = this.at(this.#endBlock + 1);
    let at = areaAt;
    for (const { tag, value } of records) {
      this.view.setUint16(at, tag, true);
      this.view.setUint16(at + 2, value.length, true);
      this.bytes.set(value, at + 4);
      if (tag === 8) this.view.setUint32(at + 8, referenceCrc32c(0, this.bytes, areaAt, at + 8), true);
      at += 4 + value.length;
    }
  }

  get #seed(): number {
    return referenceCrc32c(0xffffffff, this.#uuid, 0, 16);
  }

  get #hasBlockChecksums(): boolean {
    return this.#has(CSUM_V2) || this.#has(CSUM_V3);
  }

  get #tagSize(): number {
    if (this.#has(CSUM_V3)) return 16;
    return (this.#has(BIT64) ? 12 : 8) + (this.#has(CSUM_V2) ? 2 : 0);
  }

  #has(feature: number): boolean {
    return (this.incompat & feature) !== 0;
  }

  #take(): number {
    const nr = this.head;
    this.head = nr + 1 === this.#endBlock ? this.#firstBlock : nr + 1;
    this.bytes.fill(0, this.at(nr), this.at(nr) + this.blockSize);
    return nr;
  }

  #header(at: number, type: number): void {
    this.view.setUint32(at, MAGIC);
    this.view.setUint32(at + 4, type);
    this.view.setUint32(at + 8, this.sequence);
  }

  #writeData(journalBlockNr: number, data: Uint8Array): boolean {
    const at = this.at(journalBlockNr);
    this.bytes.set(data, at);
    const escaped = this.view.getUint32(at) === MAGIC;
    if (escaped) this.view.setUint32(at, 0);
    return escaped;
  }

  #tag(at: number, blockNr: number, flags: number, dataNr: number): void {
    this.view.setUint32(at, blockNr >>> 0);
    this.view.setUint16(at + 6, flags);
    if (this.#has(BIT64)) this.view.setUint32(at + 8, Math.floor(blockNr / 2 ** 32));
    if (!this.#hasBlockChecksums) return;
    const sequence = new Uint8Array(4);
    new DataView(sequence.buffer).setUint32(0, this.sequence);
    const dataAt = this.at(dataNr);
    const crc = referenceCrc32c(
      referenceCrc32c(this.#seed, sequence, 0, 4),
      this.bytes,
      dataAt,
      dataAt + this.blockSize,
    );
    if (this.#has(CSUM_V3)) this.view.setUint32(at + 12, crc);
    else this.view.setUint16(at + 4, crc & 0xffff);
  }

  /** CRC-32, most significant bit first, one bit at a time. */
  #sumTransaction(journalBlockNr: number): void {
    if ((this.compat & CHECKSUM) === 0) return;
    const at = this.at(journalBlockNr);
    let crc = this.#transactionCrc;
    for (let index = at; index < at + this.blockSize; index++) {
      crc ^= this.bytes[index] << 24;
      for (let bit = 0; bit < 8; bit++) crc = crc < 0 || crc >= 2 ** 31 ? (crc << 1) ^ 0x04c11db7 : crc << 1;
    }
    this.#transactionCrc = crc >>> 0;
  }

  #seal(at: number, fieldAt: number, length: number, seed: number): void {
    this.view.setUint32(at + fieldAt, 0);
    this.view.setUint32(at + fieldAt, referenceCrc32c(seed, this.bytes, at, at + length));
  }

  #writeSuperblock(version: number, startBlock: number, fastCommitBlocks: number): void {
    const at = this.at(0);
    const u32 = (offset: number, value: number): void => this.view.setUint32(at + offset, value);
    u32(0, MAGIC);
    u32(4, version === 1 ? 3 : 4);
    u32(0xc, this.blockSize);
    u32(0x10, this.lengthBlocks);
    u32(0x14, this.#firstBlock);
    u32(0x18, this.sequence);
    u32(0x1c, startBlock);
    if (version === 1) return;
    u32(0x24, this.compat);
    u32(0x28, this.incompat);
    this.bytes.set(this.#uuid, at + 0x30);
    this.bytes[at + 0x50] = 4;
    if (this.#has(FAST_COMMIT)) u32(0x54, fastCommitBlocks);
    if (this.#hasBlockChecksums) this.sealSuperblock();
  }
}

/** A block's content: `fill` throughout, or beginning with the journal's magic number. */
export function blockOf(blockSize: number, fill: number, beginsWithMagic = false): Uint8Array {
  const bytes = new Uint8Array(blockSize).fill(fill);
  if (beginsWithMagic) new DataView(bytes.buffer).setUint32(0, MAGIC);
  return bytes;
}
