/** Builds attribute areas byte by byte for tests of the reader. */

import type { Inode } from '../../service/ext4/inode.ts';
import { putU16le, putU32le, viewOf } from '../../shared/bytes.ts';
import { bytesOf } from './directory-builder.ts';
import type { FakeExt4Context } from './fake-ext4-context.ts';

export interface Attribute {
  readonly index: number;
  readonly name: string;
  readonly value?: Uint8Array;
  /** Instead of a value. */
  readonly inode?: number;
  readonly size?: number;
  readonly hash?: number;
}

const pad = (length: number): number => (length + 3) & ~3;

/** Entries from `entriesAt` up, values from the end down, at offsets relative to `valuesAt`. */
function place(area: Uint8Array, entriesAt: number, valuesAt: number, attributes: readonly Attribute[]): void {
  const view = viewOf(area);
  let at = entriesAt;
  let free = area.length;
  for (const { index, name, value = new Uint8Array(0), inode = 0, size = value.length, hash = 0 } of attributes) {
    free -= pad(value.length);
    const nameBytes = bytesOf(name);
    area[at] = nameBytes.length;
    area[at + 1] = index;
    putU16le(view, at + 2, value.length === 0 ? 0 : free - valuesAt);
    putU32le(view, at + 4, inode);
    putU32le(view, at + 8, size);
    putU32le(view, at + 12, hash);
    area.set(nameBytes, at + 16);
    area.set(value, free);
    at += pad(16 + nameBytes.length);
  }
  if (at + 4 > free) throw new Error('attributes do not fit');
}

/** Writes attributes behind an inode's fields. */
export function setInodeAttributes(context: FakeExt4Context, inode: Inode, attributes: readonly Attribute[]): void {
  const start = 128 + inode.extraSizeBytes;
  const area = new Uint8Array(context.superblock.inodeSizeBytes - start);
  putU32le(viewOf(area), 0, 0xea020000);
  place(area, 4, 4, attributes);
  context.writeBlock(inode.tableBlock, area, inode.tableOffset + start);
}

/** The attribute block that belongs at `pblk`, with its checksum. */
export function attributeBlock(context: FakeExt4Context, pblk: number, attributes: readonly Attribute[]): Uint8Array {
  const block = new Uint8Array(context.blockSize);
  const view = viewOf(block);
  putU32le(view, 0, 0xea020000);
  putU32le(view, 4, 1);
  putU32le(view, 8, 1);
  place(block, 32, 0, attributes);
  return sealAttributeBlock(context, pblk, block);
}

export function sealAttributeBlock(context: FakeExt4Context, pblk: number, block: Uint8Array): Uint8Array {
  const view = viewOf(block);
  const number = new Uint8Array(8);
  putU32le(viewOf(number), 0, pblk);
  putU32le(view, 16, 0);
  const { crc32c, seed } = context.checksum;
  putU32le(view, 16, crc32c(crc32c(seed, number, 0, 8), block, 0, block.length));
  return block;
}

export function setBlockAttributes(context: FakeExt4Context, inode: Inode, attributes: readonly Attribute[]): void {
  if (inode.xattrBlock === 0) inode.xattrBlock = context.allocate();
  context.writeBlock(inode.xattrBlock, attributeBlock(context, inode.xattrBlock, attributes));
}
