import type { DeviceStep, WritableBlockDevice } from '../block-device.ts';
import type { BufferCache, CachedBlock } from '../buffer-cache.ts';
import type { Transaction } from './transaction.ts';

/** What both kinds of store need. */
export interface StoreOptions {
  readonly device: WritableBlockDevice;
  readonly cache: BufferCache;
  /** Makes a changed block's checksum before its content is copied (see `sealBlock`). */
  readonly seal: (block: CachedBlock) => void;
  /** Memory aligned as direct I/O wants it. */
  readonly allocate: (bytes: number) => Uint8Array;
  /**
   * False: the device's cache survives a power cut (mount option barrier=0). Commit blocks need not be durable in it
   * then, but data in the page cache has to get there before them all the same, for which there is only the flush.
   */
  readonly barrier: boolean;
  /** Blocks that wait in the cache for being brought home, above which that begins. */
  readonly heldBlocksLimit: number;
  /** Upper bound of the blocks of one transaction, for the memory that its copy takes. */
  readonly maxTransactionBlocks: number;
}

/** What an attempt to bring blocks home came to. */
export const CheckpointOutcome = Object.freeze({
  STARTED: 0,
  /** One is under way already. */
  BUSY: 1,
  /** What isn't home yet has been changed again and must be committed first, or there is nothing at all. */
  NOTHING: 2,
});

/** Where closed transactions go: to a log first, or straight to the places of their blocks. */
export interface TransactionStore {
  /** A running transaction of more blocks than this is closed. */
  readonly maxBlocks: number;
  /** Size of the log and how much of it is free, in blocks; 0 without a log. */
  readonly logBlocks: number;
  readonly logBlocksFree: number;
  /** Committed blocks that are not at their places yet. */
  readonly pendingBlocks: number;
  /** Would a transaction with so many blocks and revoked blocks fit, beside the one that is being written? */
  fits(blocks: number, revokes: number): boolean;
  /**
   * Copies the content of a closed transaction; returns the steps that write it. Their memory is used again by the
   * next call.
   */
  write(transaction: Transaction): DeviceStep[];
  /** The steps have succeeded: the transaction is durable. */
  committed(transaction: Transaction): void;
  /** A step has failed; how much of the transaction is on the device is unknown. `abort` follows. */
  failed(): void;
  /** Should blocks be brought home now, because space in log or memory runs short? */
  readonly needsCheckpoint: boolean;
  /** Begins to bring home up to `maxBlocks` committed blocks, oldest first, and gives their space in the log back. */
  checkpoint(maxBlocks: number): number;
  /** Blocks until no checkpoint is under way. */
  waitForCheckpoint(): void;
  /** Everything is committed and home: says so on the device. Returns 0 or a positive errno. */
  markClean(): number;
  /** Records on the device that the journal was aborted, if possible. Nothing else is written any more. */
  abort(errno: number): void;
}

/** How a store reports what happens in its own time. */
export interface StoreListener {
  /** A checkpoint has ended; space in log and memory may be free. */
  checkpointed(): void;
  checkpointFailed(errno: number): void;
}
