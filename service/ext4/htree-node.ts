/** Verification of the blocks of a directory index, done once per cached block. */
import { u8, u32le } from '../../shared/bytes.ts';
import { BlockCheck, type CachedBlock } from './buffer-cache.ts';
import type { MetadataChecksum } from './checksum.ts';
import type { Ext4Context } from './context.ts';
import { CorruptionError } from './errors.ts';
import type { Inode } from './inode.ts';
import { direntRecLen, direntSize } from './layout/dirent.ts';
import { Incompat } from './layout/features.ts';
import {
  DX_ENTRY,
  DX_NODE,
  DX_ROOT,
  DX_TAIL,
  dxCount,
  dxHash,
  dxHashVersion,
  dxIndirectLevels,
  dxLimit,
  HashVersion,
} from './layout/htree.ts';

/** Index levels below the root, at most; large_dir allows one more. */
const MAX_INDIRECT_LEVELS = 1;
const MAX_INDIRECT_LEVELS_LARGE_DIR = 2;
/** The only bit of unused_flags that ever had a meaning: an index that nobody can read any more. */
const UNKNOWN_HASH_FLAGS = 1;

/** The index's root block, or null when it has not the shape of one: the directory must be read linearly then. */
export function indexRoot(ctx: Ext4Context, dir: Inode): CachedBlock | null {
  return verifiedNode(ctx, dir, 0, DX_ROOT.entries);
}

/** The interior node in the directory's block `lblk`, or null when it has not the shape of one. */
export function indexNode(ctx: Ext4Context, dir: Inode, lblk: number): CachedBlock | null {
  return verifiedNode(ctx, dir, lblk, DX_NODE.entries);
}

function verifiedNode(ctx: Ext4Context, dir: Inode, lblk: number, entriesAt: number): CachedBlock | null {
  const block = ctx.fileBlock(dir, lblk);
  if (block === null) {
    throw new CorruptionError('directory index', `block ${lblk} is a hole`, { inode: dir.ino });
  }
  if ((block.checked & BlockCheck.HTREE_NODE) !== 0 && indexEntriesAt(block.view, ctx.blockSize) === entriesAt)
    return block;
  if (!hasShape(ctx, block.view, entriesAt)) return null;
  const finding = ctx.checksum.enabled ? indexChecksumFinding(ctx, dir, block) : '';
  if (finding !== '') {
    throw new CorruptionError('directory index', finding, { inode: dir.ino, block: block.blockNr });
  }
  block.checked |= BlockCheck.HTREE_NODE;
  return block;
}

function hasShape(ctx: Ext4Context, view: DataView, entriesAt: number): boolean {
  if (indexEntriesAt(view, ctx.blockSize) !== entriesAt) return false;
  if (entriesAt === DX_ROOT.entries && !hasRootFields(ctx, view)) return false;
  const limit = dxLimit(view, entriesAt);
  const count = dxCount(view, entriesAt);
  if (limit !== indexLimit(ctx, entriesAt)) return false;
  return count > 0 && count <= limit && isSorted(view, entriesAt, count);
}

/** Entries that an index block holds, at most; they begin at `entriesAt`. */
export function indexLimit(ctx: Ext4Context, entriesAt: number): number {
  const tail = ctx.checksum.enabled ? DX_TAIL.SIZE : 0;
  return Math.floor((ctx.blockSize - entriesAt - tail) / DX_ENTRY.SIZE);
}

/** How many levels of nodes there may be between the root and the leaves. */
export const maxIndirectLevels = (ctx: Ext4Context): number =>
  ctx.superblock.hasIncompat(Incompat.LARGEDIR) ? MAX_INDIRECT_LEVELS_LARGE_DIR : MAX_INDIRECT_LEVELS;

function hasRootFields(ctx: Ext4Context, view: DataView): boolean {
  return (
    dxHashVersion(view) <= HashVersion.TEA &&
    (u8(view, DX_ROOT.unused_flags) & UNKNOWN_HASH_FLAGS) === 0 &&
    dxIndirectLevels(view) <= maxIndirectLevels(ctx)
  );
}

function isSorted(view: DataView, entriesAt: number, count: number): boolean {
  for (let index = 2; index < count; index++) {
    if (dxHash(view, entriesAt, index) < dxHash(view, entriesAt, index - 1)) return false;
  }
  return true;
}

/** Where the block's disguise says that limit and count are: at the root's place, a node's, or nowhere (0). */
export function indexEntriesAt(view: DataView, blockSize: number): number {
  const first = direntRecLen(view, 0, blockSize);
  if (first === blockSize) return DX_NODE.entries;
  if (first !== DX_ROOT.dotdot) return 0;
  const isRoot =
    direntRecLen(view, DX_ROOT.dotdot, blockSize) === blockSize - direntSize(1) &&
    u32le(view, DX_ROOT.reserved_zero) === 0 &&
    u8(view, DX_ROOT.info_length) === DX_ROOT.INFO_LENGTH;
  return isRoot ? DX_ROOT.entries : 0;
}

/** The checksum of an index block: it covers what precedes `usedEnd`, the entries in use, and the tail's first word. */
export function indexChecksum(
  checksum: MetadataChecksum,
  ino: number,
  generation: number,
  bytes: Uint8Array,
  usedEnd: number,
  tailAt: number,
): number {
  const entries = checksum.crc32c(checksum.inodeSeed(ino, generation), bytes, 0, usedEnd);
  const reserved = checksum.crc32c(entries, bytes, tailAt + DX_TAIL.dt_reserved, tailAt + DX_TAIL.dt_checksum);
  return checksum.u32(reserved, 0) >>> 0;
}

/** What is wrong with an index block's checksum, '' when it is right. */
export function indexChecksumFinding(ctx: Ext4Context, dir: Inode, block: CachedBlock): string {
  const view = block.view;
  const entriesAt = indexEntriesAt(view, ctx.blockSize);
  if (entriesAt === 0) return 'neither an index root nor an index node';
  const tailAt = entriesAt + dxLimit(view, entriesAt) * DX_ENTRY.SIZE;
  const usedEnd = entriesAt + dxCount(view, entriesAt) * DX_ENTRY.SIZE;
  if (tailAt > ctx.blockSize - DX_TAIL.SIZE || usedEnd > tailAt)
    return 'limit and count leave no room for the checksum';
  const computed = indexChecksum(ctx.checksum, dir.ino, dir.generation, block.bytes, usedEnd, tailAt);
  const stored = u32le(view, tailAt + DX_TAIL.dt_checksum);
  return stored === computed ? '' : `checksum 0x${stored.toString(16)}, expected 0x${computed.toString(16)}`;
}
