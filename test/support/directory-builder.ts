/** Builds directory blocks byte by byte, as a writer of the format would, for tests of the reader. */

import { readDirectory } from '../../service/ext4/directory.ts';
import type { DirectorySink } from '../../service/ext4/directory-sink.ts';
import { effectiveHashVersion, hashName, NameHash } from '../../service/ext4/dirhash.ts';
import type { Inode } from '../../service/ext4/inode.ts';
import { putU16le, putU32le, viewOf } from '../../shared/bytes.ts';
import type { FakeExt4Context } from './fake-ext4-context.ts';

export interface Entry {
  readonly name: Uint8Array;
  readonly ino: number;
  readonly type: number;
}

export const entry = (name: string | Uint8Array, ino: number, type = 1): Entry => ({
  name: typeof name === 'string' ? bytesOf(name) : name,
  ino,
  type,
});

export const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
export const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

const TAIL_SIZE = 12;
const ROOT_ENTRIES = 32;
const NODE_ENTRIES = 8;

const sizeOf = (entry: Entry): number => (8 + entry.name.length + 3) & ~3;

/** The area's entries one behind the other; the last one reaches to the end. An empty area is one unused entry. */
export function entriesArea(entries: readonly Entry[], lengthBytes: number): Uint8Array {
  const bytes = new Uint8Array(lengthBytes);
  const view = viewOf(bytes);
  let at = 0;
  const list = entries.length === 0 ? [{ name: new Uint8Array(0), ino: 0, type: 0 }] : entries;
  list.forEach((item, index) => {
    const recLen = index === list.length - 1 ? lengthBytes - at : sizeOf(item);
    if (at + sizeOf(item) > lengthBytes) throw new Error('entries do not fit');
    putU32le(view, at, item.ino);
    putU16le(view, at + 4, recLen === 65536 ? 65535 : recLen);
    bytes[at + 6] = item.name.length;
    bytes[at + 7] = item.type;
    bytes.set(item.name, at + 8);
    at += recLen;
  });
  return bytes;
}

/** Writes the checksum where a leaf has it. */
export function sealLeaf(context: FakeExt4Context, dir: Inode, block: Uint8Array): Uint8Array {
  if (!context.checksum.enabled) return block;
  const at = block.length - TAIL_SIZE;
  const view = viewOf(block);
  putU32le(view, at, 0);
  putU32le(view, at + 4, TAIL_SIZE | (0xde << 24));
  const seed = context.checksum.inodeSeed(dir.ino, dir.generation);
  putU32le(view, at + 8, context.checksum.crc32c(seed, block, 0, at));
  return block;
}

export function leafBlock(context: FakeExt4Context, dir: Inode, entries: readonly Entry[]): Uint8Array {
  const block = new Uint8Array(context.blockSize);
  block.set(entriesArea(entries, context.blockSize - (context.checksum.enabled ? TAIL_SIZE : 0)));
  return sealLeaf(context, dir, block);
}

const dots = (dir: Inode, parent: number): Entry[] => [entry('.', dir.ino, 2), entry('..', parent, 2)];

/** Spreads entries over as many blocks as they need, "." and ".." first. */
export function fillLinear(context: FakeExt4Context, dir: Inode, entries: readonly Entry[], parent = 2): void {
  const room = context.blockSize - TAIL_SIZE;
  let current = dots(dir, parent);
  let used = 24;
  let lblk = 0;
  for (const item of entries) {
    if (used + sizeOf(item) > room) {
      context.setFileBlock(dir, lblk++, leafBlock(context, dir, current));
      current = [];
      used = 0;
    }
    current.push(item);
    used += sizeOf(item);
  }
  context.setFileBlock(dir, lblk, leafBlock(context, dir, current));
}

export interface IndexEntry {
  readonly hash: number;
  readonly lblk: number;
}

const nodeLimit = (context: FakeExt4Context, entriesAt: number): number =>
  Math.floor((context.blockSize - entriesAt - (context.checksum.enabled ? 8 : 0)) / 8);

function indexEntries(context: FakeExt4Context, block: Uint8Array, at: number, entries: readonly IndexEntry[]): void {
  const view = viewOf(block);
  entries.forEach((item, index) => {
    if (index > 0) putU32le(view, at + index * 8, item.hash);
    putU32le(view, at + index * 8 + 4, item.lblk);
  });
  putU16le(view, at, nodeLimit(context, at));
  putU16le(view, at + 2, entries.length);
}

/** Writes the checksum where an index block has it. */
export function sealIndex(context: FakeExt4Context, dir: Inode, block: Uint8Array, entriesAt: number): Uint8Array {
  if (!context.checksum.enabled) return block;
  const view = viewOf(block);
  const tailAt = entriesAt + view.getUint16(entriesAt, true) * 8;
  const used = entriesAt + view.getUint16(entriesAt + 2, true) * 8;
  const { crc32c } = context.checksum;
  let crc = crc32c(context.checksum.inodeSeed(dir.ino, dir.generation), block, 0, used);
  crc = crc32c(crc, block, tailAt, tailAt + 4);
  putU32le(view, tailAt + 4, crc32c(crc, new Uint8Array(4), 0, 4));
  return block;
}

export function rootBlock(
  context: FakeExt4Context,
  dir: Inode,
  levels: number,
  entries: readonly IndexEntry[],
  parent = 2,
): Uint8Array {
  const block = entriesArea(dots(dir, parent), context.blockSize);
  block[28] = context.superblock.defaultHashVersion;
  block[29] = 8;
  block[30] = levels;
  indexEntries(context, block, ROOT_ENTRIES, entries);
  return sealIndex(context, dir, block, ROOT_ENTRIES);
}

export function nodeBlock(context: FakeExt4Context, dir: Inode, entries: readonly IndexEntry[]): Uint8Array {
  const block = entriesArea([], context.blockSize);
  indexEntries(context, block, NODE_ENTRIES, entries);
  return sealIndex(context, dir, block, NODE_ENTRIES);
}

export function majorOf(context: FakeExt4Context, name: Uint8Array): number {
  const hash = new NameHash();
  const version = effectiveHashVersion(context.superblock, context.superblock.defaultHashVersion);
  hashName(version, context.superblock.hashSeed, name, 0, name.length, hash);
  return hash.major;
}

/**
 * Lays entries out as an indexed directory: leaves of `perLeaf` names, nodes of `perNode` entries, as deep as
 * that takes.
 */
export function fillIndexed(
  context: FakeExt4Context,
  dir: Inode,
  entries: readonly Entry[],
  perLeaf: number,
  perNode: number,
): void {
  const sorted = entries
    .map((item) => ({ item, major: majorOf(context, item.name) }))
    .sort((a, b) => a.major - b.major);
  let lblk = 1;
  let level: IndexEntry[] = [];
  for (let from = 0; from === 0 || from < sorted.length; from += perLeaf) {
    const part = sorted.slice(from, from + perLeaf);
    const continued = from > 0 && sorted[from - 1].major === sorted[from].major;
    level.push({ hash: from === 0 ? 0 : part[0].major + (continued ? 1 : 0), lblk });
    const leaf = leafBlock(
      context,
      dir,
      part.map(({ item }) => item),
    );
    context.setFileBlock(dir, lblk++, leaf);
  }
  let levels = 0;
  while (level.length > perNode) {
    const upper: IndexEntry[] = [];
    for (let from = 0; from < level.length; from += perNode) {
      upper.push({ hash: level[from].hash, lblk });
      context.setFileBlock(dir, lblk++, nodeBlock(context, dir, level.slice(from, from + perNode)));
    }
    level = upper;
    levels++;
  }
  context.setFileBlock(dir, 0, rootBlock(context, dir, levels, level));
}

/** An entry as a listing delivered it. */
export interface Listed {
  readonly name: string;
  readonly ino: number;
  readonly type: number;
  readonly high: number;
  readonly low: number;
}

/** Takes up to `room` entries. */
export class Collector implements DirectorySink {
  readonly entries: Listed[] = [];
  room: number;

  constructor(room: number) {
    this.room = room;
  }

  entry(ino: number, type: number, bytes: Uint8Array, start: number, end: number, high: number, low: number): boolean {
    if (this.room === 0) return false;
    this.room--;
    this.entries.push({ name: hexOf(bytes.subarray(start, end)), ino, type, high, low });
    return true;
  }
}

/** Lists a directory with calls that take as many entries as `rooms` says, in turn; `between` runs after each call. */
export function listDirectory(
  context: FakeExt4Context,
  dir: Inode,
  rooms: readonly number[] = [2 ** 31],
  between: (sofar: readonly Listed[]) => void = () => {},
): Listed[] {
  const all: Listed[] = [];
  let high = 0;
  let low = 0;
  for (let call = 0; ; call++) {
    const sink = new Collector(rooms[call % rooms.length]);
    context.cache.beginOperation();
    readDirectory(context, dir, high, low, sink);
    const last = sink.entries.at(-1);
    if (last === undefined) return all;
    if (last.high < high || (last.high === high && last.low <= low)) throw new Error('the cookie did not advance');
    if (last.high > 0x7fffffff) throw new Error('the cookie is not below 2^63');
    all.push(...sink.entries);
    high = last.high;
    low = last.low;
    between(all);
  }
}

export const namesOf = (listed: readonly Listed[]): string[] =>
  listed.map(({ name }) => Buffer.from(name, 'hex').toString('latin1'));
