import { putU32le, u32le } from '../../shared/bytes.ts';
import { Errno } from '../../shared/errno.ts';
import { BlockRole, type CachedBlock } from './buffer-cache.ts';
import { CorruptionError, FsError } from './errors.ts';
import { DIRECT_POINTERS, indirectReach, MAX_LEVELS, POINTER_SIZE } from './indirect-map.ts';
import type { Inode } from './inode.ts';
import { chargeBlocks } from './inode-blocks.ts';
import { INODE } from './layout/inode.ts';
import { type Mapping, MappingType } from './mapping.ts';
import { BlockRun, type WriteContext } from './write-context.ts';

/** Pointers have 32 bits. */
const POINTER_END = 2 ** 32;

const run = new BlockRun();

/** Where the pointer to a file block is: in the inode, or in an indirect block. */
class PointerPlace {
  at = 0;
  /** Pointers from this one to the end of its block. */
  count = 0;
  /** The indirect block, 0 for the inode. */
  parent = 0;
}

const place = new PointerPlace();

/** Makes i_block a map without blocks. */
export function initIndirectMap(ctx: WriteContext, inode: Inode): void {
  ctx.inodes.modify(inode);
  const table = ctx.cache.get(inode.tableBlock);
  const at = inode.tableOffset + INODE.i_block;
  table.bytes.fill(0, at, at + INODE.I_BLOCK_SIZE);
}

/** As `allocateBlocks`, for inodes with block pointers. `isMetadata`: one block that goes through the journal. */
export function allocateIndirect(
  ctx: WriteContext,
  inode: Inode,
  lblk: number,
  wantBlocks: number,
  isMetadata: boolean,
  out: Mapping,
): void {
  const owner = reachPointer(ctx, inode, lblk);
  const { view } = owner;
  const { at } = place;
  const present = u32le(view, at);
  if (present !== 0) {
    out.set(MappingType.WRITTEN, lblk, present, 1);
    return;
  }
  const want = Math.min(wantBlocks, place.count);
  let free = 1;
  while (free < want && u32le(view, at + free * POINTER_SIZE) === 0) free++;
  takeBlocks(ctx, inode, lblk, goalAt(ctx, inode, view), free, isMetadata);
  if (place.parent === 0) ctx.inodes.modify(inode);
  else touchIndirect(ctx, inode, owner);
  for (let index = 0; index < run.lenBlocks; index++) putU32le(view, at + index * POINTER_SIZE, run.pblk + index);
  chargeBlocks(ctx, inode, run.lenBlocks);
  out.set(MappingType.WRITTEN, lblk, run.pblk, run.lenBlocks);
}

function takeBlocks(
  ctx: WriteContext,
  inode: Inode,
  lblk: number,
  goal: number,
  wantBlocks: number,
  isMetadata: boolean,
): void {
  if (isMetadata) {
    run.pblk = ctx.blocks.allocateMetadata(goal);
    run.lenBlocks = 1;
  } else {
    ctx.blocks.allocateData(inode, lblk, goal, wantBlocks, run);
  }
  checkReach(run.pblk, run.lenBlocks);
}

function checkReach(pblk: number, lenBlocks: number): void {
  if (pblk + lenBlocks > POINTER_END) {
    throw new FsError(Errno.ENOSPC, `no free block has a number of 32 bits (${pblk})`);
  }
}

/** Behind the block of the pointer before; else behind the indirect block; else where the inode's data should begin. */
function goalAt(ctx: WriteContext, inode: Inode, view: DataView): number {
  const base = place.parent === 0 ? inode.tableOffset + INODE.i_block : 0;
  if (place.at > base) {
    const before = u32le(view, place.at - POINTER_SIZE);
    if (before !== 0) return before + 1;
  }
  return place.parent === 0 ? ctx.blocks.goalFor(inode) : place.parent + 1;
}

/** Fills `place` with the pointer to `lblk`, making the indirect blocks that are missing on the way. */
function reachPointer(ctx: WriteContext, inode: Inode, lblk: number): CachedBlock {
  const perBlock = ctx.blockSize / POINTER_SIZE;
  if (lblk >= indirectReach(ctx.blockSize)) {
    throw new FsError(Errno.EFBIG, `block ${lblk} is beyond the block map of inode ${inode.ino}`);
  }
  let owner = ctx.cache.get(inode.tableBlock);
  const rootAt = inode.tableOffset + INODE.i_block;
  place.parent = 0;
  if (lblk < DIRECT_POINTERS) {
    place.at = rootAt + lblk * POINTER_SIZE;
    place.count = DIRECT_POINTERS - lblk;
    return owner;
  }
  let rest = lblk - DIRECT_POINTERS;
  let level = 1;
  let span = perBlock;
  while (rest >= span && level < MAX_LEVELS) {
    rest -= span;
    span *= perBlock;
    level++;
  }
  let at = rootAt + (DIRECT_POINTERS + level - 1) * POINTER_SIZE;
  for (; level > 0; level--) {
    owner = indirectBlock(ctx, inode, owner, at);
    span /= perBlock;
    const index = Math.floor(rest / span);
    rest -= index * span;
    at = index * POINTER_SIZE;
    place.parent = owner.blockNr;
    place.count = perBlock - index;
  }
  place.at = at;
  return owner;
}

/** The indirect block that the pointer at `at` of `owner` leads to; a new one if it leads nowhere. */
function indirectBlock(ctx: WriteContext, inode: Inode, owner: CachedBlock, at: number): CachedBlock {
  const pblk = u32le(owner.view, at);
  if (pblk !== 0) {
    if (pblk === place.parent) {
      throw new CorruptionError('indirect block', 'points at itself', { inode: inode.ino, block: pblk });
    }
    ctx.checkDataBlocks(pblk, 1, 'indirect block', inode.ino);
    return ctx.cache.get(pblk);
  }
  const made = ctx.blocks.allocateMetadata(place.parent === 0 ? ctx.blocks.goalFor(inode) : place.parent + 1);
  checkReach(made, 1);
  if (place.parent === 0) ctx.inodes.modify(inode);
  else touchIndirect(ctx, inode, owner);
  putU32le(owner.view, at, made);
  chargeBlocks(ctx, inode, 1);
  const block = ctx.handle.fresh(made);
  touchIndirect(ctx, inode, block);
  return block;
}

/** Must precede changes of an indirect block. The inode counts as changed: its data depends on the block. */
export function touchIndirect(ctx: WriteContext, inode: Inode, block: CachedBlock): void {
  ctx.inodes.modify(inode);
  ctx.handle.modify(block);
  block.role = BlockRole.PLAIN;
  block.owner = inode.ino;
}
