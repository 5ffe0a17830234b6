/**
 * Directories kept inside the inode. "." has no entry, ".." is a number; the others fill two areas, each
 * of which is a chain of entries like a directory block.
 *
 * Without the dir_index feature a cookie is the byte offset that the next entry would have if the
 * directory had a block: 0 for ".", 12 for "..", 24 and more for the rest.
 */

import { u32le } from '../../shared/bytes.ts';
import type { CachedBlock } from './buffer-cache.ts';
import type { Ext4Context } from './context.ts';
import { direntFinding, dotsInName, isNamed } from './directory-block.ts';
import type { DirectorySink } from './directory-sink.ts';
import { dotFileType, entryFileType } from './entry-file-type.ts';
import { CorruptionError } from './errors.ts';
import { findInlineData, InlinePlace } from './inline-data.ts';
import type { Inode } from './inode.ts';
import { DIRENT, direntInode, direntNameLen, direntRecLen, direntSize, INLINE_DIRECTORY } from './layout/dirent.ts';
import { INODE } from './layout/inode.ts';

/** rec_len is taken as it is: an area is far below 64 KiB. */
export const PLAIN_REC_LEN = 0;
const DOT = 0x2e;
const DOTS = Uint8Array.of(DOT, DOT);
const DOTDOT_COOKIE = direntSize(1);
const FIRST_ENTRY_COOKIE = DOTDOT_COOKIE + direntSize(2);

/** The two areas, as offsets in the block that `open` returns. They are verified: readers may trust rec_len. */
export class InlineAreas {
  parent = 0;
  firstStart = 0;
  firstEnd = 0;
  secondStart = 0;
  secondEnd = 0;
  readonly #place = new InlinePlace();

  open(ctx: Ext4Context, dir: Inode): CachedBlock {
    const place = this.#place;
    const block = findInlineData(ctx, dir, place);
    this.parent = u32le(block.view, place.headAt + INLINE_DIRECTORY.parent);
    this.firstStart = place.headAt + INLINE_DIRECTORY.ENTRIES;
    this.firstEnd = place.headAt + INODE.I_BLOCK_SIZE;
    this.secondStart = place.tailAt;
    this.secondEnd = place.tailAt + place.tailBytes;
    if (this.parent === 0 || this.parent > ctx.superblock.inodesCount) {
      throw new CorruptionError('inline directory', `".." is inode ${this.parent}`, { inode: dir.ino });
    }
    verifyArea(ctx, dir, block, this.firstStart, this.firstEnd);
    verifyArea(ctx, dir, block, this.secondStart, this.secondEnd);
    return block;
  }

  /** Offset of the entry with the name in name[start, end), -1 when there is none. "." and ".." have no entries. */
  find(block: CachedBlock, name: Uint8Array, start: number, end: number): number {
    const at = findInArea(block, this.firstStart, this.firstEnd, name, start, end);
    return at < 0 ? findInArea(block, this.secondStart, this.secondEnd, name, start, end) : at;
  }
}

function findInArea(
  block: CachedBlock,
  areaStart: number,
  areaEnd: number,
  name: Uint8Array,
  start: number,
  end: number,
): number {
  const { bytes, view } = block;
  const nameLen = end - start;
  for (let at = areaStart; at < areaEnd; at += direntRecLen(view, at, PLAIN_REC_LEN)) {
    if (direntNameLen(view, at) !== nameLen || direntInode(view, at) === 0) continue;
    if (isNamed(bytes, at, name, start, end)) return at;
  }
  return -1;
}

const areas = new InlineAreas();

function verifyArea(ctx: Ext4Context, dir: Inode, block: CachedBlock, start: number, end: number): void {
  const { bytes, view } = block;
  for (let at = start; at < end; at += direntRecLen(view, at, PLAIN_REC_LEN)) {
    let finding = direntFinding(bytes, view, at, end, PLAIN_REC_LEN, ctx.superblock.inodesCount);
    if (finding === '' && direntInode(view, at) !== 0 && dotsInName(bytes, at) !== 0) finding = 'named "." or ".."';
    if (finding !== '') {
      throw new CorruptionError('inline directory', `entry at ${at - start}: ${finding}`, {
        inode: dir.ino,
        block: block.blockNr,
      });
    }
  }
}

/** Inode number of the name in name[start, end), 0 when the directory has none. */
export function findInInlineDirectory(
  ctx: Ext4Context,
  dir: Inode,
  name: Uint8Array,
  start: number,
  end: number,
): number {
  const block = areas.open(ctx, dir);
  if (end - start === 1 && name[start] === DOT) return dir.ino;
  if (end - start === 2 && name[start] === DOT && name[start + 1] === DOT) return areas.parent;
  const at = areas.find(block, name, start, end);
  return at < 0 ? 0 : direntInode(block.view, at);
}

export function readInlineDirectory(
  ctx: Ext4Context,
  dir: Inode,
  cookieHigh: number,
  cookieLow: number,
  sink: DirectorySink,
): void {
  if (cookieHigh !== 0) return;
  const block = areas.open(ctx, dir);
  const type = dotFileType(ctx);
  if (cookieLow === 0 && !sink.entry(dir.ino, type, DOTS, 0, 1, 0, DOTDOT_COOKIE)) return;
  if (cookieLow <= DOTDOT_COOKIE && !sink.entry(areas.parent, type, DOTS, 0, 2, 0, FIRST_ENTRY_COOKIE)) return;
  const firstShift = INLINE_DIRECTORY.BLOCK_SHIFT + INLINE_DIRECTORY.ENTRIES - areas.firstStart;
  const secondShift = INLINE_DIRECTORY.BLOCK_SHIFT + INODE.I_BLOCK_SIZE - areas.secondStart;
  if (!deliverArea(ctx, block, areas.firstStart, areas.firstEnd, firstShift, cookieLow, sink)) return;
  deliverArea(ctx, block, areas.secondStart, areas.secondEnd, secondShift, cookieLow, sink);
}

/** Delivers an area's entries from the cookie on; `shift` makes cookies from offsets. False when the sink is full. */
function deliverArea(
  ctx: Ext4Context,
  block: CachedBlock,
  start: number,
  end: number,
  shift: number,
  cookie: number,
  sink: DirectorySink,
): boolean {
  const { bytes, view } = block;
  for (let at = start; at < end; ) {
    const next = at + direntRecLen(view, at, PLAIN_REC_LEN);
    const ino = direntInode(view, at);
    if (ino !== 0 && at + shift >= cookie) {
      const nameAt = at + DIRENT.name;
      const nameEnd = nameAt + direntNameLen(view, at);
      if (!sink.entry(ino, entryFileType(ctx, view, at), bytes, nameAt, nameEnd, 0, next + shift)) return false;
    }
    at = next;
  }
  return true;
}
