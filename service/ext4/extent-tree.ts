import { u16le, u32le } from '../../shared/bytes.ts';
import { BlockCheck, type CachedBlock } from './buffer-cache.ts';
import type { Ext4Context } from './context.ts';
import { CorruptionError } from './errors.ts';
import type { Inode } from './inode.ts';
import {
  EXTENT,
  EXTENT_HEADER,
  EXTENT_LBLK_END,
  EXTENT_MAGIC,
  EXTENT_MAX_DEPTH,
  EXTENT_MAX_WRITTEN,
  EXTENT_TAIL_SIZE,
  entryLblk,
  extentPblk,
  extentRawLen,
  indexLeaf,
} from './layout/extent.ts';
import { INODE } from './layout/inode.ts';
import { type Mapping, MappingType } from './mapping.ts';

/** Entries that fit into i_block. */
export const ROOT_CAPACITY = (INODE.I_BLOCK_SIZE - EXTENT_HEADER.SIZE) / EXTENT.SIZE;

/** Entries that fit into a node with its own block. */
export const nodeCapacity = (blockSize: number): number =>
  Math.floor((blockSize - EXTENT_HEADER.SIZE - EXTENT_TAIL_SIZE) / EXTENT.SIZE);

/** Answers `Ext4Context.mapBlocks` for an inode with an extent tree. */
export function mapExtent(ctx: Ext4Context, inode: Inode, lblk: number, out: Mapping): void {
  let block = ctx.cache.get(inode.tableBlock);
  let at = inode.tableOffset + INODE.i_block;
  let depth = checkRoot(inode, block, at);
  // The tree below this node covers [floor, ceiling).
  let floor = 0;
  let ceiling = Math.max(EXTENT_LBLK_END, lblk + 1);
  for (;;) {
    const { view } = block;
    const entries = u16le(view, at + EXTENT_HEADER.eh_entries);
    const index = lastEntryUpTo(view, at, entries, lblk);
    const entryAt = at + EXTENT_HEADER.SIZE + index * EXTENT.SIZE;
    if (index + 1 < entries) {
      const next = entryLblk(view, entryAt + EXTENT.SIZE);
      if (next > ceiling) throw corruptNode(inode, block, `entry for block ${next} in a node that ends at ${ceiling}`);
      ceiling = next;
    }
    if (index < 0) {
      out.set(MappingType.HOLE, floor, 0, ceiling - floor);
      return;
    }
    if (depth === 0) {
      answerFromLeaf(ctx, inode, block, entryAt, lblk, ceiling, out);
      return;
    }
    depth--;
    floor = entryLblk(view, entryAt);
    block = openNode(ctx, inode, indexLeaf(view, entryAt), depth, floor);
    at = 0;
  }
}

/** The entry at `entryAt` begins at or before `lblk` and no other entry begins before `ceiling`. */
function answerFromLeaf(
  ctx: Ext4Context,
  inode: Inode,
  leaf: CachedBlock,
  entryAt: number,
  lblk: number,
  ceiling: number,
  out: Mapping,
): void {
  const start = entryLblk(leaf.view, entryAt);
  const rawLen = extentRawLen(leaf.view, entryAt);
  const written = rawLen <= EXTENT_MAX_WRITTEN;
  const lenBlocks = written ? rawLen : rawLen - EXTENT_MAX_WRITTEN;
  const end = start + lenBlocks;
  if (end > ceiling) throw corruptNode(inode, leaf, `extent ${start}..${end - 1} runs into the next at ${ceiling}`);
  if (lblk >= end) {
    out.set(MappingType.HOLE, end, 0, ceiling - end);
    return;
  }
  const pblk = extentPblk(leaf.view, entryAt);
  ctx.checkDataBlocks(pblk, lenBlocks, 'extent', inode.ino);
  out.set(written ? MappingType.WRITTEN : MappingType.UNWRITTEN, start, pblk, lenBlocks);
}

/** Index of the last entry that begins at or before `lblk`, -1 when all begin later. Entries are sorted. */
export function lastEntryUpTo(view: DataView, at: number, entries: number, lblk: number): number {
  let low = 0;
  let high = entries;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (entryLblk(view, at + EXTENT_HEADER.SIZE + middle * EXTENT.SIZE) <= lblk) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Returns the depth of the tree. The root is checked at every use: it has at most four entries. */
export function checkRoot(inode: Inode, table: CachedBlock, at: number): number {
  const depth = u16le(table.view, at + EXTENT_HEADER.eh_depth);
  checkHeader(inode, table, at, ROOT_CAPACITY);
  checkEntries(inode, table, at, depth);
  return depth;
}

/** The node in block `pblk`, verified, of the given depth and beginning at `firstLblk`. */
export function openNode(ctx: Ext4Context, inode: Inode, pblk: number, depth: number, firstLblk: number): CachedBlock {
  ctx.checkDataBlocks(pblk, 1, 'extent index', inode.ino);
  const node = ctx.cache.get(pblk);
  if ((node.checked & BlockCheck.EXTENT_NODE) === 0 || node.extentOwner !== inode.ino) verifyNode(ctx, inode, node);
  const found = u16le(node.view, EXTENT_HEADER.eh_depth);
  if (found !== depth) throw corruptNode(inode, node, `depth is ${found} instead of ${depth}`);
  const entries = u16le(node.view, EXTENT_HEADER.eh_entries);
  if (entries === 0) return node;
  const first = entryLblk(node.view, EXTENT_HEADER.SIZE);
  if (first !== firstLblk) throw corruptNode(inode, node, `first entry is for block ${first} instead of ${firstLblk}`);
  return node;
}

function verifyNode(ctx: Ext4Context, inode: Inode, node: CachedBlock): void {
  checkHeader(inode, node, 0, nodeCapacity(ctx.blockSize));
  checkTail(ctx, inode, node);
  checkEntries(inode, node, 0, u16le(node.view, EXTENT_HEADER.eh_depth));
  node.checked |= BlockCheck.EXTENT_NODE;
  node.extentOwner = inode.ino;
}

function checkHeader(inode: Inode, block: CachedBlock, at: number, capacity: number): void {
  const { view } = block;
  const magic = u16le(view, at + EXTENT_HEADER.eh_magic);
  if (magic !== EXTENT_MAGIC) throw corruptNode(inode, block, `magic is 0x${magic.toString(16)} instead of 0xf30a`);
  const max = u16le(view, at + EXTENT_HEADER.eh_max);
  if (max === 0 || max > capacity) throw corruptNode(inode, block, `room for ${max} entries where ${capacity} fit`);
  const entries = u16le(view, at + EXTENT_HEADER.eh_entries);
  if (entries > max) throw corruptNode(inode, block, `${entries} entries in room for ${max}`);
  const depth = u16le(view, at + EXTENT_HEADER.eh_depth);
  if (depth > EXTENT_MAX_DEPTH) throw corruptNode(inode, block, `depth ${depth} above ${EXTENT_MAX_DEPTH}`);
  if (depth > 0 && entries === 0) throw corruptNode(inode, block, 'index node without entries');
}

/** The checksum follows the room for entries and covers all before it. */
function checkTail(ctx: Ext4Context, inode: Inode, node: CachedBlock): void {
  const { checksum } = ctx;
  if (!checksum.enabled) return;
  const tailAt = EXTENT_HEADER.SIZE + EXTENT.SIZE * u16le(node.view, EXTENT_HEADER.eh_max);
  const found = u32le(node.view, tailAt);
  const expected = checksum.crc32c(checksum.inodeSeed(inode.ino, inode.generation), node.bytes, 0, tailAt);
  if (found !== expected) {
    throw corruptNode(inode, node, `bad checksum ${found.toString(16)}, expected ${expected.toString(16)}`);
  }
}

/** Entries must be sorted and, in a leaf, neither empty nor overlapping. */
function checkEntries(inode: Inode, block: CachedBlock, at: number, depth: number): void {
  const { view } = block;
  const end = at + EXTENT_HEADER.SIZE + EXTENT.SIZE * u16le(view, at + EXTENT_HEADER.eh_entries);
  let vacantFrom = 0;
  for (let entryAt = at + EXTENT_HEADER.SIZE; entryAt < end; entryAt += EXTENT.SIZE) {
    const start = entryLblk(view, entryAt);
    if (start < vacantFrom) throw corruptNode(inode, block, `entry for block ${start} is not behind ${vacantFrom - 1}`);
    vacantFrom = start + 1;
    if (depth > 0) continue;
    const rawLen = extentRawLen(view, entryAt);
    if (rawLen === 0) throw corruptNode(inode, block, `extent of no length at block ${start}`);
    vacantFrom = start + (rawLen <= EXTENT_MAX_WRITTEN ? rawLen : rawLen - EXTENT_MAX_WRITTEN);
    if (vacantFrom > EXTENT_LBLK_END) throw corruptNode(inode, block, `extent from block ${start} is past 2^32 blocks`);
  }
}

export const corruptNode = (inode: Inode, block: CachedBlock, finding: string): CorruptionError =>
  new CorruptionError('extent tree', finding, { inode: inode.ino, block: block.blockNr });
