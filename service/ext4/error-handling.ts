import { viewOf } from '../../shared/bytes.ts';
import { sealBlock } from './block-seal.ts';
import { BlockRole, CachedBlock } from './buffer-cache.ts';
import { copyErrorRecord, type ErrorOccurrence, occurrenceOf, recordError } from './error-record.ts';
import { atomically } from './journal/atomically.ts';
import type { Journal } from './journal/journal.ts';
import { modifySuperblock } from './superblock-write.ts';
import type { WriteContext } from './write-context.ts';

/** What happens when broken metadata or a failing device is met, as s_errors numbers it (mount option errors=). */
export const ErrorBehaviour = Object.freeze({ CONTINUE: 1, REMOUNT_READ_ONLY: 2, PANIC: 3 });

export interface ErrorHandlingOptions {
  /** One of `ErrorBehaviour`. */
  readonly behaviour: number;
  /** Ends the process; nothing more is written. */
  readonly panic: () => void;
  readonly log: (text: string) => void;
}

/** A damaged image can go on producing errors: the superblock is written for one in so many seconds. */
const SECONDS_BETWEEN_RECORDS = 1;

/** Keeps the record of errors in the superblock, and does what errors= says. */
export class ErrorHandling {
  readonly #ctx: WriteContext;
  readonly #journal: Journal;
  readonly #options: ErrorHandlingOptions;
  readonly #pending: ErrorOccurrence[] = [];
  #lastRecordSec = Number.NEGATIVE_INFINITY;

  constructor(ctx: WriteContext, journal: Journal, options: ErrorHandlingOptions) {
    this.#ctx = ctx;
    this.#journal = journal;
    this.#options = options;
  }

  /** Something failed; refusals mean nothing. May be called while a handle is open: `settle` does the rest. */
  note(error: unknown): void {
    const occurrence = occurrenceOf(error, this.#ctx.now.sec);
    if (occurrence !== null && this.#pending.length === 0) this.#pending.push(occurrence);
  }

  /** Deals with what was noted. No handle is open. */
  settle(): void {
    const occurrence = this.#pending.pop();
    if (occurrence === undefined) return;
    const isDue = occurrence.nowSec - this.#lastRecordSec >= SECONDS_BETWEEN_RECORDS;
    if (isDue) this.#record(occurrence);
    if (this.#options.behaviour === ErrorBehaviour.PANIC) {
      this.#options.log('aborting filesystem mount due to errors');
      this.#options.panic();
    } else if (this.#options.behaviour === ErrorBehaviour.REMOUNT_READ_ONLY) {
      this.#becomeReadOnly(occurrence.errno);
    }
  }

  /** At once and past the journal, which may never get to write again; the copy in the cache follows. */
  #record(occurrence: ErrorOccurrence): void {
    this.#lastRecordSec = occurrence.nowSec;
    const { device, blockSize, superblockAt } = this.#ctx;
    const { blockNr } = this.#ctx.superblockBlock();
    const home = new CachedBlock(new Uint8Array(blockSize));
    home.blockNr = blockNr;
    home.role = BlockRole.SUPERBLOCK;
    if (device.read(blockNr * blockSize, home.bytes) !== 0) return;
    const record = { bytes: home.bytes, view: viewOf(home.bytes), at: superblockAt };
    recordError(record, occurrence);
    sealBlock(this.#ctx, { seal: () => {} }, home);
    device.write(blockNr * blockSize, home.bytes);
    if (this.#journal.isAborted) return;
    atomically(this.#ctx.handle, () => {
      const { bytes, view } = modifySuperblock(this.#ctx);
      copyErrorRecord(record, { bytes, view, at: superblockAt });
    });
  }

  /** What was done before the error is sound, and is kept. */
  #becomeReadOnly(errno: number): void {
    if (this.#journal.isAborted) return;
    this.#options.log('remounting read-only due to errors');
    this.#journal.commitNow();
    this.#journal.abort(errno, 'errors=remount-ro');
  }
}
