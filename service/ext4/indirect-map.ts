import { u32le } from '../../shared/bytes.ts';
import type { Ext4Context } from './context.ts';
import { CorruptionError } from './errors.ts';
import type { Inode } from './inode.ts';
import { INODE } from './layout/inode.ts';
import { type Mapping, MappingType } from './mapping.ts';

/** Pointers in i_block to data; the next three point to maps of one, two and three levels. */
export const DIRECT_POINTERS = 12;
export const MAX_LEVELS = 3;
export const POINTER_SIZE = 4;
/** Pointers looked at beyond the one asked for, to find a longer run. */
const MAX_RUN_POINTERS = 2048;

/** Number of file blocks that the map can reach with blocks of `blockSize` bytes; file block numbers have 32 bits. */
export function indirectReach(blockSize: number): number {
  const perBlock = blockSize / POINTER_SIZE;
  return Math.min(DIRECT_POINTERS + perBlock + perBlock ** 2 + perBlock ** 3, 2 ** 32 - 1);
}

/** Answers `Ext4Context.mapBlocks` for an inode with direct and indirect block pointers (ext2, ext3). */
export function mapIndirect(ctx: Ext4Context, inode: Inode, lblk: number, out: Mapping): void {
  const table = ctx.cache.get(inode.tableBlock);
  const pointersAt = inode.tableOffset + INODE.i_block;
  if (lblk < DIRECT_POINTERS) {
    answerRun(ctx, inode, table.view, pointersAt + lblk * POINTER_SIZE, DIRECT_POINTERS - lblk, lblk, out);
    return;
  }
  const perBlock = ctx.blockSize / POINTER_SIZE;
  let base = DIRECT_POINTERS;
  let span = perBlock;
  for (let level = 1; level <= MAX_LEVELS; level++) {
    if (lblk < base + span) {
      const pointerAt = pointersAt + (DIRECT_POINTERS + level - 1) * POINTER_SIZE;
      walk(ctx, inode, table.view, pointerAt, base, span, lblk, out);
      return;
    }
    base += span;
    span *= perBlock;
  }
  out.set(MappingType.HOLE, base, 0, Math.max(2 ** 32, lblk + 1) - base);
}

/**
 * Goes down from the pointer at `rootAt` of `rootView`, whose tree covers `rootSpan` blocks from `rootBase`
 * on, to the data block of `lblk`.
 */
function walk(
  ctx: Ext4Context,
  inode: Inode,
  rootView: DataView,
  rootAt: number,
  rootBase: number,
  rootSpan: number,
  lblk: number,
  out: Mapping,
): void {
  const perBlock = ctx.blockSize / POINTER_SIZE;
  let view = rootView;
  let pointerAt = rootAt;
  let count = 1;
  let base = rootBase;
  let parent = 0;
  for (let span = rootSpan; span > 1; span = span / perBlock) {
    const pblk = u32le(view, pointerAt);
    if (pblk === 0) {
      out.set(MappingType.HOLE, base, 0, zeroPointers(view, pointerAt, count) * span);
      return;
    }
    if (pblk === parent)
      throw new CorruptionError('indirect block', 'points at itself', { inode: inode.ino, block: pblk });
    ctx.checkDataBlocks(pblk, 1, 'indirect block', inode.ino);
    view = ctx.cache.get(pblk).view;
    const childSpan = span / perBlock;
    const index = Math.floor((lblk - base) / childSpan);
    base += index * childSpan;
    pointerAt = index * POINTER_SIZE;
    count = perBlock - index;
    parent = pblk;
  }
  answerRun(ctx, inode, view, pointerAt, count, lblk, out);
}

/** Describes the run of data blocks, or of missing ones, that begins with the pointer at `at`. */
function answerRun(
  ctx: Ext4Context,
  inode: Inode,
  view: DataView,
  at: number,
  count: number,
  lblk: number,
  out: Mapping,
): void {
  const pblk = u32le(view, at);
  if (pblk === 0) {
    out.set(MappingType.HOLE, lblk, 0, zeroPointers(view, at, count));
    return;
  }
  const limit = Math.min(count, MAX_RUN_POINTERS);
  let length = 1;
  while (length < limit && u32le(view, at + length * POINTER_SIZE) === pblk + length) length++;
  ctx.checkDataBlocks(pblk, length, 'block pointer', inode.ino);
  out.set(MappingType.WRITTEN, lblk, pblk, length);
}

/** How many of the `count` pointers at `at` are zero before the first that is not. */
function zeroPointers(view: DataView, at: number, count: number): number {
  let zeroes = 0;
  while (zeroes < count && u32le(view, at + zeroes * POINTER_SIZE) === 0) zeroes++;
  return zeroes;
}
