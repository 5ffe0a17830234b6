import { Errno } from '../../../shared/errno.ts';
import type { DeviceStep, WritableBlockDevice } from '../block-device.ts';
import type { BufferCache, CachedBlock } from '../buffer-cache.ts';
import type { Crc32c } from '../checksum.ts';
import { IncompatibleError } from '../errors.ts';
import { JOURNAL_MIN_BLOCKS, JournalBlockType, JournalIncompat } from '../layout/journal.ts';
import type { Timestamp } from '../write-context.ts';
import { HomeWriter } from './home-writer.ts';
import { JournalExtents } from './journal-extents.ts';
import { type JournalFile, type JournalSuperblock, readJournalSuperblockBlock } from './journal-superblock.ts';
import { JournalSuperblockImage } from './journal-superblock-image.ts';
import { LogBuffer } from './log-buffer.ts';
import { LoggedTransaction, LoggedTransactions, LogTail } from './logged-transactions.ts';
import { nextSequence } from './sequence.ts';
import type { Transaction } from './transaction.ts';
import { TransactionEncoder } from './transaction-encoder.ts';
import {
  CheckpointOutcome,
  type StoreListener,
  type StoreOptions,
  type TransactionStore,
} from './transaction-store.ts';

/** The log and how it is to be written. */
export interface LogOptions {
  readonly file: JournalFile;
  readonly fsBlocksCount: number;
  readonly crc32c: Crc32c;
  /** Block numbers have 64 bits in this file system. */
  readonly is64bit: boolean;
  /** One of `JournalChecksumVersion`. */
  readonly checksumVersion: number;
  /** The time for commit blocks: that of the present request. */
  readonly now: Timestamp;
}

/**
 * Transactions go to the circular log; their blocks are brought home later, from the cache (checkpoint).
 *
 * The log's tail passes a transaction only when each of its blocks is home durably, or has a newer copy in a later
 * committed transaction of the log, or was freed by one. The content of a block goes home only while it is what the
 * newest committed transaction left: a block that was changed or freed since waits until that is committed too.
 */
export class LogStore implements TransactionStore {
  readonly maxBlocks: number;
  readonly #options: StoreOptions;
  readonly #device: WritableBlockDevice;
  readonly #cache: BufferCache;
  readonly #listener: StoreListener;
  readonly #now: Timestamp;
  readonly #blockSize: number;
  readonly #extents: JournalExtents;
  readonly #superblock: JournalSuperblock;
  readonly #image: JournalSuperblockImage;
  readonly #superblockBytes: Uint8Array;
  readonly #encoder: TransactionEncoder;
  readonly #buffer: LogBuffer;
  readonly #home: HomeWriter;
  readonly #capacityBlocks: number;

  readonly #logged = new LoggedTransactions();
  #committing: LoggedTransaction | null = null;
  /** Freed by the committing transaction. */
  #forgotten: CachedBlock[] = [];
  /** Where the next transaction will be written, and its number in the log. */
  #head: number;
  #nextLogSequence: number;
  #nextSequence = 1;
  #freeBlocks: number;
  /** As the superblock on the device has it. While `#isActive` is false, it says that the log is empty. */
  readonly #tail = new LogTail();
  readonly #newTail = new LogTail();
  #isActive = false;
  /** The superblock is being written: its memory may not change, and no second write may overtake the first. */
  #superblockIsBusy = false;
  /** It is the commit under way that writes it. */
  #commitHasSuperblock = false;
  /** A feature has been added that the superblock on the device doesn't have yet. */
  #superblockIsStale = false;
  #hasRevokeFeature: boolean;

  readonly #batch: CachedBlock[] = [];
  readonly #batchTransactions: LoggedTransaction[] = [];
  #isCheckpointing = false;
  #movesTail = false;
  #checkpointProgram = 0;
  #abortErrno = 0;

  /**
   * Opens a log that is empty, for writing. Nothing is written before the first commit. Throws IncompatibleError for a
   * journal that can't be written, CorruptionError for a damaged one.
   */
  constructor(options: StoreOptions, log: LogOptions, listener: StoreListener) {
    const { device, cache } = options;
    this.#options = options;
    this.#device = device;
    this.#cache = cache;
    this.#listener = listener;
    this.#now = log.now;
    this.#blockSize = cache.blockSize;
    const bytes = readJournalSuperblockBlock(device, cache.blockSize, log.fsBlocksCount, log.crc32c, log.file);
    this.#image = new JournalSuperblockImage(bytes, log.crc32c);
    requireWritable(this.#image.decode());
    this.#image.setFeatures(log.is64bit, log.checksumVersion);
    this.#superblock = this.#image.decode();
    this.#hasRevokeFeature = this.#superblock.hasIncompat(JournalIncompat.REVOKE);
    this.#extents = new JournalExtents(log.file, this.#superblock.lengthBlocks, log.fsBlocksCount);
    this.#superblockBytes = options.allocate(cache.blockSize);
    this.#buffer = new LogBuffer(cache.blockSize, options.allocate);
    this.#encoder = new TransactionEncoder(this.#superblock, log.crc32c, this.#buffer);
    this.#home = new HomeWriter(device, cache.blockSize);
    this.#capacityBlocks = this.#superblock.endBlock - this.#superblock.firstBlock;
    // One block stays unused, so that a full log does not look like an empty one.
    this.#freeBlocks = this.#capacityBlocks - 1;
    this.#head = firstHead(this.#superblock);
    // As the kernel counts: the number in the superblock of an empty log is the last one that may have been used.
    this.#nextLogSequence = nextSequence(this.#superblock.sequence);
    this.maxBlocks = Math.min(options.maxTransactionBlocks, Math.floor(this.#capacityBlocks / 4));
  }

  get logBlocks(): number {
    return this.#capacityBlocks;
  }

  get logBlocksFree(): number {
    return this.#freeBlocks;
  }

  get pendingBlocks(): number {
    return this.#logged.pendingBlocks;
  }

  fits(blocks: number, revokes: number): boolean {
    return this.#encoder.logBlocks(blocks, revokes) <= this.#freeBlocks;
  }

  write(transaction: Transaction): DeviceStep[] {
    const blocks = this.#takeBlocks(transaction);
    const revokes = this.#neededRevokes(transaction);
    const count = this.#encoder.encode(this.#nextLogSequence, blocks, revokes, this.#now);
    const { sequence } = transaction;
    this.#committing = new LoggedTransaction(sequence, this.#nextLogSequence, this.#head, count, blocks);
    this.#freeBlocks -= count;
    const steps: DeviceStep[] = [];
    this.#pushLogWrites(steps, count - 1);
    this.#pushSuperblock(steps, revokes.length > 0);
    steps.push({ kind: 'flush' });
    this.#pushWrite(steps, count - 1, 1, this.#options.barrier);
    this.#head = this.#advance(this.#head, count);
    this.#nextLogSequence = nextSequence(this.#nextLogSequence);
    this.#nextSequence = sequence + 1;
    return steps;
  }

  committed(transaction: Transaction): void {
    const logged = this.#committing;
    if (logged === null) return;
    this.#committing = null;
    this.#isActive = true;
    this.#logged.add(logged);
    for (const block of this.#forgotten) {
      this.#logged.supersede(block);
      if (!block.forgotten || block.transaction !== transaction.sequence) continue;
      block.transaction = 0;
      this.#cache.drop(block);
    }
    this.#forgotten = [];
    this.#commitEnded();
  }

  failed(): void {
    this.#committing = null;
    this.#commitEnded();
  }

  get needsCheckpoint(): boolean {
    return this.#freeBlocks < this.#capacityBlocks / 2 || this.#logged.pendingBlocks > this.#options.heldBlocksLimit;
  }

  checkpoint(maxBlocks: number): number {
    if (this.#isCheckpointing) return CheckpointOutcome.BUSY;
    this.#logged.collect(maxBlocks, this.#batch, this.#batchTransactions);
    this.#findTail();
    this.#movesTail = this.#isActive && !this.#superblockIsBusy && this.#newTail.sequence !== this.#tail.sequence;
    if (this.#batch.length === 0 && !this.#movesTail) return CheckpointOutcome.NOTHING;
    this.#isCheckpointing = true;
    const errno = this.#home.write(this.#batch);
    if (errno === 0) this.#runCheckpoint();
    else this.#checkpointEnded(errno);
    return CheckpointOutcome.STARTED;
  }

  waitForCheckpoint(): void {
    if (this.#isCheckpointing) this.#device.wait(this.#checkpointProgram);
  }

  markClean(): number {
    if (this.#logged.pendingBlocks !== 0 || this.#committing !== null) return Errno.EBUSY;
    if (!this.#isActive) return 0;
    this.#image.setEmpty(this.#nextLogSequence, this.#head);
    const errno = this.#writeSuperblockNow();
    if (errno !== 0) return errno;
    this.#freeBlocks += this.#logged.passedBy(this.#nextSequence);
    this.#isActive = false;
    return 0;
  }

  abort(errno: number): void {
    // As the kernel has it: who wanted an end has found no error, and nobody need look for one.
    if (errno === Errno.ESHUTDOWN) return;
    this.#abortErrno = errno;
    this.#recordAbort();
  }

  /** Seals the blocks that are to be logged, and puts those that were freed aside. */
  #takeBlocks(transaction: Transaction): CachedBlock[] {
    const taken: CachedBlock[] = [];
    for (const block of transaction.blocks) {
      if (block.forgotten) {
        this.#forgotten.push(block);
      } else {
        this.#options.seal(block);
        taken.push(block);
      }
    }
    return taken;
  }

  /** A block that came into use again as metadata within the transaction is not revoked: its new copy is replayed. */
  #neededRevokes(transaction: Transaction): number[] {
    return transaction.revoked.filter((blockNr) => {
      const block = this.#cache.peek(blockNr);
      return block === null || block.forgotten || block.transaction !== transaction.sequence;
    });
  }

  #advance(blockNr: number, count: number): number {
    const { firstBlock } = this.#superblock;
    return firstBlock + ((blockNr - firstBlock + count) % this.#capacityBlocks);
  }

  /** Writes of the buffer's first `count` blocks, as long as memory and device allow. */
  #pushLogWrites(steps: DeviceStep[], count: number): void {
    for (let from = 0; from < count; ) {
      const length = this.#contiguous(from, this.#buffer.contiguous(from, count - from));
      this.#pushWrite(steps, from, length, false);
      from += length;
    }
  }

  #contiguous(from: number, limit: number): number {
    const first = this.#extents.physicalBlock(this.#advance(this.#head, from));
    let length = 1;
    while (length < limit && this.#extents.physicalBlock(this.#advance(this.#head, from + length)) === first + length) {
      length++;
    }
    return length;
  }

  #pushWrite(steps: DeviceStep[], from: number, length: number, durable: boolean): void {
    const deviceBlock = this.#extents.physicalBlock(this.#advance(this.#head, from));
    const bytes = this.#buffer.bytes(from, length);
    steps.push({ kind: 'write', offsetBytes: deviceBlock * this.#blockSize, bytes, durable });
  }

  /** The superblock must say where the log begins before the first commit block is there. */
  #pushSuperblock(steps: DeviceStep[], hasRevokes: boolean): void {
    if (hasRevokes && !this.#hasRevokeFeature) {
      this.#image.addIncompat(JournalIncompat.REVOKE);
      this.#hasRevokeFeature = true;
      this.#superblockIsStale = true;
    }
    const committing = this.#committing;
    if (!this.#isActive && committing !== null) {
      this.#tail.set(committing.sequence, committing.logSequence, committing.startBlock);
      this.#image.setStart(committing.logSequence, committing.startBlock);
    } else if (!this.#superblockIsStale || this.#superblockIsBusy) {
      return;
    }
    steps.push(this.#superblockStep(false));
    this.#commitHasSuperblock = true;
  }

  #superblockStep(durable: boolean): DeviceStep {
    this.#superblockIsBusy = true;
    this.#superblockIsStale = false;
    this.#image.encodeInto(this.#superblockBytes);
    const offsetBytes = this.#extents.physicalBlock(0) * this.#blockSize;
    return { kind: 'write', offsetBytes, bytes: this.#superblockBytes, durable };
  }

  #writeSuperblockNow(): number {
    let result = 0;
    const program = this.#device.run([this.#superblockStep(true)], (errno) => {
      result = errno;
    });
    this.#device.wait(program);
    this.#superblockIsBusy = false;
    return result;
  }

  /** Where the log may begin once the batch is home. */
  #findTail(): void {
    const first = this.#logged.firstNeeded() ?? this.#committing;
    if (first !== null) this.#newTail.set(first.sequence, first.logSequence, first.startBlock);
    else this.#newTail.set(this.#nextSequence, this.#nextLogSequence, this.#head);
  }

  #runCheckpoint(): void {
    const steps: DeviceStep[] = [];
    if (this.#batch.length > 0) steps.push({ kind: 'flush' });
    if (this.#movesTail) {
      this.#image.setStart(this.#newTail.logSequence, this.#newTail.block);
      steps.push(this.#superblockStep(true));
    }
    const program = this.#device.run(steps, (errno) => this.#checkpointEnded(errno));
    if (this.#isCheckpointing) this.#checkpointProgram = program;
  }

  #checkpointEnded(errno: number): void {
    this.#isCheckpointing = false;
    if (this.#movesTail) this.#superblockIsBusy = false;
    if (errno === 0) this.#settleBatch();
    else this.#image.setStart(this.#tail.logSequence, this.#tail.block);
    for (const transaction of this.#batchTransactions) transaction.underWay = 0;
    this.#batch.length = 0;
    this.#batchTransactions.length = 0;
    this.#recordAbort();
    if (errno !== 0) this.#listener.checkpointFailed(errno);
    else this.#listener.checkpointed();
  }

  #settleBatch(): void {
    for (let index = 0; index < this.#batch.length; index++) {
      const block = this.#batch[index];
      const { sequence } = this.#batchTransactions[index];
      // Meanwhile a newer copy may have been committed, or the block freed.
      if (block.committedIn !== sequence) continue;
      this.#logged.supersede(block);
      if (block.transaction !== sequence) continue;
      block.transaction = 0;
      this.#cache.release(block);
    }
    if (!this.#movesTail) return;
    this.#tail.copy(this.#newTail);
    this.#freeBlocks += this.#logged.passedBy(this.#tail.sequence);
  }

  #commitEnded(): void {
    if (!this.#commitHasSuperblock) return;
    this.#commitHasSuperblock = false;
    this.#superblockIsBusy = false;
    this.#recordAbort();
  }

  /** Once there is something to record and nobody else writes the superblock. */
  #recordAbort(): void {
    if (this.#abortErrno === 0 || this.#superblockIsBusy) return;
    this.#image.setErrno(this.#abortErrno);
    this.#abortErrno = 0;
    this.#device.run([this.#superblockStep(true)], () => {
      this.#superblockIsBusy = false;
    });
  }
}

/** Going on where the log ended last time wears the device evenly; the kernel does so as well. */
function firstHead({ headBlock, firstBlock, endBlock }: JournalSuperblock): number {
  return headBlock >= firstBlock && headBlock < endBlock ? headBlock : firstBlock;
}

function requireWritable(superblock: JournalSuperblock): void {
  if (superblock.blockType !== JournalBlockType.SUPERBLOCK_V2) {
    throw new IncompatibleError('the journal superblock is of version 1, which is not written');
  }
  if (superblock.endBlock < JOURNAL_MIN_BLOCKS) {
    throw new IncompatibleError(`the journal has ${superblock.endBlock} blocks, ${JOURNAL_MIN_BLOCKS} are needed`);
  }
  if (superblock.startBlock !== 0) throw new IncompatibleError('the journal holds transactions that need recovery');
}
