/** Changes of the blocks of a directory index. */
import { putU32le } from '../../shared/bytes.ts';
import { BlockCheck, BlockRole, type CachedBlock } from './buffer-cache.ts';
import type { Ext4Context } from './context.ts';
import { directoryBlock } from './directory-block.ts';
import { CorruptionError } from './errors.ts';
import type { IndexFrame } from './htree.ts';
import { indexChecksum, indexEntriesAt, indexLimit } from './htree-node.ts';
import type { Inode } from './inode.ts';
import { putDirentRecLen } from './layout/dirent.ts';
import {
  DX_ENTRY,
  DX_NODE,
  DX_ROOT,
  DX_TAIL,
  dxCount,
  dxHash,
  dxLimit,
  putDxBlock,
  putDxCount,
  putDxHash,
  putDxLimit,
} from './layout/htree.ts';
import type { WriteContext } from './write-context.ts';

/** Must precede every change of an index block that was read. */
export function modifyIndexBlock(ctx: WriteContext, dir: Inode, lblk: number, block: CachedBlock): void {
  // A later scan may take it for a directory block, whose checksum it won't have until it is sealed.
  directoryBlock(ctx, dir, lblk);
  ctx.handle.modify(block);
  claimIndexBlock(dir, block);
}

/** From now on the block is an index block of the directory, and sound. */
export function claimIndexBlock(dir: Inode, block: CachedBlock): void {
  block.role = BlockRole.HTREE_NODE;
  block.owner = dir.ino;
  block.ownerGeneration = dir.generation;
  block.checked = BlockCheck.HTREE_NODE | BlockCheck.DIRECTORY_LEAF;
}

/** Makes `block`, in which "." and ".." are and all else is zero, the root of an index with one leaf. */
export function initIndexRoot(ctx: WriteContext, dir: Inode, block: CachedBlock, leafLblk: number): void {
  const { bytes, view } = block;
  claimIndexBlock(dir, block);
  bytes[DX_ROOT.hash_version] = ctx.superblock.defaultHashVersion;
  bytes[DX_ROOT.info_length] = DX_ROOT.INFO_LENGTH;
  putDxLimit(view, DX_ROOT.entries, indexLimit(ctx, DX_ROOT.entries));
  putDxCount(view, DX_ROOT.entries, 1);
  putDxBlock(view, DX_ROOT.entries, 0, leafLblk);
}

/** Makes a fresh block, all zeros, an index node with the entries from the one numbered `from` on of another. */
export function initIndexNode(
  ctx: WriteContext,
  dir: Inode,
  block: CachedBlock,
  source: IndexFrame,
  from: number,
): void {
  const { bytes, view } = block;
  claimIndexBlock(dir, block);
  putDirentRecLen(view, 0, ctx.blockSize);
  const start = source.entriesAt + from * DX_ENTRY.SIZE;
  const end = source.entriesAt + source.count * DX_ENTRY.SIZE;
  bytes.set(source.block.bytes.subarray(start, end), DX_NODE.entries);
  // The first entry's hash makes way for these two.
  putDxLimit(view, DX_NODE.entries, indexLimit(ctx, DX_NODE.entries));
  putDxCount(view, DX_NODE.entries, source.count - from);
}

/** Keeps the first `count` entries of an index block that is being changed. */
export function truncateIndex(block: CachedBlock, entriesAt: number, count: number): void {
  const end = entriesAt + dxCount(block.view, entriesAt) * DX_ENTRY.SIZE;
  block.bytes.fill(0, entriesAt + count * DX_ENTRY.SIZE, end);
  putDxCount(block.view, entriesAt, count);
}

/** A level more: the root's only entry leads to the node that took over all it had. */
export function raiseIndexRoot(block: CachedBlock, nodeLblk: number): void {
  truncateIndex(block, DX_ROOT.entries, 1);
  putDxBlock(block.view, DX_ROOT.entries, 0, nodeLblk);
  block.bytes[DX_ROOT.indirect_levels]++;
}

export const indexIsFull = (frame: IndexFrame): boolean => frame.count === dxLimit(frame.view, frame.entriesAt);

/** Puts an entry behind the one that the frame has taken. There must be room. */
export function insertIndexEntry(ctx: WriteContext, dir: Inode, frame: IndexFrame, hash: number, lblk: number): void {
  const { view, entriesAt, count } = frame;
  const index = frame.index + 1;
  if (hash < dxHash(view, entriesAt, frame.index) || (index < count && hash > dxHash(view, entriesAt, index))) {
    const finding = `hash 0x${hash.toString(16)} does not belong behind entry ${frame.index}`;
    throw new CorruptionError('directory index', finding, { inode: dir.ino, block: frame.block.blockNr });
  }
  modifyIndexBlock(ctx, dir, frame.lblk, frame.block);
  const at = entriesAt + index * DX_ENTRY.SIZE;
  frame.block.bytes.copyWithin(at + DX_ENTRY.SIZE, at, entriesAt + count * DX_ENTRY.SIZE);
  putDxHash(view, entriesAt, index, hash);
  putDxBlock(view, entriesAt, index, lblk);
  putDxCount(view, entriesAt, count + 1);
}

/** Makes the checksum of a changed index block. */
export function sealIndexBlock(ctx: Ext4Context, block: CachedBlock): void {
  if (!ctx.checksum.enabled) return;
  const { bytes, view } = block;
  const entriesAt = indexEntriesAt(view, ctx.blockSize);
  const tailAt = entriesAt + indexLimit(ctx, entriesAt) * DX_ENTRY.SIZE;
  const usedEnd = entriesAt + dxCount(view, entriesAt) * DX_ENTRY.SIZE;
  if (entriesAt === 0 || usedEnd > tailAt) {
    throw new CorruptionError('directory index', 'a changed block is no index block', { block: block.blockNr });
  }
  const checksum = indexChecksum(ctx.checksum, block.owner, block.ownerGeneration, bytes, usedEnd, tailAt);
  putU32le(view, tailAt + DX_TAIL.dt_checksum, checksum);
}
