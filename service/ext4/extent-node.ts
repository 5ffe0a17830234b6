import { putU16le, putU32le, u16le } from '../../shared/bytes.ts';
import { BlockCheck, BlockRole, type CachedBlock } from './buffer-cache.ts';
import type { MetadataChecksum } from './checksum.ts';
import { nodeCapacity, ROOT_CAPACITY } from './extent-tree.ts';
import type { Inode } from './inode.ts';
import { chargeBlocks } from './inode-blocks.ts';
import { EXTENT, EXTENT_HEADER, EXTENT_MAGIC, EXTENT_MAX_WRITTEN } from './layout/extent.ts';
import { INODE } from './layout/inode.ts';
import type { WriteContext } from './write-context.ts';

const H = EXTENT_HEADER;
/** An unwritten extent is one block shorter at most, for its length is kept as 32768 and more. */
const MAX_UNWRITTEN = EXTENT_MAX_WRITTEN - 1;

/** Longest extent of a kind, in blocks. */
export const maxExtentLen = (unwritten: boolean): number => (unwritten ? MAX_UNWRITTEN : EXTENT_MAX_WRITTEN);
export const rawLenOf = (lenBlocks: number, unwritten: boolean): number =>
  unwritten ? lenBlocks + EXTENT_MAX_WRITTEN : lenBlocks;
export const isUnwritten = (rawLen: number): boolean => rawLen > EXTENT_MAX_WRITTEN;
export const lenOf = (rawLen: number): number => (rawLen > EXTENT_MAX_WRITTEN ? rawLen - EXTENT_MAX_WRITTEN : rawLen);

/** Entries in use of the node whose header is at `at`. */
export const nodeEntries = (view: DataView, at: number): number => u16le(view, at + H.eh_entries);
export const nodeDepth = (view: DataView, at: number): number => u16le(view, at + H.eh_depth);
export const nodeIsFull = (view: DataView, at: number): boolean =>
  u16le(view, at + H.eh_entries) >= u16le(view, at + H.eh_max);
export const slotAt = (at: number, index: number): number => at + H.SIZE + index * EXTENT.SIZE;

export function putNodeHeader(view: DataView, at: number, entries: number, max: number, depth: number): void {
  putU16le(view, at + H.eh_magic, EXTENT_MAGIC);
  putU16le(view, at + H.eh_entries, entries);
  putU16le(view, at + H.eh_max, max);
  putU16le(view, at + H.eh_depth, depth);
  putU32le(view, at + H.eh_generation, 0);
}

/** Makes room for an entry before the one that is number `index`. */
export function openSlot(node: CachedBlock, at: number, index: number): void {
  const entries = nodeEntries(node.view, at);
  const slot = slotAt(at, index);
  node.bytes.copyWithin(slot + EXTENT.SIZE, slot, slotAt(at, entries));
  putU16le(node.view, at + H.eh_entries, entries + 1);
}

export function closeSlot(node: CachedBlock, at: number, index: number): void {
  const entries = nodeEntries(node.view, at);
  const slot = slotAt(at, index);
  node.bytes.copyWithin(slot, slot + EXTENT.SIZE, slotAt(at, entries));
  putU16le(node.view, at + H.eh_entries, entries - 1);
}

/** Must precede changes of a node in a block of its own. The inode counts as changed: its data depends on the node. */
export function touchNode(ctx: WriteContext, inode: Inode, node: CachedBlock): void {
  ctx.inodes.modify(inode);
  ctx.handle.modify(node);
  node.role = BlockRole.EXTENT_NODE;
  node.owner = inode.ino;
  node.ownerGeneration = inode.generation;
}

/**
 * A node without entries in a new block near `goal`, counted as the inode's. `essential`: for a change that must not
 * fail for lack of space.
 */
export function newNode(ctx: WriteContext, inode: Inode, goal: number, depth: number, essential: boolean): CachedBlock {
  const node = ctx.handle.fresh(ctx.blocks.allocateMetadata(goal, essential, true));
  touchNode(ctx, inode, node);
  putNodeHeader(node.view, 0, 0, nodeCapacity(ctx.blockSize), depth);
  node.checked |= BlockCheck.EXTENT_NODE;
  node.extentOwner = inode.ino;
  chargeBlocks(ctx, inode, 1);
  return node;
}

/** Makes i_block a tree without extents. */
export function initExtentRoot(ctx: WriteContext, inode: Inode): void {
  ctx.inodes.modify(inode);
  const table = ctx.cache.get(inode.tableBlock);
  const at = inode.tableOffset + INODE.i_block;
  table.bytes.fill(0, at, at + INODE.I_BLOCK_SIZE);
  putNodeHeader(table.view, at, 0, ROOT_CAPACITY, 0);
}

/** Puts the checksum behind the room for entries of a node that goes to the device. */
export function sealExtentNode(checksum: MetadataChecksum, node: CachedBlock): void {
  if (!checksum.enabled) return;
  const tailAt = slotAt(0, u16le(node.view, H.eh_max));
  const seed = checksum.inodeSeed(node.owner, node.ownerGeneration);
  putU32le(node.view, tailAt, checksum.crc32c(seed, node.bytes, 0, tailAt));
}
