import type { CachedBlock } from './buffer-cache.ts';
import { lenOf, nodeEntries, slotAt, touchNode } from './extent-node.ts';
import { checkRoot, corruptNode, lastEntryUpTo, openNode } from './extent-tree.ts';
import type { Inode } from './inode.ts';
import { EXTENT_LBLK_END, entryLblk, extentPblk, extentRawLen, indexLeaf, putEntryLblk } from './layout/extent.ts';
import { INODE } from './layout/inode.ts';
import type { WriteContext } from './write-context.ts';

/**
 * The way from the root of an extent tree (level 0, in the inode) down to the leaf that a file block belongs
 * into (level `depth`). A change of the tree's shape voids it. Reused by callers, so that searching allocates
 * nothing.
 */
export class ExtentPath {
  depth = 0;
  /** First file block that belongs to the next extent or into a leaf further right. */
  ceiling = 0;
  readonly #nodes: CachedBlock[] = [];
  /** Where the header of each node is in its block. */
  readonly #at: number[] = [0, 0, 0, 0, 0, 0];
  /** The entry taken in each node: in the leaf the last one that begins at or before the block, -1 for none. */
  readonly #index: number[] = [0, 0, 0, 0, 0, 0];

  find(ctx: WriteContext, inode: Inode, lblk: number): void {
    let node = ctx.cache.get(inode.tableBlock);
    let at = inode.tableOffset + INODE.i_block;
    const depth = checkRoot(inode, node, at);
    this.depth = depth;
    this.ceiling = EXTENT_LBLK_END;
    for (let level = 0; ; level++) {
      const { view } = node;
      const entries = nodeEntries(view, at);
      let index = lastEntryUpTo(view, at, entries, lblk);
      // Before the first block of all: new extents go into the first leaf.
      if (index < 0 && level < depth) index = 0;
      this.#nodes[level] = node;
      this.#at[level] = at;
      this.#index[level] = index;
      if (index + 1 < entries) {
        const next = entryLblk(view, slotAt(at, index + 1));
        if (next > this.ceiling) throw corruptNode(inode, node, `entry for ${next} in a node up to ${this.ceiling}`);
        this.ceiling = next;
      }
      if (level === depth) {
        this.#checkEnd(inode, index);
        return;
      }
      const slot = slotAt(at, index);
      node = openNode(ctx, inode, indexLeaf(view, slot), depth - level - 1, entryLblk(view, slot));
      at = 0;
    }
  }

  /** The extent `index` of the leaf may not run into the next one. */
  #checkEnd(inode: Inode, index: number): void {
    if (index < 0) return;
    const end = this.lblk(index) + lenOf(this.rawLen(index));
    if (end <= this.ceiling) return;
    throw corruptNode(inode, this.#nodes[this.depth], `extent up to ${end - 1} runs into the next at ${this.ceiling}`);
  }

  node(level: number): CachedBlock {
    return this.#nodes[level];
  }

  at(level: number): number {
    return this.#at[level];
  }

  index(level: number): number {
    return this.#index[level];
  }

  entries(level: number): number {
    return nodeEntries(this.#nodes[level].view, this.#at[level]);
  }

  slot(level: number, index: number): number {
    return slotAt(this.#at[level], index);
  }

  // What the leaf's entry number `index` says.

  lblk(index: number): number {
    return entryLblk(this.#nodes[this.depth].view, this.slot(this.depth, index));
  }

  pblk(index: number): number {
    return extentPblk(this.#nodes[this.depth].view, this.slot(this.depth, index));
  }

  rawLen(index: number): number {
    return extentRawLen(this.#nodes[this.depth].view, this.slot(this.depth, index));
  }

  /** Must precede changes of the node's bytes. */
  touch(ctx: WriteContext, inode: Inode, level: number): void {
    if (level === 0) ctx.inodes.modify(inode);
    else touchNode(ctx, inode, this.#nodes[level]);
  }

  /** Tells the nodes above that the first entry of the node at `level` begins elsewhere now. */
  firstEntryMoved(ctx: WriteContext, inode: Inode, level: number): void {
    const first = entryLblk(this.#nodes[level].view, this.slot(level, 0));
    for (let above = level - 1; above >= 0; above--) {
      this.touch(ctx, inode, above);
      putEntryLblk(this.#nodes[above].view, this.slot(above, this.#index[above]), first);
      if (this.#index[above] > 0) return;
    }
  }
}
