import { viewOf } from '../../shared/bytes.ts';
import type { BlockDevice } from './block-device.ts';
import { DeviceError } from './errors.ts';

/** One cached metadata block. `checked` is a bit set of the verifications it has passed (see `BlockCheck`). */
export class CachedBlock {
  blockNr = 0;
  checked = 0;
  /** The inode for which the block was verified as an extent node: the checksum belongs to one inode. */
  extentOwner = 0;
  /** How the block is to be sealed with its checksum before it is written (see `BlockRole`). */
  role: number = BlockRole.PLAIN;
  /** For sealing: the inode that the block belongs to, or the group of a bitmap. */
  owner = 0;
  /** For sealing: the generation of the inode `owner`. */
  ownerGeneration = 0;
  /** Newest transaction that has changed the block and is not checkpointed; 0 when the device's copy is current. */
  transaction = 0;
  /** Newest committed transaction that has a copy of the block in the log, until the block is checkpointed; else 0. */
  committedIn = 0;
  /** The block was freed by `transaction`: its content is of no use once that has committed. */
  forgotten = false;
  /** The handle that has last kept the block's content for undoing. */
  handle = 0;
  lastOperation = 0;
  /** Out of the order of use: the cache must not give it up. */
  held = false;
  older: CachedBlock | null = null;
  newer: CachedBlock | null = null;
  readonly bytes: Uint8Array;
  readonly view: DataView;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = viewOf(bytes);
  }
}

/** Which structure a cached block has been verified as. A block used in two roles is verified for each. */
export const BlockCheck = Object.freeze({
  EXTENT_NODE: 1,
  DIRECTORY_LEAF: 2,
  HTREE_NODE: 4,
  XATTR_BLOCK: 8,
  BLOCK_BITMAP: 16,
  GROUP_DESCRIPTORS: 32,
  /** Not a verification: the block's names are as they were when a listing sorted them. */
  SORTED_NAMES: 64,
  INODE_BITMAP: 128,
  ORPHAN_BLOCK: 256,
});

/**
 * What kind of structure a changed block holds, which decides about its checksum. Set by whoever changes it,
 * with `owner`.
 */
export const BlockRole = Object.freeze({
  /** No checksum of its own: inode tables (each inode has one), indirect blocks, symlinks. */
  PLAIN: 0,
  EXTENT_NODE: 1,
  DIRECTORY_LEAF: 2,
  HTREE_NODE: 3,
  XATTR_BLOCK: 4,
  BLOCK_BITMAP: 5,
  INODE_BITMAP: 6,
  GROUP_DESCRIPTORS: 7,
  SUPERBLOCK: 8,
  ORPHAN_BLOCK: 9,
});

/** Replaces the home location of a block by its newest copy in the journal (in-memory recovery). */
export interface BlockRedirect {
  /**
   * Reads the newest copy of `blockNr` into `into` and returns true, or returns false when the home location
   * is current.
   */
  readNewest(blockNr: number, into: Uint8Array): boolean;
}

const MIN_BLOCKS = 16;
/** A cache that has shrunk again and again keeps this part of its budget. */
const SHRUNK_SHARE = 8;

/**
 * Least-recently-used cache of metadata blocks with a byte budget.
 *
 * A block that the current operation has touched is never reused before the operation ends, so
 * callers may hold any number of blocks within one operation; the cache exceeds its budget instead
 * and shrinks back later. `beginOperation` marks the boundary.
 */
export class BufferCache {
  readonly blockSize: number;
  readonly #device: BlockDevice;
  readonly #budgetBlocks: number;
  #capacityBlocks: number;
  readonly #blocks = new Map<number, CachedBlock>();
  #redirect: BlockRedirect | null = null;
  #oldest: CachedBlock | null = null;
  #newest: CachedBlock | null = null;
  #operation = 1;
  hits = 0;
  misses = 0;
  /** How often `shrink` was called. */
  shrinkings = 0;

  /** `budgetBytes` is rounded down to whole blocks, with a floor of MIN_BLOCKS. */
  constructor(device: BlockDevice, blockSize: number, budgetBytes: number) {
    this.#device = device;
    this.blockSize = blockSize;
    this.#budgetBlocks = Math.max(MIN_BLOCKS, Math.floor(budgetBytes / blockSize));
    this.#capacityBlocks = this.#budgetBlocks;
  }

  /** The present budget, in blocks. */
  get capacityBlocks(): number {
    return this.#capacityBlocks;
  }

  get sizeBlocks(): number {
    return this.#blocks.size;
  }

  /** Memory is short: halves the budget, down to a share of what it was at first. Between operations only. */
  shrink(): void {
    const least = Math.max(MIN_BLOCKS, Math.floor(this.#budgetBlocks / SHRUNK_SHARE));
    this.#capacityBlocks = Math.max(least, Math.floor(this.#capacityBlocks / 2));
    this.shrinkings++;
    this.beginOperation();
  }

  /** Takes a quarter more again; true when the budget is what it was at first. */
  grow(): boolean {
    this.#capacityBlocks = Math.min(this.#budgetBlocks, Math.ceil((this.#capacityBlocks * 5) / 4));
    return this.#capacityBlocks === this.#budgetBlocks;
  }

  /** From now on blocks come from the journal where it holds a newer copy. Forgets everything cached. */
  redirectThrough(redirect: BlockRedirect): void {
    this.#redirect = redirect;
    this.#blocks.clear();
    this.#oldest = null;
    this.#newest = null;
  }

  beginOperation(): void {
    this.#operation++;
    while (this.#blocks.size > this.#capacityBlocks && this.#oldest !== null) this.#forget(this.#oldest);
  }

  /** The block's current content. Throws DeviceError when it can't be read. */
  get(blockNr: number): CachedBlock {
    const cached = this.#blocks.get(blockNr);
    if (cached !== undefined) {
      this.hits++;
      this.#touch(cached);
      return cached;
    }
    this.misses++;
    return this.#load(blockNr);
  }

  /** The block if it is in the cache, else null; it counts as touched. */
  peek(blockNr: number): CachedBlock | null {
    const cached = this.#blocks.get(blockNr);
    if (cached === undefined) return null;
    this.#touch(cached);
    return cached;
  }

  /** The block filled with zeros, whatever it held: for blocks that were just allocated. Nothing is read. */
  fresh(blockNr: number): CachedBlock {
    const cached = this.#blocks.get(blockNr);
    if (cached !== undefined) {
      this.#touch(cached);
      resetBlock(cached, blockNr);
      cached.bytes.fill(0);
      return cached;
    }
    const block = this.#vacantBlock();
    block.bytes.fill(0);
    this.#insert(blockNr, block);
    return block;
  }

  /** Keeps the block in the cache until `release`: it differs from the device's copy. */
  hold(block: CachedBlock): void {
    if (block.held) return;
    block.held = true;
    this.#unlink(block);
  }

  release(block: CachedBlock): void {
    if (!block.held) return;
    block.held = false;
    this.#linkNewest(block);
  }

  /** Removes the block, held or not: its content is of no use any more. */
  drop(block: CachedBlock): void {
    if (this.#blocks.get(block.blockNr) !== block) return;
    this.release(block);
    this.#forget(block);
  }

  /** Tells the device that `count` blocks from `blockNr` on will be wanted. */
  readAhead(blockNr: number, count: number): void {
    this.#device.readAhead(blockNr * this.blockSize, count * this.blockSize);
  }

  has(blockNr: number): boolean {
    return this.#blocks.has(blockNr);
  }

  #load(blockNr: number): CachedBlock {
    const block = this.#vacantBlock();
    if (this.#redirect === null || !this.#redirect.readNewest(blockNr, block.bytes)) this.#readHome(blockNr, block);
    this.#insert(blockNr, block);
    return block;
  }

  #insert(blockNr: number, block: CachedBlock): void {
    resetBlock(block, blockNr);
    block.lastOperation = this.#operation;
    this.#blocks.set(blockNr, block);
    this.#linkNewest(block);
  }

  #readHome(blockNr: number, block: CachedBlock): void {
    const offsetBytes = blockNr * this.blockSize;
    const errno = this.#device.read(offsetBytes, block.bytes);
    if (errno !== 0) throw new DeviceError(errno, 'read', offsetBytes, this.blockSize);
  }

  #vacantBlock(): CachedBlock {
    const victim = this.#oldest;
    if (victim === null || this.#blocks.size < this.#capacityBlocks || victim.lastOperation === this.#operation) {
      return new CachedBlock(new Uint8Array(this.blockSize));
    }
    this.#forget(victim);
    return victim;
  }

  #touch(block: CachedBlock): void {
    block.lastOperation = this.#operation;
    if (block.held || block === this.#newest) return;
    this.#unlink(block);
    this.#linkNewest(block);
  }

  #forget(block: CachedBlock): void {
    this.#blocks.delete(block.blockNr);
    this.#unlink(block);
  }

  #unlink(block: CachedBlock): void {
    if (block.older === null) this.#oldest = block.newer;
    else block.older.newer = block.newer;
    if (block.newer === null) this.#newest = block.older;
    else block.newer.older = block.older;
    block.older = null;
    block.newer = null;
  }

  #linkNewest(block: CachedBlock): void {
    block.older = this.#newest;
    block.newer = null;
    if (this.#newest === null) this.#oldest = block;
    else this.#newest.newer = block;
    this.#newest = block;
  }
}

/** `transaction`, `committedIn`, `forgotten` and `held` are the journal's business. */
function resetBlock(block: CachedBlock, blockNr: number): void {
  block.blockNr = blockNr;
  block.checked = 0;
  block.extentOwner = 0;
  block.role = BlockRole.PLAIN;
  block.owner = 0;
  block.ownerGeneration = 0;
}
