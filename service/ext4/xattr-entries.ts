/**
 * The attributes of one region taken apart, and put together again: changing them means writing the region
 * anew, which keeps it free of gaps.
 */
import { putU16le, putU32le, u32le } from '../../shared/bytes.ts';
import {
  XATTR_ENTRY,
  xattrEntryHash,
  xattrEntrySize,
  xattrIsEnd,
  xattrNameIndex,
  xattrNameLen,
  xattrValueInode,
  xattrValueSize,
} from './layout/xattr.ts';
import type { XattrRegion } from './xattr-region.ts';

/** One attribute as it is stored: its value beside it, or in an inode of its own. */
export interface StoredXattr {
  readonly index: number;
  /** Without the prefix that the index stands for. */
  readonly name: Uint8Array;
  /** Empty when the value is in an inode. */
  readonly value: Uint8Array;
  /** Inode that holds the value, 0 when the value is here. */
  readonly valueInode: number;
  readonly valueSize: number;
  /** Only for values in an inode, and only when read from the disk or made for one. */
  readonly hash: number;
}

const NAME_SHIFT = 5;
const VALUE_SHIFT = 16;
const EMPTY = new Uint8Array(0);

const padded = (size: number): number => (size + 3) & ~3;

export function readEntries(region: XattrRegion): StoredXattr[] {
  const entries: StoredXattr[] = [];
  for (let at = region.entriesAt; !xattrIsEnd(region.view, at); at = region.next(at)) {
    const nameAt = at + XATTR_ENTRY.e_name;
    const valueInode = xattrValueInode(region.view, at);
    const valueSize = xattrValueSize(region.view, at);
    const valueAt = region.valueAt(at);
    entries.push({
      index: xattrNameIndex(region.view, at),
      name: region.bytes.slice(nameAt, nameAt + xattrNameLen(region.view, at)),
      value: valueInode !== 0 || valueSize === 0 ? EMPTY : region.bytes.slice(valueAt, valueAt + valueSize),
      valueInode,
      valueSize,
      hash: xattrEntryHash(region.view, at),
    });
  }
  return entries;
}

export function indexOfEntry(entries: readonly StoredXattr[], index: number, name: Uint8Array): number {
  return entries.findIndex((entry) => entry.index === index && isEqual(entry.name, name));
}

const isEqual = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, at) => byte === b[at]);

/** Bytes that the entries take, with the mark behind them. */
export function entriesSize(entries: readonly StoredXattr[]): number {
  let size: number = XATTR_ENTRY.END_MARK_SIZE;
  for (const entry of entries) size += xattrEntrySize(entry.name.length) + padded(entry.value.length);
  return size;
}

/** The order that searches in attribute blocks rely on (kernel: ext4_xattr_find_entry). */
export function sortEntries(entries: StoredXattr[]): void {
  entries.sort((a, b) => a.index - b.index || a.name.length - b.name.length || compareBytes(a.name, b.name));
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  for (let at = 0; at < a.length; at++) {
    if (a[at] !== b[at]) return a[at] - b[at];
  }
  return 0;
}

/**
 * Writes the entries from `entriesAt` on and their values before `end`; the gap between is zeroed. Offsets of
 * values count from `valuesAt`. `hashed`: attribute blocks have a hash in each entry, inodes don't.
 */
export function writeEntries(
  bytes: Uint8Array,
  view: DataView,
  entriesAt: number,
  end: number,
  valuesAt: number,
  entries: readonly StoredXattr[],
  hashed: boolean,
): void {
  bytes.fill(0, entriesAt, end);
  let at = entriesAt;
  let valueEnd = end;
  for (const entry of entries) {
    bytes[at + XATTR_ENTRY.e_name_len] = entry.name.length;
    bytes[at + XATTR_ENTRY.e_name_index] = entry.index;
    putU32le(view, at + XATTR_ENTRY.e_value_inum, entry.valueInode);
    putU32le(view, at + XATTR_ENTRY.e_value_size, entry.valueSize);
    if (entry.value.length > 0) {
      valueEnd -= padded(entry.value.length);
      bytes.set(entry.value, valueEnd);
      putU16le(view, at + XATTR_ENTRY.e_value_offs, valueEnd - valuesAt);
    }
    bytes.set(entry.name, at + XATTR_ENTRY.e_name);
    putU32le(view, at + XATTR_ENTRY.e_hash, hashOf(entry, view, valueEnd, hashed));
    at += xattrEntrySize(entry.name.length);
  }
}

function hashOf(entry: StoredXattr, view: DataView, valueAt: number, hashed: boolean): number {
  if (entry.valueInode !== 0) return entry.hash;
  if (!hashed) return 0;
  let hash = nameHash(entry.name);
  for (let at = 0; at < entry.value.length; at += 4) hash = mixWord(hash, u32le(view, valueAt + at));
  return hash >>> 0;
}

/** The hash of an entry whose value is in an inode (kernel: ext4_xattr_hash_entry). */
export const valueInodeEntryHash = (name: Uint8Array, valueHash: number): number =>
  mixWord(nameHash(name), valueHash) >>> 0;

function nameHash(name: Uint8Array): number {
  let hash = 0;
  for (const byte of name) hash = (hash << NAME_SHIFT) ^ (hash >>> (32 - NAME_SHIFT)) ^ byte;
  return hash;
}

const mixWord = (hash: number, word: number): number => (hash << VALUE_SHIFT) ^ (hash >>> (32 - VALUE_SHIFT)) ^ word;

/** Hash of all entries of an attribute block; 0, "not to be shared", when one has none (kernel: ext4_xattr_rehash). */
export function blockHash(view: DataView, entriesAt: number): number {
  let hash = 0;
  for (let at = entriesAt; !xattrIsEnd(view, at); at += xattrEntrySize(xattrNameLen(view, at))) {
    const entryHash = xattrEntryHash(view, at);
    if (entryHash === 0) return 0;
    hash = mixWord(hash, entryHash);
  }
  return hash >>> 0;
}
