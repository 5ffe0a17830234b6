import type { CachedBlock } from '../buffer-cache.ts';

/** A transaction in the log, from its writing on until the log's tail has passed it. */
export class LoggedTransaction {
  readonly sequence: number;
  /** Number in the log. */
  readonly logSequence: number;
  readonly startBlock: number;
  readonly logBlocks: number;
  /** Its blocks; some may have newer copies in later transactions, or be home. */
  blocks: CachedBlock[];
  /** Blocks whose newest committed copy is this one and not home. */
  pending = 0;
  /** How many of those the checkpoint under way takes home. */
  underWay = 0;

  constructor(sequence: number, logSequence: number, startBlock: number, logBlocks: number, blocks: CachedBlock[]) {
    this.sequence = sequence;
    this.logSequence = logSequence;
    this.startBlock = startBlock;
    this.logBlocks = logBlocks;
    this.blocks = blocks;
  }
}

/** The log's beginning: the oldest transaction that a replay would need. */
export class LogTail {
  sequence = 0;
  logSequence = 0;
  block = 0;

  set(sequence: number, logSequence: number, block: number): void {
    this.sequence = sequence;
    this.logSequence = logSequence;
    this.block = block;
  }

  copy(from: LogTail): void {
    this.set(from.sequence, from.logSequence, from.block);
  }
}

/**
 * The committed transactions in the log, oldest first, and which of them holds the newest committed copy of each block
 * (`CachedBlock.committedIn`). A transaction is needed as long as it holds one that isn't home.
 */
export class LoggedTransactions {
  /** Their sequence numbers follow each other without gaps. */
  readonly #transactions: LoggedTransaction[] = [];
  #pendingBlocks = 0;

  /** Blocks that aren't home, each counted once. */
  get pendingBlocks(): number {
    return this.#pendingBlocks;
  }

  add(logged: LoggedTransaction): void {
    this.#transactions.push(logged);
    for (const block of logged.blocks) {
      this.supersede(block);
      block.committedIn = logged.sequence;
    }
    logged.pending = logged.blocks.length;
    this.#pendingBlocks += logged.pending;
  }

  /** The block's copies in committed transactions are needed no more. */
  supersede(block: CachedBlock): void {
    if (block.committedIn === 0) return;
    this.#transactions[block.committedIn - this.#transactions[0].sequence].pending--;
    this.#pendingBlocks--;
    block.committedIn = 0;
  }

  /** Adds blocks that may go home, with their transactions, up to `maxBlocks`: those that nobody has changed since. */
  collect(maxBlocks: number, blocks: CachedBlock[], owners: LoggedTransaction[]): void {
    for (const transaction of this.#transactions) {
      if (blocks.length >= maxBlocks) return;
      if (transaction.pending === 0) continue;
      transaction.blocks = transaction.blocks.filter((block) => block.committedIn === transaction.sequence);
      for (const block of transaction.blocks) {
        if (block.transaction !== transaction.sequence || blocks.length >= maxBlocks) continue;
        blocks.push(block);
        owners.push(transaction);
        transaction.underWay++;
      }
    }
  }

  /** The oldest transaction that is still needed once the checkpoint under way has ended. */
  firstNeeded(): LoggedTransaction | null {
    return this.#transactions.find(({ pending, underWay }) => pending > underWay) ?? null;
  }

  /** The log begins with transaction `sequence` now; returns how many of its blocks are free by that. */
  passedBy(sequence: number): number {
    let freed = 0;
    while (this.#transactions.length > 0 && this.#transactions[0].sequence < sequence) {
      freed += this.#transactions[0].logBlocks;
      this.#transactions.shift();
    }
    return freed;
  }
}
