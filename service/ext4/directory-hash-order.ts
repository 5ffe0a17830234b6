/**
 * Listing a directory in the order of its names' hashes, which no insertion, deletion or change of the
 * directory's form disturbs. Serves indexed directories, and, as the kernel does, those that may become
 * indexed: of one block, or inline.
 *
 * Cookie, 63 bits, as two words:
 *
 *     high  31 bits   major hash / 2
 *     low   16 bits   upper half of the minor hash
 *           16 bits   ordinal: how many names that agree in all the 47 bits above come before
 *
 * so it names the position of the next entry, not of the last one. Names of equal hash are told apart
 * by the ordinal alone; each is delivered exactly once wherever the sink gets full. "." and ".." are the
 * first two names of group 0. The last entry carries END_OF_DIRECTORY, the kernel's own.
 *
 * The one list of sorted names that is kept between calls is a memory, not a state: it is made again
 * from the blocks whenever it isn't the one that is wanted.
 */
import { BlockCheck, type CachedBlock } from './buffer-cache.ts';
import type { Ext4Context } from './context.ts';
import { directoryBlocks, dotsInName, isIndexed } from './directory-block.ts';
import { HASH_ORDER_WINDOW_BYTES, readAheadDirectory } from './directory-readahead.ts';
import type { DirectorySink } from './directory-sink.ts';
import { effectiveHashVersion, hashName, NameHash } from './dirhash.ts';
import { dotFileType, entryFileType } from './entry-file-type.ts';
import { CorruptionError } from './errors.ts';
import { HASH_END, IndexCursor, indexLeaf } from './htree.ts';
import { InlineAreas } from './inline-directory.ts';
import type { Inode } from './inode.ts';
import { DIRENT, direntInode, direntNameLen, direntRecLen } from './layout/dirent.ts';
import { Compat } from './layout/features.ts';
import { DX_ROOT, HashVersion } from './layout/htree.ts';
import { InodeFlag } from './layout/inode.ts';
import { SortedNames } from './sorted-names.ts';

/** HTREE_EOF_64BIT: behind every entry. */
export const END_OF_DIRECTORY = Object.freeze({ HIGH: 0x7fffffff, LOW: 0xffffffff });

/** Leaves that go on with one hash, at most: with 1 KiB blocks and long names still hundreds of names. */
const MAX_LEAVES_OF_RUN = 256;

/** Runs after which a listing, of empty leaves perhaps, lets the cache shrink again. */
const RUNS_PER_BATCH = 64;

const ORDINAL_MASK = 0xffff;
const DOTS = Uint8Array.of(0x2e, 0x2e);

const cursor = new IndexCursor();
const inline = new InlineAreas();
const hash = new NameHash();
const names = new SortedNames();

/** The blocks that `names` was made from, of which directory; 0 when it was made from none. */
let sortedIno = 0;
const sortedBlocks: CachedBlock[] = [];

/** The blocks of the run being read. */
const runBlocks: CachedBlock[] = [];

/** Returns false when the directory has no hash order and is to be read another way. */
export function readInHashOrder(
  ctx: Ext4Context,
  dir: Inode,
  cookieHigh: number,
  cookieLow: number,
  sink: DirectorySink,
): boolean {
  if (isIndexed(ctx, dir)) return readIndexed(ctx, dir, cookieHigh, cookieLow, sink);
  if (!mayBecomeIndexed(ctx, dir)) return false;
  if (isPastEnd(cookieHigh)) return true;
  if (dir.hasFlag(InodeFlag.INLINE_DATA)) readInline(ctx, dir, cookieHigh, cookieLow, sink);
  else readSingleBlock(ctx, dir, cookieHigh, cookieLow, sink);
  return true;
}

function mayBecomeIndexed(ctx: Ext4Context, dir: Inode): boolean {
  const { superblock } = ctx;
  if (!superblock.hasCompat(Compat.DIR_INDEX) || superblock.defaultHashVersion > HashVersion.TEA) return false;
  return dir.hasFlag(InodeFlag.INLINE_DATA) || directoryBlocks(ctx, dir) === 1;
}

const isPastEnd = (cookieHigh: number): boolean => cookieHigh >= END_OF_DIRECTORY.HIGH;

function readIndexed(
  ctx: Ext4Context,
  dir: Inode,
  cookieHigh: number,
  cookieLow: number,
  sink: DirectorySink,
): boolean {
  if (!cursor.open(ctx, dir)) return false;
  if (isPastEnd(cookieHigh)) return true;
  if (!cursor.seek(ctx, dir, cookieHigh * 2)) return false;
  if (cookieHigh === 0 && cookieLow === 0) readAheadDirectory(ctx, dir, 1, HASH_ORDER_WINDOW_BYTES);
  if (!deliverDots(ctx, dir, parentOf(ctx, dir), cookieHigh, cookieLow, sink)) return true;
  let high = cookieHigh;
  let low = cookieLow;
  let runs = 0;
  do {
    gatherRun(ctx, dir);
    if (!deliverNames(ctx, high, low, cursor.upperHash === HASH_END, sink)) return true;
    if (++runs % RUNS_PER_BATCH === 0) cursor.letLeavesGo(ctx);
    high = 0;
    low = 0;
  } while (cursor.next(ctx, dir));
  return true;
}

function readSingleBlock(
  ctx: Ext4Context,
  dir: Inode,
  cookieHigh: number,
  cookieLow: number,
  sink: DirectorySink,
): void {
  if (!deliverDots(ctx, dir, parentOf(ctx, dir), cookieHigh, cookieLow, sink)) return;
  runBlocks.length = 0;
  runBlocks.push(indexLeaf(ctx, dir, 0));
  if (!isSorted(dir)) {
    const version = effectiveHashVersion(ctx.superblock, ctx.superblock.defaultHashVersion);
    sortBlocks(ctx, dir, version);
  }
  deliverNames(ctx, cookieHigh, cookieLow, true, sink);
}

function readInline(ctx: Ext4Context, dir: Inode, cookieHigh: number, cookieLow: number, sink: DirectorySink): void {
  const block = inline.open(ctx, dir);
  if (!deliverDots(ctx, dir, inline.parent, cookieHigh, cookieLow, sink)) return;
  const version = effectiveHashVersion(ctx.superblock, ctx.superblock.defaultHashVersion);
  forgetSorted();
  runBlocks.length = 0;
  runBlocks.push(block);
  addNames(ctx, dir, version, 0, inline.firstStart, inline.firstEnd);
  addNames(ctx, dir, version, 0, inline.secondStart, inline.secondEnd);
  names.sort();
  deliverNames(ctx, cookieHigh, cookieLow, true, sink);
}

/** The number in the ".." entry, which block 0 has as its second one. */
function parentOf(ctx: Ext4Context, dir: Inode): number {
  return direntInode(indexLeaf(ctx, dir, 0).view, DX_ROOT.dotdot);
}

/** "." and "..": positions 0 and 1. False when the sink is full. */
function deliverDots(
  ctx: Ext4Context,
  dir: Inode,
  parent: number,
  cookieHigh: number,
  cookieLow: number,
  sink: DirectorySink,
): boolean {
  if (cookieHigh !== 0 || cookieLow > 1) return true;
  const type = dotFileType(ctx);
  if (cookieLow === 0 && !sink.entry(dir.ino, type, DOTS, 0, 1, 0, 1)) return false;
  return sink.entry(parent, type, DOTS, 0, 2, 0, 2);
}

/**
 * Makes `names` from the leaf under the cursor and those that go on with its last hash; leaves the
 * cursor at the last of them.
 */
function gatherRun(ctx: Ext4Context, dir: Inode): void {
  const lower = (cursor.lowerHash & ~1) >>> 0;
  runBlocks.length = 0;
  runBlocks.push(indexLeaf(ctx, dir, cursor.leafLblk));
  while (cursor.isContinued && cursor.next(ctx, dir)) {
    if (runBlocks.length === MAX_LEAVES_OF_RUN) throw tooManyOfOneHash(dir);
    runBlocks.push(indexLeaf(ctx, dir, cursor.leafLblk));
  }
  if (!isSorted(dir)) sortBlocks(ctx, dir, cursor.hashVersion);
  // Also of names at hand: two index entries may lead to one leaf.
  checkRange(dir, lower, cursor.upperHash);
}

/** True when `names` was made from these very blocks and none of them has been read again or changed since. */
function isSorted(dir: Inode): boolean {
  if (sortedIno !== dir.ino || sortedBlocks.length !== runBlocks.length) return false;
  for (let index = 0; index < runBlocks.length; index++) {
    const block = runBlocks[index];
    if (block !== sortedBlocks[index] || (block.checked & BlockCheck.SORTED_NAMES) === 0) return false;
  }
  return true;
}

function forgetSorted(): void {
  sortedIno = 0;
  sortedBlocks.length = 0;
  names.clear();
}

function sortBlocks(ctx: Ext4Context, dir: Inode, version: number): void {
  forgetSorted();
  for (let index = 0; index < runBlocks.length; index++) {
    addNames(ctx, dir, version, index, 0, ctx.blockSize);
  }
  names.sort();
  for (let index = 0; index < runBlocks.length; index++) {
    sortedBlocks.push(runBlocks[index]);
    runBlocks[index].checked |= BlockCheck.SORTED_NAMES;
  }
  sortedIno = dir.ino;
}

/** A name outside its leaves' hashes could not be found, and would make cookies go backwards. */
function checkRange(dir: Inode, lower: number, upper: number): void {
  if (names.count === 0) return;
  const first = names.major[names.order[0]];
  const last = names.major[names.order[names.count - 1]];
  if (first >= lower && last < upper) return;
  const wrong = first < lower ? first : last;
  throw new CorruptionError(
    'directory index',
    `name of hash 0x${wrong.toString(16)} in a leaf of 0x${lower.toString(16)} up to 0x${upper.toString(16)}`,
    { inode: dir.ino },
  );
}

/** Hashes the names in [start, end) of the run's block `index`, which have been verified. */
function addNames(ctx: Ext4Context, dir: Inode, version: number, index: number, start: number, end: number): void {
  const { bytes, view } = runBlocks[index];
  const seed = ctx.superblock.hashSeed;
  const isLegacy = version === HashVersion.LEGACY || version === HashVersion.LEGACY_UNSIGNED;
  for (let at = start; at < end; at += direntRecLen(view, at, ctx.blockSize)) {
    if (direntInode(view, at) === 0 || dotsInName(bytes, at) !== 0) continue;
    const nameAt = at + DIRENT.name;
    const nameEnd = nameAt + direntNameLen(view, at);
    hashName(version, seed, bytes, nameAt, nameEnd, hash);
    const minor = isLegacy ? tieBreaker(bytes, nameAt, nameEnd) : hash.minor;
    if (!names.add(hash.major, minor, index, at)) throw tooManyOfOneHash(dir);
  }
}

/** The legacy hash has no minor one, yet names of equal hash want positions that don't depend on each other. FNV-1a. */
function tieBreaker(bytes: Uint8Array, start: number, end: number): number {
  let value = 0x811c9dc5 | 0;
  for (let at = start; at < end; at++) value = Math.imul(value ^ bytes[at], 0x01000193);
  return value >>> 0;
}

function tooManyOfOneHash(dir: Inode): CorruptionError {
  return new CorruptionError('directory index', 'too many names of one hash', { inode: dir.ino });
}

/** Delivers what is in `names` from the cookie on. False when the sink is full. */
function deliverNames(
  ctx: Ext4Context,
  cookieHigh: number,
  cookieLow: number,
  isLastRun: boolean,
  sink: DirectorySink,
): boolean {
  const { order, major, minor, block, offset, count } = names;
  let groupHigh = 0;
  let groupLow = 0;
  let ordinal = 1; // Group 0 begins with "." and "..".
  for (let index = 0; index < count; index++) {
    const name = order[index];
    const high = major[name] >>> 1;
    const low = (minor[name] & ~ORDINAL_MASK) >>> 0;
    ordinal = high === groupHigh && low === groupLow ? ordinal + 1 : 0;
    groupHigh = high;
    groupLow = low;
    if (high < cookieHigh || (high === cookieHigh && low + ordinal < cookieLow)) continue;
    const isLast = isLastRun && index === count - 1;
    const nextHigh = isLast ? END_OF_DIRECTORY.HIGH : high;
    const nextLow = isLast ? END_OF_DIRECTORY.LOW : low + ordinal + 1;
    const { bytes, view } = runBlocks[block[name]];
    const at = offset[name];
    const nameAt = at + DIRENT.name;
    const nameEnd = nameAt + direntNameLen(view, at);
    const type = entryFileType(ctx, view, at);
    if (!sink.entry(direntInode(view, at), type, bytes, nameAt, nameEnd, nextHigh, nextLow)) return false;
  }
  return true;
}
