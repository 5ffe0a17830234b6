import { putU32le, u32le } from '../../shared/bytes.ts';
import type { CachedBlock } from './buffer-cache.ts';
import { handleIsFull, stepBlocks } from './handle-budget.ts';
import { DIRECT_POINTERS, MAX_LEVELS, POINTER_SIZE } from './indirect-map.ts';
import { touchIndirect } from './indirect-write.ts';
import type { Inode } from './inode.ts';
import { unchargeBlocks } from './inode-blocks.ts';
import { INODE } from './layout/inode.ts';
import type { WriteContext } from './write-context.ts';

/** What is being removed: file blocks [from, end). */
class Removal {
  from = 0;
  end = 0;
  isMetadata = false;
  /** Nothing has been removed yet. */
  isFirst = true;
}

const removal = new Removal();

/** As `removeBlocks`, for inodes with block pointers. Indirect blocks that lead nowhere are given back too. */
export function removeIndirect(
  ctx: WriteContext,
  inode: Inode,
  from: number,
  end: number,
  isMetadata: boolean,
): boolean {
  removal.from = from;
  removal.end = end;
  removal.isMetadata = isMetadata;
  removal.isFirst = true;
  const perBlock = ctx.blockSize / POINTER_SIZE;
  const table = ctx.cache.get(inode.tableBlock);
  const rootAt = inode.tableOffset + INODE.i_block;
  let base = DIRECT_POINTERS + perBlock + perBlock ** 2;
  for (let level = MAX_LEVELS; level > 0; level--) {
    const pointerAt = rootAt + (DIRECT_POINTERS + level - 1) * POINTER_SIZE;
    if (base < end && base + perBlock ** level > from && u32le(table.view, pointerAt) !== 0) {
      ctx.inodes.modify(inode);
      if (!removeBranch(ctx, inode, table, pointerAt, level, base)) return false;
    }
    base -= perBlock ** (level - 1);
  }
  if (from >= DIRECT_POINTERS) return true;
  ctx.inodes.modify(inode);
  return removeData(ctx, inode, table, rootAt, Math.min(DIRECT_POINTERS, end) - 1, 0);
}

/**
 * Removes what is under the pointer at `at` of `owner`, whose tree of `level` levels begins at file block `base`.
 * The owner is being changed. Returns false when the handle is full before all is done.
 */
function removeBranch(
  ctx: WriteContext,
  inode: Inode,
  owner: CachedBlock,
  at: number,
  level: number,
  base: number,
): boolean {
  const pblk = u32le(owner.view, at);
  ctx.checkDataBlocks(pblk, 1, 'indirect block', inode.ino);
  const block = ctx.cache.get(pblk);
  if (!removal.isFirst && handleIsFull(ctx)) return false;
  touchIndirect(ctx, inode, block);
  const perBlock = ctx.blockSize / POINTER_SIZE;
  const span = perBlock ** (level - 1);
  const last = Math.min(perBlock - 1, Math.ceil((removal.end - base) / span) - 1);
  const isDone =
    level === 1 ? removeData(ctx, inode, block, 0, last, base) : removeChildren(ctx, inode, block, last, level, base);
  if (isDone && leadsNowhere(block)) {
    putU32le(owner.view, at, 0);
    ctx.blocks.freeMetadata(pblk, 1);
    unchargeBlocks(ctx, inode, 1);
  }
  return isDone;
}

function removeChildren(
  ctx: WriteContext,
  inode: Inode,
  block: CachedBlock,
  last: number,
  level: number,
  base: number,
): boolean {
  const span = (ctx.blockSize / POINTER_SIZE) ** (level - 1);
  for (let index = last; index >= 0; index--) {
    const childBase = base + index * span;
    if (childBase + span <= removal.from) return true;
    const at = index * POINTER_SIZE;
    if (u32le(block.view, at) === 0) continue;
    if (!removeBranch(ctx, inode, block, at, level - 1, childBase)) return false;
  }
  return true;
}

/**
 * Removes data blocks whose pointers begin at `at` of `block`, from number `last` back, in runs as long as they
 * are on the device. The first pointer is that of file block `base`.
 */
function removeData(
  ctx: WriteContext,
  inode: Inode,
  block: CachedBlock,
  at: number,
  last: number,
  base: number,
): boolean {
  const { view } = block;
  const stop = Math.max(0, removal.from - base);
  let index = last;
  while (index >= stop) {
    let pblk = u32le(view, at + index * POINTER_SIZE);
    if (pblk === 0) {
      index--;
      continue;
    }
    if (!removal.isFirst && handleIsFull(ctx)) return false;
    removal.isFirst = false;
    let lenBlocks = 1;
    putU32le(view, at + index * POINTER_SIZE, 0);
    index--;
    const most = stepBlocks(removal.isMetadata);
    while (index >= stop && lenBlocks < most && u32le(view, at + index * POINTER_SIZE) === pblk - 1) {
      putU32le(view, at + index * POINTER_SIZE, 0);
      index--;
      pblk--;
      lenBlocks++;
    }
    ctx.checkDataBlocks(pblk, lenBlocks, 'block pointer', inode.ino);
    if (removal.isMetadata) ctx.blocks.freeMetadata(pblk, lenBlocks);
    else ctx.blocks.free(pblk, lenBlocks);
    unchargeBlocks(ctx, inode, lenBlocks);
  }
  return true;
}

function leadsNowhere(block: CachedBlock): boolean {
  const { bytes } = block;
  for (let at = 0; at < bytes.length; at++) if (bytes[at] !== 0) return false;
  return true;
}
