/**
 * Verification of directory blocks, done once per cached block. Afterwards readers may walk the entries
 * without bounds checks of their own: every rec_len is at least 12 and the chain ends with the block.
 */
import { u8, u16le, u32le } from '../../shared/bytes.ts';
import { BlockCheck, type CachedBlock } from './buffer-cache.ts';
import type { MetadataChecksum } from './checksum.ts';
import type { Ext4Context } from './context.ts';
import { CorruptionError } from './errors.ts';
import { indexChecksumFinding } from './htree-node.ts';
import type { Inode } from './inode.ts';
import { DIRENT, DIRENT_TAIL, direntInode, direntNameLen, direntRecLen, direntSize } from './layout/dirent.ts';
import { Compat } from './layout/features.ts';
import { InodeFlag } from './layout/inode.ts';
import { Mapping, MappingType } from './mapping.ts';

const hole = new Mapping();

/**
 * What one request goes through without an index, all that a directory has without large_dir: as indirect
 * blocks can be shared, a small image can hold a directory of terabytes.
 */
const MAX_SCANNED_BYTES = 2 ** 32;
/** Blocks that a scan keeps in the cache at once, whatever its budget. */
const SCAN_BATCH_BLOCKS = 64;

const SLASH = 0x2f;
const DOT = 0x2e;

/** Whether lookups may use a hash index. */
export function isIndexed(ctx: Ext4Context, dir: Inode): boolean {
  return dir.hasFlag(InodeFlag.INDEX) && ctx.superblock.hasCompat(Compat.DIR_INDEX);
}

/** Number of blocks of a directory that is not inline; refuses sizes that no directory can have. */
export function directoryBlocks(ctx: Ext4Context, dir: Inode): number {
  const blocks = dir.sizeBytes / ctx.blockSize;
  if (!Number.isInteger(blocks) || blocks > ctx.superblock.blocksCount) {
    throw new CorruptionError('directory', `size ${dir.sizeBytes} is impossible`, { inode: dir.ino });
  }
  return blocks;
}

/** Number of blocks of a directory that is to be read from one end to the other. */
export function blocksToScan(ctx: Ext4Context, dir: Inode): number {
  if (dir.sizeBytes > MAX_SCANNED_BYTES) {
    throw new CorruptionError('directory', `${dir.sizeBytes} bytes without a usable index`, { inode: dir.ino });
  }
  return directoryBlocks(ctx, dir);
}

/**
 * To be called behind each block of a scan that holds no block: those it is done with may leave the cache, which
 * else would grow with the directory.
 */
export function letBlocksGo(ctx: Ext4Context, lblk: number): void {
  if (lblk % SCAN_BATCH_BLOCKS === SCAN_BATCH_BLOCKS - 1) ctx.cache.beginOperation();
}

/** The directory's block `lblk`, verified; null for a hole. */
export function directoryBlock(ctx: Ext4Context, dir: Inode, lblk: number): CachedBlock | null {
  const block = ctx.fileBlock(dir, lblk);
  if (block === null) {
    if (lblk === 0) throw new CorruptionError('directory', 'block 0 is a hole', { inode: dir.ino });
    return null;
  }
  if ((block.checked & BlockCheck.DIRECTORY_LEAF) === 0) {
    verifyBlock(ctx, dir, lblk, block);
    block.checked |= BlockCheck.DIRECTORY_LEAF;
  }
  return block;
}

function verifyBlock(ctx: Ext4Context, dir: Inode, lblk: number, block: CachedBlock): void {
  const finding = blockFinding(ctx, dir, lblk, block);
  if (finding !== '') {
    throw new CorruptionError('directory block', finding, { inode: dir.ino, block: block.blockNr });
  }
}

/** What is wrong with the block, '' when it is sound. */
function blockFinding(ctx: Ext4Context, dir: Inode, lblk: number, block: CachedBlock): string {
  const size = ctx.blockSize;
  const index = isIndexed(ctx, dir) && looksLikeIndex(block.view, lblk, size);
  const checksum = ctx.checksum.enabled
    ? index
      ? indexChecksumFinding(ctx, dir, block)
      : tailFinding(ctx, dir, block)
    : '';
  if (checksum !== '') return checksum;
  const end = ctx.checksum.enabled && !index ? size - DIRENT_TAIL.SIZE : size;
  return chainFinding(block.bytes, block.view, end, size, ctx.superblock.inodesCount, lblk === 0 ? dir.ino : 0);
}

/**
 * Index blocks of an indexed directory pass for directory blocks: the root as "." and "..", nodes as one
 * unused entry.
 */
function looksLikeIndex(view: DataView, lblk: number, blockSize: number): boolean {
  return lblk === 0 || direntRecLen(view, 0, blockSize) === blockSize;
}

/** Whether the block ends with the unused entry for its checksum; no index block does. */
export function hasChecksumTail(view: DataView, blockSize: number): boolean {
  const at = blockSize - DIRENT_TAIL.SIZE;
  return (
    u32le(view, at + DIRENT_TAIL.det_reserved_zero1) === 0 &&
    u16le(view, at + DIRENT_TAIL.det_rec_len) === DIRENT_TAIL.SIZE &&
    u8(view, at + DIRENT_TAIL.det_reserved_zero2) === 0 &&
    u8(view, at + DIRENT_TAIL.det_reserved_ft) === DIRENT_TAIL.RESERVED_FT
  );
}

function tailFinding(ctx: Ext4Context, dir: Inode, block: CachedBlock): string {
  const view = block.view;
  const at = ctx.blockSize - DIRENT_TAIL.SIZE;
  if (!hasChecksumTail(view, ctx.blockSize)) return 'no checksum tail';
  const computed = leafChecksum(ctx.checksum, dir.ino, dir.generation, block.bytes);
  const stored = u32le(view, at + DIRENT_TAIL.det_checksum);
  return stored === computed ? '' : `checksum 0x${stored.toString(16)}, expected 0x${computed.toString(16)}`;
}

/** The checksum that belongs into the tail of a directory's block. */
export function leafChecksum(checksum: MetadataChecksum, ino: number, generation: number, bytes: Uint8Array): number {
  return checksum.crc32c(checksum.inodeSeed(ino, generation), bytes, 0, bytes.length - DIRENT_TAIL.SIZE) >>> 0;
}

/** Walks the entries in [0, end). `dotIno` is the directory's own number for its first block, else 0. */
function chainFinding(
  bytes: Uint8Array,
  view: DataView,
  end: number,
  blockSize: number,
  inodesCount: number,
  dotIno: number,
): string {
  let at = 0;
  for (let entry = 0; at < end; entry++) {
    const finding = direntFinding(bytes, view, at, end, blockSize, inodesCount);
    if (finding !== '') return `entry at ${at}: ${finding}`;
    const dots = direntInode(view, at) === 0 ? 0 : dotsInName(bytes, at);
    const expected = dotIno !== 0 && entry < 2 ? entry + 1 : 0;
    if (dots !== expected) return `entry at ${at}: ${DOT_NAMES[dots]} where ${DOT_NAMES[expected]} belongs`;
    if (dots === 1 && direntInode(view, at) !== dotIno) return `"." is inode ${direntInode(view, at)}`;
    at += direntRecLen(view, at, blockSize);
  }
  return dotIno !== 0 && at <= direntSize(1) ? 'no ".." entry' : '';
}

const DOT_NAMES: readonly string[] = Object.freeze(['an ordinary name', '"."', '".."']);

/** 1 for ".", 2 for "..", 0 for any other name. */
export function dotsInName(bytes: Uint8Array, at: number): number {
  const length = bytes[at + DIRENT.name_len];
  if (length > 2 || bytes[at + DIRENT.name] !== DOT) return 0;
  if (length === 1) return 1;
  return bytes[at + DIRENT.name + 1] === DOT ? 2 : 0;
}

/** What is wrong with the entry at `at` of an area that ends at `end`; '' when it is sound. */
export function direntFinding(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  end: number,
  blockSize: number,
  inodesCount: number,
): string {
  if (end - at < DIRENT.MIN_SIZE) return `${end - at} bytes left are too few`;
  const recLen = direntRecLen(view, at, blockSize);
  const nameLen = direntNameLen(view, at);
  if (recLen < DIRENT.MIN_SIZE || recLen % 4 !== 0) return `rec_len ${recLen}`;
  if (recLen < direntSize(nameLen)) return `rec_len ${recLen} is too small for a name of ${nameLen} bytes`;
  if (recLen > end - at) return `rec_len ${recLen} leads past the end`;
  const ino = direntInode(view, at);
  if (ino === 0) return '';
  if (ino > inodesCount) return `inode ${ino} of ${inodesCount}`;
  if (nameLen === 0) return 'empty name';
  return hasForbiddenByte(bytes, at + DIRENT.name, at + DIRENT.name + nameLen) ? 'name with "/" or NUL' : '';
}

function hasForbiddenByte(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    const byte = bytes[at];
    if (byte === 0 || byte === SLASH) return true;
  }
  return false;
}

/** Offset of the entry with the name in name[start, end), -1 when the verified block has none. */
export function findInBlock(block: CachedBlock, name: Uint8Array, start: number, end: number): number {
  const bytes = block.bytes;
  const size = bytes.length;
  const nameLen = end - start;
  let at = 0;
  while (at < size) {
    if (bytes[at + DIRENT.name_len] === nameLen && isNamed(bytes, at, name, start, end)) {
      if (direntInode(block.view, at) !== 0) return at;
    }
    const recLen = bytes[at + DIRENT.rec_len] | (bytes[at + DIRENT.rec_len + 1] << 8);
    // A verified rec_len is a multiple of 4 above 0, unless it says "the whole block" (64 KiB).
    if (recLen === 0 || (recLen & 3) !== 0) return -1;
    at += recLen;
  }
  return -1;
}

/** Whether the entry at `at`, whose name is as long, has this name. Names tend to differ at their ends. */
export function isNamed(bytes: Uint8Array, at: number, name: Uint8Array, start: number, end: number): boolean {
  const nameAt = at + DIRENT.name - start;
  for (let index = end - 1; index >= start; index--) {
    if (bytes[nameAt + index] !== name[index]) return false;
  }
  return true;
}

/** The block behind the hole that begins at `lblk` or before, at least `lblk` + 1. */
export function endOfHole(ctx: Ext4Context, dir: Inode, lblk: number): number {
  ctx.mapBlocks(dir, lblk, hole);
  return hole.type === MappingType.HOLE ? Math.max(lblk + 1, hole.lblk + hole.lenBlocks) : lblk + 1;
}
