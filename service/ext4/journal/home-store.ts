import type { DeviceStep, WritableBlockDevice } from '../block-device.ts';
import { BlockRole, type BufferCache, type CachedBlock } from '../buffer-cache.ts';
import { LogBuffer } from './log-buffer.ts';
import type { Transaction } from './transaction.ts';
import { CheckpointOutcome, type StoreOptions, type TransactionStore } from './transaction-store.ts';

/**
 * The order in which a file system without a journal is written. What is pointed at goes before what points at it:
 * bitmaps, descriptors, inodes and mapping first, names after them, the superblock last. A crash leaves lost space or
 * names of freed inodes, both of which e2fsck puts right, but no name and no mapping that leads to garbage: freed
 * blocks and inodes are not used again before the transaction that freed them is completely written.
 */
const Phase = Object.freeze({ POINTED_AT: 0, NAMES: 1, SUPERBLOCK: 2 });

/** File systems without a journal: a transaction goes straight to the places of its blocks. */
export class HomeStore implements TransactionStore {
  readonly maxBlocks: number;
  readonly needsCheckpoint = false;
  readonly logBlocks = 0;
  readonly logBlocksFree = 0;
  readonly pendingBlocks = 0;
  readonly #options: StoreOptions;
  readonly #device: WritableBlockDevice;
  readonly #cache: BufferCache;
  readonly #blockSize: number;
  readonly #buffer: LogBuffer;

  constructor(options: StoreOptions) {
    this.#options = options;
    this.#device = options.device;
    this.#cache = options.cache;
    this.#blockSize = options.cache.blockSize;
    this.#buffer = new LogBuffer(this.#blockSize, options.allocate);
    this.maxBlocks = options.maxTransactionBlocks;
  }

  fits(): boolean {
    return true;
  }

  write(transaction: Transaction): DeviceStep[] {
    const blocks = transaction.blocks.filter((block) => !block.forgotten);
    for (const block of blocks) this.#options.seal(block);
    blocks.sort(byPhaseAndNumber);
    blocks.forEach((block, index) => {
      this.#buffer.slot(index).bytes.set(block.bytes);
    });
    const steps: DeviceStep[] = [{ kind: 'flush' }];
    for (let from = 0; from < blocks.length; ) {
      const end = this.#endOfRun(blocks, from);
      const bytes = this.#buffer.bytes(from, end - from);
      steps.push({ kind: 'write', offsetBytes: blocks[from].blockNr * this.#blockSize, bytes, durable: false });
      if (end === blocks.length || phaseOf(blocks[end]) !== phaseOf(blocks[from])) this.#pushFlush(steps);
      from = end;
    }
    return steps;
  }

  committed(transaction: Transaction): void {
    for (const block of transaction.blocks) {
      if (block.transaction !== transaction.sequence) continue;
      block.transaction = 0;
      if (block.forgotten) this.#cache.drop(block);
      else this.#cache.release(block);
    }
  }

  failed(): void {}

  checkpoint(): number {
    return CheckpointOutcome.NOTHING;
  }

  waitForCheckpoint(): void {}

  /** The last commit has flushed; where it had no barriers, this does. */
  markClean(): number {
    return this.#device.flush();
  }

  abort(): void {}

  #pushFlush(steps: DeviceStep[]): void {
    if (this.#options.barrier) steps.push({ kind: 'flush' });
  }

  #endOfRun(blocks: readonly CachedBlock[], from: number): number {
    const limit = from + this.#buffer.contiguous(from, blocks.length - from);
    let end = from + 1;
    while (end < limit && follows(blocks[end - 1], blocks[end])) end++;
    return end;
  }
}

function phaseOf(block: CachedBlock): number {
  switch (block.role) {
    case BlockRole.DIRECTORY_LEAF:
    case BlockRole.HTREE_NODE:
      return Phase.NAMES;
    case BlockRole.SUPERBLOCK:
      return Phase.SUPERBLOCK;
    default:
      return Phase.POINTED_AT;
  }
}

const byPhaseAndNumber = (a: CachedBlock, b: CachedBlock): number => phaseOf(a) - phaseOf(b) || a.blockNr - b.blockNr;

const follows = (a: CachedBlock, b: CachedBlock): boolean => b.blockNr === a.blockNr + 1 && phaseOf(a) === phaseOf(b);
