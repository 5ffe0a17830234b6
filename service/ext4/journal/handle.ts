import { Errno } from '../../../shared/errno.ts';
import type { BufferCache, CachedBlock } from '../buffer-cache.ts';
import { FsError } from '../errors.ts';
import { Transaction } from './transaction.ts';

/** Somebody who derives state in memory from blocks and must follow when handles and transactions end. */
export interface JournalParticipant {
  /** The handle is about to end: what is still only in memory must go into blocks now. */
  handleEnding?(): void;
  /** The handle has ended: its changes stay. */
  handleEnded?(): void;
  /** The handle was cancelled; all blocks have their old content again. What followed from the new is void. */
  handleCancelled?(): void;
  /** The transaction is about to be closed and will take no more changes than those made here. */
  transactionClosing?(): void;
  /** The transaction is on stable storage. */
  transactionCommitted?(sequence: number): void;
}

/** Who makes sure, before a handle begins, that its changes will have room in the running transaction. */
export interface HandleGate {
  /**
   * May close the running transaction. Returns how many blocks the handle may change or forget. Throws FsError when
   * nothing may be changed any more.
   */
  beforeHandle(): number;
}

/** What a block was like before the handle changed it. */
class BlockImage {
  block: CachedBlock;
  readonly bytes: Uint8Array;
  checked = 0;
  extentOwner = 0;
  role = 0;
  owner = 0;
  ownerGeneration = 0;
  transaction = 0;
  forgotten = false;
  /** The block came into the cache with this handle; there is nothing to go back to. */
  isNew = false;

  constructor(block: CachedBlock) {
    this.block = block;
    this.bytes = new Uint8Array(block.bytes.length);
  }

  take(block: CachedBlock, isNew: boolean): void {
    this.block = block;
    this.isNew = isNew;
    if (!isNew) this.bytes.set(block.bytes);
    this.checked = block.checked;
    this.extentOwner = block.extentOwner;
    this.role = block.role;
    this.owner = block.owner;
    this.ownerGeneration = block.ownerGeneration;
    this.transaction = block.transaction;
    this.forgotten = block.forgotten;
  }

  restore(): void {
    const { block } = this;
    block.bytes.set(this.bytes);
    block.checked = this.checked;
    block.extentOwner = this.extentOwner;
    block.role = this.role;
    block.owner = this.owner;
    block.ownerGeneration = this.ownerGeneration;
    block.transaction = this.transaction;
    block.forgotten = this.forgotten;
  }
}

/**
 * One atomic change of the file system. As one thread does everything, there is one handle at a time: `begin`,
 * changes, then `end` or `cancel`. `cancel` gives every block its old content back, so that an operation may
 * fail at any point.
 *
 * Every changed block joins the running transaction, which is somebody else's to commit.
 */
export class Handle {
  readonly #cache: BufferCache;
  readonly #participants: JournalParticipant[] = [];
  readonly #images: BlockImage[] = [];
  #imagesUsed = 0;
  /** Blocks forgotten that were not in the cache: they cost nothing but their revoke records. */
  #forgottenUnseen = 0;
  #gate: HandleGate | null = null;
  #maxBlocks = Number.POSITIVE_INFINITY;
  #number = 0;
  #isOpen = false;
  #running: Transaction;
  /** Lengths of the transaction's lists when the handle began. */
  #blocksBefore = 0;
  #revokedBefore = 0;

  constructor(cache: BufferCache) {
    this.#cache = cache;
    this.#running = new Transaction(1);
  }

  get running(): Transaction {
    return this.#running;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Blocks that the open handle has changed or forgotten so far. */
  get changedBlocks(): number {
    return this.#imagesUsed + this.#forgottenUnseen;
  }

  addParticipant(participant: JournalParticipant): void {
    this.#participants.push(participant);
  }

  get participants(): readonly JournalParticipant[] {
    return this.#participants;
  }

  guardWith(gate: HandleGate): void {
    this.#gate = gate;
  }

  begin(): void {
    if (this.#isOpen) throw new Error('a handle is open already');
    if (this.#gate !== null) this.#maxBlocks = this.#gate.beforeHandle();
    this.#isOpen = true;
    this.#number++;
    this.#imagesUsed = 0;
    this.#forgottenUnseen = 0;
    this.#blocksBefore = this.#running.blocks.length;
    this.#revokedBefore = this.#running.revoked.length;
  }

  /** Must precede every change of a cached block's bytes. */
  modify(block: CachedBlock): void {
    if (block.handle === this.#number && this.#isOpen) return;
    this.#keepImage(block, false);
    this.#join(block);
  }

  /** A block that was just allocated, all zeros, ready for changes. */
  fresh(blockNr: number): CachedBlock {
    const cached = this.#cache.peek(blockNr);
    if (cached !== null) this.modify(cached);
    const block = this.#cache.fresh(blockNr);
    if (cached === null) {
      this.#keepImage(block, true);
      this.#join(block);
    }
    block.forgotten = false;
    return block;
  }

  /** A metadata block is being freed: its content, here and in the log, must never reach its place again. */
  forget(blockNr: number): void {
    const block = this.#cache.peek(blockNr);
    if (block !== null) {
      this.modify(block);
      block.forgotten = true;
    } else {
      this.#requireRoom();
      this.#forgottenUnseen++;
    }
    this.#running.revoked.push(blockNr);
  }

  /** The single place where a change becomes part of the file system. */
  end(): void {
    this.#requireOpen();
    for (const participant of this.#participants) participant.handleEnding?.();
    this.#isOpen = false;
    for (const participant of this.#participants) participant.handleEnded?.();
  }

  cancel(): void {
    this.#requireOpen();
    this.#isOpen = false;
    for (let index = this.#imagesUsed - 1; index >= 0; index--) this.#undo(this.#images[index]);
    this.#running.blocks.length = this.#blocksBefore;
    this.#running.revoked.length = this.#revokedBefore;
    for (const participant of this.#participants) participant.handleCancelled?.();
  }

  /** Ends the running transaction and begins the next. */
  closeTransaction(): Transaction {
    if (this.#isOpen) throw new Error('a handle is open');
    const closed = this.#running;
    this.#running = new Transaction(closed.sequence + 1);
    return closed;
  }

  #keepImage(block: CachedBlock, isNew: boolean): void {
    this.#requireRoom();
    let image = this.#images[this.#imagesUsed];
    if (image === undefined) {
      image = new BlockImage(block);
      this.#images.push(image);
    }
    image.take(block, isNew);
    block.handle = this.#number;
    this.#imagesUsed++;
  }

  #join(block: CachedBlock): void {
    if (block.transaction === this.#running.sequence) return;
    block.transaction = this.#running.sequence;
    this.#running.blocks.push(block);
    this.#cache.hold(block);
  }

  #undo(image: BlockImage): void {
    const { block } = image;
    if (image.isNew) {
      block.transaction = 0;
      this.#cache.drop(block);
      return;
    }
    image.restore();
    if (block.transaction === 0) this.#cache.release(block);
  }

  /** One operation too many for the log must fail alone, not take the journal with it. */
  #requireRoom(): void {
    this.#requireOpen();
    if (this.changedBlocks < this.#maxBlocks) return;
    throw new FsError(Errno.ENOSPC, `a change of more than ${this.#maxBlocks} blocks at once`);
  }

  #requireOpen(): void {
    if (!this.#isOpen) throw new FsError(Errno.EROFS, 'metadata may only be changed within a handle');
  }
}
