import { Errno } from '../../../shared/errno.ts';
import type { JournalStatistics } from '../../../shared/mount-statistics.ts';
import type { DeviceStep, WritableBlockDevice } from '../block-device.ts';
import { FsError } from '../errors.ts';
import type { Handle, HandleGate } from './handle.ts';
import { HomeStore } from './home-store.ts';
import { type LogOptions, LogStore } from './log-store.ts';
import type { Transaction } from './transaction.ts';
import {
  CheckpointOutcome,
  type StoreListener,
  type StoreOptions,
  type TransactionStore,
} from './transaction-store.ts';

/** Most blocks that one handle may change. */
const HANDLE_BLOCKS = 200;
/** What a handle usually changes at most; the running transaction is closed when this doesn't fit any more. */
const USUAL_HANDLE_BLOCKS = 64;
/** Blocks that participants may change when the transaction closes: superblock, descriptors. */
const CLOSING_BLOCKS = 32;
/** Bounds of one transaction: its copy on the way to the log takes memory. */
const MAX_TRANSACTION_BLOCKS = 2048;
const MAX_TRANSACTION_BYTES = 8 * 2 ** 20;
/** Brought home in one go: a few milliseconds of copying. */
const CHECKPOINT_BYTES = 4 * 2 ** 20;
/** Each attempt to make room ends a commit or a checkpoint; when so many were not enough, nothing will be. */
const MAX_ROOM_ATTEMPTS = 16;

export interface JournalOptions extends Omit<StoreOptions, 'maxTransactionBlocks'> {
  readonly handle: Handle;
  /** The device failed: from now on nothing is committed, and nothing may be changed. Called once. */
  readonly onAbort: (errno: number, during: string) => void;
}

type Waiter = (errno: number) => void;

/**
 * Makes changes durable. Owns the running transaction, which handles add to, and at most one that is being
 * committed by threads meanwhile.
 *
 * File data is in order with metadata in every mode: the flush between log and commit block covers what was written
 * before, through the page cache or past it (data=ordered). data=writeback promises less and gets the same.
 *
 * Lifecycle: `withLog` or `withoutLog` on a file system that needs no recovery (see replay.ts); from then on every
 * handle passes the journal's gate. `commit` as often as wanted, `checkpointSome` when there is nothing else to do.
 * `close` at the end; afterwards, or when the journal was aborted, `Handle.begin` throws FsError EROFS.
 * The file system's superblock must say needs_recovery, durably, before the first commit, and until `close` has
 * returned 0; that is the caller's business.
 *
 * All functions must be called while no handle is open.
 */
export class Journal implements HandleGate, StoreListener, JournalStatistics {
  readonly #device: WritableBlockDevice;
  readonly #handle: Handle;
  readonly #onAbort: (errno: number, during: string) => void;
  readonly #store: TransactionStore;
  readonly #checkpointBlocks: number;
  /** Want to know when what is changed now is durable; served by the next round. */
  #waiters: Waiter[] = [];
  /** A round commits the running transaction, or just flushes the device; one at a time. */
  #roundIsActive = false;
  #roundWaiters: Waiter[] = [];
  #roundTransaction: Transaction | null = null;
  #roundProgram = 0;
  #isClosingTransaction = false;
  #isClosed = false;
  #abortErrno = 0;
  #commits = 0;

  static withLog(options: JournalOptions, log: LogOptions): Journal {
    return new Journal(options, (storeOptions, listener) => new LogStore(storeOptions, log, listener));
  }

  /** For file systems without a journal: a commit writes the blocks to their places, in a careful order. */
  static withoutLog(options: JournalOptions): Journal {
    return new Journal(options, (storeOptions) => new HomeStore(storeOptions));
  }

  private constructor(
    options: JournalOptions,
    makeStore: (storeOptions: StoreOptions, listener: StoreListener) => TransactionStore,
  ) {
    const { blockSize } = options.cache;
    this.#device = options.device;
    this.#handle = options.handle;
    this.#onAbort = options.onAbort;
    this.#checkpointBlocks = Math.max(1, Math.floor(CHECKPOINT_BYTES / blockSize));
    const byMemory = Math.min(MAX_TRANSACTION_BLOCKS, Math.floor(MAX_TRANSACTION_BYTES / blockSize));
    // The cache keeps the blocks of the running transaction, too, beside those that wait for being brought home.
    const bound = Math.min(byMemory, options.heldBlocksLimit);
    const maxTransactionBlocks = Math.max(USUAL_HANDLE_BLOCKS + CLOSING_BLOCKS, bound);
    this.#store = makeStore({ ...options, maxTransactionBlocks }, this);
    options.handle.guardWith(this);
  }

  get isAborted(): boolean {
    return this.#abortErrno !== 0;
  }

  get abortErrno(): number {
    return this.#abortErrno;
  }

  /** Transactions committed. */
  get commits(): number {
    return this.#commits;
  }

  get runningBlocks(): number {
    return this.#handle.running.blocks.length;
  }

  get pendingBlocks(): number {
    return this.#store.pendingBlocks;
  }

  get logBlocks(): number {
    return this.#store.logBlocks;
  }

  get logBlocksFree(): number {
    return this.#store.logBlocksFree;
  }

  /** Is there anything that the next commit would write? */
  get hasChanges(): boolean {
    return !this.#handle.running.isEmpty;
  }

  /**
   * Makes everything durable that was changed or written until now, then calls `done` with 0 or a positive errno,
   * perhaps before it returns. What arrives while a commit is under way is served by one more commit.
   */
  commit(done: (errno: number) => void): void {
    this.#requireNoHandle();
    if (this.isAborted) {
      done(Errno.EIO);
      return;
    }
    this.#waiters.push(done);
    if (!this.#roundIsActive) this.#startRound();
  }

  /** The same, and blocks until it is done. Returns 0 or a positive errno. */
  commitNow(): number {
    let result = -1;
    this.commit((errno) => {
      result = errno;
    });
    while (result === -1) this.#waitForRound();
    return result;
  }

  /** Brings some committed blocks home in the background; for idle times. */
  checkpointSome(): void {
    this.#requireNoHandle();
    if (!this.isAborted) this.#store.checkpoint(this.#checkpointBlocks);
  }

  /**
   * Commits, brings everything home and marks the journal as empty, blocking. Changes may go on afterwards. Returns 0
   * or a positive errno.
   */
  flush(): number {
    let errno = this.#bringAllHome();
    // Participants may have made changes when they were told about the commit.
    for (let attempt = 0; errno === 0 && this.hasChanges && attempt < MAX_ROOM_ATTEMPTS; attempt++) {
      errno = this.#bringAllHome();
    }
    if (errno !== 0) return errno;
    errno = this.#store.markClean();
    if (errno !== 0) this.abort(errno, 'marking the journal clean');
    return errno;
  }

  /** `flush`, and no changes any more. */
  close(): number {
    this.#requireNoHandle();
    const errno = this.isAborted ? Errno.EIO : this.flush();
    this.#isClosed = true;
    while (this.#roundIsActive) this.#waitForRound();
    this.#store.waitForCheckpoint();
    return errno;
  }

  /** Nothing is committed any more: what the device holds now, log included, is what remains. */
  abort(errno: number, during: string): void {
    if (this.isAborted) return;
    this.#abortErrno = errno;
    this.#store.abort(errno);
    this.#onAbort(errno, during);
    if (!this.#roundIsActive) this.#refuseWaiters();
  }

  beforeHandle(): number {
    if (this.#isClosingTransaction) return Number.POSITIVE_INFINITY;
    this.#requireWritable();
    const { blocks, revoked } = this.#handle.running;
    const isFull = blocks.length + USUAL_HANDLE_BLOCKS > this.#store.maxBlocks && blocks.length > 0;
    if (isFull || !this.#hasRoom()) this.#makeRoom(isFull);
    else if (!this.#roundIsActive && (blocks.length + revoked.length) * 2 > this.#store.maxBlocks) this.#startRound();
    return HANDLE_BLOCKS;
  }

  checkpointed(): void {
    this.#relieve();
  }

  checkpointFailed(errno: number): void {
    this.abort(errno, 'writing blocks to their places');
  }

  #bringAllHome(): number {
    const errno = this.commitNow();
    if (errno !== 0) return errno;
    for (;;) {
      this.#waitForRound();
      this.#store.waitForCheckpoint();
      if (this.isAborted) return Errno.EIO;
      if (this.#store.checkpoint(Number.MAX_SAFE_INTEGER) === CheckpointOutcome.NOTHING) return 0;
    }
  }

  #requireNoHandle(): void {
    if (this.#handle.isOpen) throw new Error('a handle is open');
  }

  #requireWritable(): void {
    if (this.isAborted) throw new FsError(Errno.EROFS, 'the journal was aborted');
    if (this.#isClosed) throw new FsError(Errno.EROFS, 'the journal is closed');
  }

  /** Would the running transaction fit into the log if the largest possible handle joined it? */
  #hasRoom(): boolean {
    const { blocks, revoked } = this.#handle.running;
    const more = HANDLE_BLOCKS + CLOSING_BLOCKS;
    return this.#store.fits(blocks.length + more, revoked.length + more);
  }

  /** Blocks no longer than it takes: a commit under way has to end before the next one can begin. */
  #makeRoom(isFull: boolean): void {
    if (isFull) {
      this.#waitForRound();
      if (!this.#roundIsActive && !this.isAborted) this.#startRound();
    }
    for (let attempt = 0; !this.isAborted && !this.#hasRoom(); attempt++) {
      if (attempt === MAX_ROOM_ATTEMPTS) {
        this.abort(Errno.ENOSPC, 'making room in the log');
        break;
      }
      this.#waitForRound();
      this.#store.waitForCheckpoint();
      if (this.isAborted || this.#hasRoom()) continue;
      const outcome = this.#store.checkpoint(Number.MAX_SAFE_INTEGER);
      // What is left has been changed again, and its log space is free once that is committed.
      if (outcome === CheckpointOutcome.NOTHING && !this.#roundIsActive) this.#startRound();
    }
    this.#requireWritable();
  }

  #waitForRound(): void {
    if (this.#roundIsActive) this.#device.wait(this.#roundProgram);
  }

  #startRound(): void {
    this.#roundIsActive = true;
    this.#roundWaiters = this.#waiters;
    this.#waiters = [];
    const steps = this.#closeTransaction();
    if (steps === null) {
      this.#roundIsActive = false;
      this.#refuseWaiters();
      return;
    }
    const program = this.#device.run(steps, (errno) => this.#roundEnded(errno));
    if (this.#roundIsActive) this.#roundProgram = program;
  }

  /** Closes the running transaction; the steps that commit it. Null when that was impossible. */
  #closeTransaction(): DeviceStep[] | null {
    if (this.#handle.running.isEmpty) return [{ kind: 'flush' }];
    try {
      this.#letParticipantsFinish();
      const transaction = this.#handle.closeTransaction();
      if (!this.#store.fits(transaction.blocks.length, transaction.revoked.length)) {
        this.abort(Errno.ENOSPC, 'committing a transaction that is larger than the log');
        return null;
      }
      this.#roundTransaction = transaction;
      return this.#store.write(transaction);
    } catch (error) {
      this.abort(Errno.EIO, `closing a transaction: ${error instanceof Error ? error.message : String(error)}`);
      return null;
    }
  }

  /** What participants keep in memory goes into the transaction as one more handle. */
  #letParticipantsFinish(): void {
    this.#isClosingTransaction = true;
    this.#handle.begin();
    try {
      for (const participant of this.#handle.participants) participant.transactionClosing?.();
      this.#handle.end();
    } catch (error) {
      this.#handle.cancel();
      throw error;
    } finally {
      this.#isClosingTransaction = false;
    }
  }

  #roundEnded(errno: number): void {
    const transaction = this.#roundTransaction;
    const waiters = this.#roundWaiters;
    // Whoever is called from here on may begin handles, and with them the next round.
    this.#roundIsActive = false;
    this.#roundTransaction = null;
    this.#roundWaiters = [];
    if (errno !== 0) {
      if (transaction !== null) this.#store.failed();
      this.abort(errno, transaction === null ? 'flushing the device' : 'committing a transaction');
    } else if (transaction !== null) {
      this.#commits++;
      this.#store.committed(transaction);
      for (const participant of this.#handle.participants) participant.transactionCommitted?.(transaction.sequence);
    }
    for (const waiter of waiters) waiter(errno === 0 ? 0 : Errno.EIO);
    if (this.#roundIsActive) return;
    if (this.isAborted) this.#refuseWaiters();
    else if (this.#waiters.length > 0) this.#startRound();
    this.#relieve();
  }

  #refuseWaiters(): void {
    const waiters = [...this.#roundWaiters, ...this.#waiters];
    this.#roundWaiters = [];
    this.#waiters = [];
    for (const waiter of waiters) waiter(Errno.EIO);
  }

  /** Space runs short: brings blocks home. Those that were changed again have to be committed before. */
  #relieve(): void {
    if (this.isAborted || !this.#store.needsCheckpoint) return;
    const outcome = this.#store.checkpoint(this.#checkpointBlocks);
    if (outcome !== CheckpointOutcome.NOTHING || this.#roundIsActive) return;
    if (this.hasChanges && !this.#handle.isOpen) this.#startRound();
  }
}
