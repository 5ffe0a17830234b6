/** Finding the entry of a name in a directory that has blocks: through its hash index, or block by block. */
import { CachedBlock } from './buffer-cache.ts';
import type { Ext4Context } from './context.ts';
import {
  blocksToScan,
  directoryBlock,
  directoryBlocks,
  endOfHole,
  findInBlock,
  isIndexed,
  letBlocksGo,
} from './directory-block.ts';
import { hashName, NameHash } from './dirhash.ts';
import { IndexCursor, indexLeaf } from './htree.ts';
import type { Inode } from './inode.ts';

const DOT = 0x2e;

/** Where an entry is. Reused by callers, so that a search allocates nothing. */
export class FoundEntry {
  block = new CachedBlock(new Uint8Array(0));
  lblk = 0;
  /** Offset of the entry in the block. */
  at = 0;

  /** Looks in the verified block; false when it has no such name. */
  lookInto(block: CachedBlock, lblk: number, name: Uint8Array, start: number, end: number): boolean {
    const at = findInBlock(block, name, start, end);
    if (at < 0) return false;
    this.block = block;
    this.lblk = lblk;
    this.at = at;
    return true;
  }
}

const cursor = new IndexCursor();
const hash = new NameHash();

export function isDotName(name: Uint8Array, start: number, end: number): boolean {
  const length = end - start;
  if (length < 1 || length > 2) return false;
  return name[start] === DOT && name[end - 1] === DOT;
}

/** Finds the entry of the name in name[start, end); false when the directory has none. */
export function findEntry(
  ctx: Ext4Context,
  dir: Inode,
  name: Uint8Array,
  start: number,
  end: number,
  out: FoundEntry,
): boolean {
  if (isDotName(name, start, end)) {
    return scanRange(ctx, dir, Math.min(1, directoryBlocks(ctx, dir)), name, start, end, out);
  }
  if (isIndexed(ctx, dir) && cursor.open(ctx, dir)) {
    hashName(cursor.hashVersion, ctx.superblock.hashSeed, name, start, end, hash);
    if (cursor.seek(ctx, dir, hash.major)) return scanLeaves(ctx, dir, name, start, end, out);
  }
  return scanRange(ctx, dir, blocksToScan(ctx, dir), name, start, end, out);
}

/** Scans the leaf under the cursor, and those that follow as long as they go on with the same hash. */
function scanLeaves(
  ctx: Ext4Context,
  dir: Inode,
  name: Uint8Array,
  start: number,
  end: number,
  out: FoundEntry,
): boolean {
  const continuation = hash.major + 1;
  for (;;) {
    const lblk = cursor.leafLblk;
    if (out.lookInto(indexLeaf(ctx, dir, lblk), lblk, name, start, end)) return true;
    if (cursor.upperHash !== continuation || !cursor.next(ctx, dir)) return false;
  }
}

function scanRange(
  ctx: Ext4Context,
  dir: Inode,
  blocks: number,
  name: Uint8Array,
  start: number,
  end: number,
  out: FoundEntry,
): boolean {
  for (let lblk = 0; lblk < blocks; ) {
    const block = directoryBlock(ctx, dir, lblk);
    if (block === null) {
      lblk = endOfHole(ctx, dir, lblk);
      continue;
    }
    if (out.lookInto(block, lblk, name, start, end)) return true;
    letBlocksGo(ctx, lblk);
    lblk++;
  }
  return false;
}
