import { u32be, viewOf } from '../../../shared/bytes.ts';
import type { BlockDevice } from '../block-device.ts';
import type { Crc32c } from '../checksum.ts';
import { CorruptionError, DeviceError } from '../errors.ts';
import { JOURNAL_HEADER, JOURNAL_MAGIC, JournalBlockType } from '../layout/journal.ts';
import { DescriptorTags } from './descriptor-tags.ts';
import { JournalChecksum } from './journal-checksum.ts';
import type { JournalFile, JournalSuperblock } from './journal-superblock.ts';
import { nextSequence } from './sequence.ts';

/** What a walk over complete transactions meets. Blocks are looked at through `Log.bytes` and `Log.view`. */
export interface TransactionVisitor {
  /** The log stands at a descriptor block; its first journalled block is `firstDataBlock`. */
  descriptor?(sequence: number, firstDataBlock: number): void;
  revoke?(sequence: number): void;
}

/** Reads the circular log, one block at a time. Block numbers count from the journal's start. */
export class Log {
  readonly superblock: JournalSuperblock;
  readonly checksum: JournalChecksum;
  readonly tags: DescriptorTags;
  /** The block read last by `readBlock`. */
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly #device: BlockDevice;
  readonly #journal: JournalFile;

  constructor(device: BlockDevice, journal: JournalFile, superblock: JournalSuperblock, crc32c: Crc32c) {
    this.#device = device;
    this.#journal = journal;
    this.superblock = superblock;
    this.checksum = new JournalChecksum(superblock, crc32c);
    this.tags = new DescriptorTags(superblock, this.checksum.tailSize);
    this.bytes = new Uint8Array(superblock.blockSizeBytes);
    this.view = viewOf(this.bytes);
  }

  /** Blocks that the log can hold. */
  get capacityBlocks(): number {
    return this.superblock.endBlock - this.superblock.firstBlock;
  }

  physicalBlock(blockNr: number): number {
    return this.#journal.physicalBlock(blockNr);
  }

  readBlock(blockNr: number): void {
    this.readInto(blockNr, this.bytes);
  }

  readInto(blockNr: number, into: Uint8Array): void {
    const offsetBytes = this.#journal.physicalBlock(blockNr) * into.length;
    const errno = this.#device.read(offsetBytes, into);
    if (errno !== 0) throw new DeviceError(errno, 'read', offsetBytes, into.length);
  }

  /** The block `count` blocks after `blockNr`, going round at the end of the log. */
  advance(blockNr: number, count: number): number {
    const { firstBlock } = this.superblock;
    return firstBlock + ((blockNr - firstBlock + count) % this.capacityBlocks);
  }

  /** Type of the block in `bytes` when it belongs to transaction `sequence`, else 0. */
  blockTypeOf(sequence: number): number {
    if (u32be(this.view, JOURNAL_HEADER.h_magic) !== JOURNAL_MAGIC) return 0;
    if (u32be(this.view, JOURNAL_HEADER.h_sequence) !== sequence) return 0;
    return u32be(this.view, JOURNAL_HEADER.h_blocktype);
  }

  /** Visits the transactions before `endSequence`, which an earlier scan has found to be complete. */
  walk(endSequence: number, visitor: TransactionVisitor): void {
    let sequence = this.superblock.sequence;
    let at = this.superblock.startBlock;
    for (let blocksLeft = this.capacityBlocks; sequence !== endSequence; blocksLeft--) {
      if (blocksLeft === 0) throw changedUnderneath(at);
      this.readBlock(at);
      const dataAt = this.advance(at, 1);
      switch (this.blockTypeOf(sequence)) {
        case JournalBlockType.DESCRIPTOR: {
          const dataBlocks = this.tags.count(this.view);
          visitor.descriptor?.(sequence, dataAt);
          at = this.advance(dataAt, dataBlocks);
          continue;
        }
        case JournalBlockType.REVOKE:
          visitor.revoke?.(sequence);
          break;
        case JournalBlockType.COMMIT:
          sequence = nextSequence(sequence);
          break;
        default:
          throw changedUnderneath(at);
      }
      at = dataAt;
    }
  }
}

const changedUnderneath = (blockNr: number): CorruptionError =>
  new CorruptionError('journal', `block ${blockNr} of the log changed while it was being read`);
