/** The walk over a directory's hash index: down to the leaf of a hash, and on from leaf to leaf. */
import { CachedBlock } from './buffer-cache.ts';
import type { Ext4Context } from './context.ts';
import { directoryBlock, directoryBlocks } from './directory-block.ts';
import { effectiveHashVersion } from './dirhash.ts';
import { CorruptionError } from './errors.ts';
import { indexNode, indexRoot } from './htree-node.ts';
import type { Inode } from './inode.ts';
import { DX_NODE, DX_ROOT, dxBlock, dxCount, dxHash, dxHashVersion, dxIndirectLevels } from './layout/htree.ts';

/** Root and two more levels (large_dir). */
const MAX_LEVELS = 3;

/** Leaves that one request visits, at most: a few seconds' work when all of them are empty. */
const MAX_LEAVES = 2 ** 22;

/** Above every hash: where the last leaf ends. */
export const HASH_END = 2 ** 32;

const NO_BLOCK = new CachedBlock(new Uint8Array(0));

/** One index block on the way down, and the entry taken in it. Reused, so that a walk allocates nothing. */
export class IndexFrame {
  lblk = 0;
  block: CachedBlock = NO_BLOCK;
  view: DataView = NO_BLOCK.view;
  entriesAt = 0;
  count = 0;
  index = 0;

  enter(lblk: number, block: CachedBlock, entriesAt: number): void {
    this.lblk = lblk;
    this.block = block;
    this.view = block.view;
    this.entriesAt = entriesAt;
    this.count = dxCount(block.view, entriesAt);
    this.index = 0;
  }

  /** Takes the last entry whose hash is at most `hash`. */
  seek(hash: number): void {
    let low = 1;
    let high = this.count - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      if (dxHash(this.view, this.entriesAt, middle) > hash) high = middle - 1;
      else low = middle + 1;
    }
    this.index = low - 1;
  }

  get child(): number {
    return dxBlock(this.view, this.entriesAt, this.index);
  }

  get hasNext(): boolean {
    return this.index + 1 < this.count;
  }

  get nextHash(): number {
    return dxHash(this.view, this.entriesAt, this.index + 1);
  }
}

/**
 * A place in a directory's index. `seek` first; then the fields describe the leaf that was found.
 *
 * Within one walk leaf hashes never go down and no more leaves are visited than the directory has
 * blocks, or than one request has time for, so a walk over a hostile index ends.
 */
export class IndexCursor {
  /** The hash function of this index. */
  hashVersion = 0;
  /** Directory block of the leaf. */
  leafLblk = 0;
  /** The leaf's names hash to this and above. */
  lowerHash = 0;
  readonly #frames: readonly IndexFrame[] = Array.from({ length: MAX_LEVELS }, () => new IndexFrame());
  #levels = 0;
  #leavesLeft = 0;

  /** Index blocks between the directory and a leaf, the root included. */
  get levels(): number {
    return this.#levels;
  }

  /** The index block that `seek` went through at `level`, 0 for the root. Void as soon as the index changes. */
  frame(level: number): IndexFrame {
    return this.#frames[level];
  }

  /** Reads the index's root. False when the directory has none that can be used and must be read linearly. */
  open(ctx: Ext4Context, dir: Inode): boolean {
    const root = indexRoot(ctx, dir);
    if (root === null) return false;
    this.#frames[0].enter(0, root, DX_ROOT.entries);
    this.#levels = dxIndirectLevels(root.view) + 1;
    this.#leavesLeft = Math.min(directoryBlocks(ctx, dir), MAX_LEAVES);
    this.hashVersion = effectiveHashVersion(ctx.superblock, dxHashVersion(root.view));
    return true;
  }

  /** Goes to the first leaf that can hold names of `hash`. False when the index is malformed on the way. */
  seek(ctx: Ext4Context, dir: Inode, hash: number): boolean {
    this.lowerHash = 0;
    for (let level = 0; ; level++) {
      const frame = this.#frames[level];
      frame.seek(hash);
      if (frame.index > 0) this.lowerHash = dxHash(frame.view, frame.entriesAt, frame.index);
      if (level + 1 === this.#levels) return this.#takeLeaf(ctx, dir);
      if (!this.#enterChild(ctx, dir, level)) return false;
    }
  }

  /** Where the next leaf starts, low bit included; HASH_END behind the last leaf. */
  get upperHash(): number {
    const level = this.#levelWithNext();
    return level < 0 ? HASH_END : this.#frames[level].nextHash;
  }

  /** True when names of the hash that ends this leaf may be on both sides of the boundary. */
  get isContinued(): boolean {
    const upper = this.upperHash;
    return upper !== HASH_END && (upper & 1) !== 0;
  }

  /** Goes to the next leaf in hash order; false at the end. */
  next(ctx: Ext4Context, dir: Inode): boolean {
    const level = this.#levelWithNext();
    if (level < 0) return false;
    const frame = this.#frames[level];
    const hash = frame.nextHash;
    if (hash < this.lowerHash) throw this.#broken(dir, `hash ${hash} follows ${this.lowerHash}`);
    this.lowerHash = hash;
    frame.index++;
    for (let upper = level; upper + 1 < this.#levels; upper++) {
      if (!this.#enterChild(ctx, dir, upper)) throw this.#broken(dir, `block ${this.#frames[upper].child} is no node`);
    }
    if (!this.#takeLeaf(ctx, dir)) throw this.#broken(dir, `block ${this.#bottom.child} is its own ancestor`);
    return true;
  }

  /** Lets the leaves visited so far leave the cache, but not the index blocks on the way to the current one. */
  letLeavesGo(ctx: Ext4Context): void {
    this.#touchFrames(ctx);
    ctx.cache.beginOperation();
    this.#touchFrames(ctx);
  }

  #touchFrames(ctx: Ext4Context): void {
    for (let level = 0; level < this.#levels; level++) ctx.cache.get(this.#frames[level].block.blockNr);
  }

  get #bottom(): IndexFrame {
    return this.#frames[this.#levels - 1];
  }

  #levelWithNext(): number {
    let level = this.#levels - 1;
    while (level >= 0 && !this.#frames[level].hasNext) level--;
    return level;
  }

  #enterChild(ctx: Ext4Context, dir: Inode, level: number): boolean {
    const lblk = this.#frames[level].child;
    if (this.#isAncestor(lblk, level)) return false;
    const node = indexNode(ctx, dir, this.#inDirectory(ctx, dir, lblk));
    if (node === null) return false;
    this.#frames[level + 1].enter(lblk, node, DX_NODE.entries);
    return true;
  }

  #takeLeaf(ctx: Ext4Context, dir: Inode): boolean {
    const lblk = this.#bottom.child;
    if (this.#isAncestor(lblk, this.#levels - 1)) return false;
    if (this.#leavesLeft-- === 0) throw this.#broken(dir, 'too many leaves');
    this.leafLblk = this.#inDirectory(ctx, dir, lblk);
    return true;
  }

  #isAncestor(lblk: number, level: number): boolean {
    for (let upper = 0; upper <= level; upper++) {
      if (this.#frames[upper].lblk === lblk) return true;
    }
    return false;
  }

  #inDirectory(ctx: Ext4Context, dir: Inode, lblk: number): number {
    if (lblk >= directoryBlocks(ctx, dir)) throw this.#broken(dir, `block ${lblk} is behind the end`);
    return lblk;
  }

  #broken(dir: Inode, finding: string): CorruptionError {
    return new CorruptionError('directory index', finding, { inode: dir.ino });
  }
}

/** The verified leaf in block `lblk`; an index never points at a hole. */
export function indexLeaf(ctx: Ext4Context, dir: Inode, lblk: number): CachedBlock {
  const leaf = directoryBlock(ctx, dir, lblk);
  if (leaf === null) throw new CorruptionError('directory', `leaf ${lblk} is a hole`, { inode: dir.ino });
  return leaf;
}
