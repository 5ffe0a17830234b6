/**
 * The two places where an inode's extended attributes are: the rest of its own record, and one block of
 * their own. Opening a region verifies it; its entries may be trusted then.
 */
import { u32le } from '../../shared/bytes.ts';
import { BlockCheck, type CachedBlock } from './buffer-cache.ts';
import type { Ext4Context } from './context.ts';
import { CorruptionError } from './errors.ts';
import type { Inode } from './inode.ts';
import { Incompat } from './layout/features.ts';
import { INODE, SpecialInode } from './layout/inode.ts';
import {
  XATTR_ENTRY,
  XATTR_HEADER,
  XATTR_INODE_HEADER_SIZE,
  XATTR_MAGIC,
  XATTR_VALUE_MAX,
  xattrEntrySize,
  xattrIsEnd,
  xattrNameIndex,
  xattrNameLen,
  xattrValueInode,
  xattrValueOffset,
  xattrValueSize,
} from './layout/xattr.ts';

const EMPTY = new Uint8Array(0);
const EMPTY_VIEW = new DataView(new ArrayBuffer(0));

/** Reused by callers: `openInode` or `openBlock` first. All offsets are in `bytes`. */
export class XattrRegion {
  bytes: Uint8Array = EMPTY;
  view: DataView = EMPTY_VIEW;
  entriesAt = 0;
  #valuesAt = 0;
  #end = 0;

  /** The attributes in the inode itself. False when there are none. */
  openInode(ctx: Ext4Context, inode: Inode): boolean {
    const start = INODE.BASE_SIZE + inode.extraSizeBytes;
    const size = ctx.superblock.inodeSizeBytes;
    if (inode.extraSizeBytes === 0 || start + XATTR_INODE_HEADER_SIZE + XATTR_ENTRY.END_MARK_SIZE > size) return false;
    const block = ctx.cache.get(inode.tableBlock);
    const headerAt = inode.tableOffset + start;
    if (u32le(block.view, headerAt) !== XATTR_MAGIC) return false;
    const entriesAt = headerAt + XATTR_INODE_HEADER_SIZE;
    this.#place(block, entriesAt, entriesAt, inode.tableOffset + size);
    this.#verify(ctx, 'attributes in the inode', inode.ino, block.blockNr);
    return true;
  }

  /** The attributes in the inode's attribute block. False when it has none. */
  openBlock(ctx: Ext4Context, inode: Inode): boolean {
    if (inode.xattrBlock === 0) return false;
    ctx.checkDataBlocks(inode.xattrBlock, 1, 'attribute block', inode.ino);
    const block = ctx.cache.get(inode.xattrBlock);
    this.#place(block, XATTR_HEADER.SIZE, 0, ctx.blockSize);
    if ((block.checked & BlockCheck.XATTR_BLOCK) === 0) {
      const finding = headerFinding(ctx, block);
      if (finding !== '') {
        throw new CorruptionError('attribute block', finding, { inode: inode.ino, block: block.blockNr });
      }
      this.#verify(ctx, 'attribute block', inode.ino, block.blockNr);
      block.checked |= BlockCheck.XATTR_BLOCK;
    }
    return true;
  }

  /** Offset of the entry named so, -1 when there is none. */
  find(nameIndex: number, name: Uint8Array, start: number, end: number): number {
    const nameLen = end - start;
    for (let at = this.entriesAt; !xattrIsEnd(this.view, at); at = this.next(at)) {
      if (xattrNameIndex(this.view, at) !== nameIndex || xattrNameLen(this.view, at) !== nameLen) continue;
      if (isNamed(this.bytes, at + XATTR_ENTRY.e_name, name, start, end)) return at;
    }
    return -1;
  }

  next(at: number): number {
    return at + xattrEntrySize(xattrNameLen(this.view, at));
  }

  /** Where the entry's value is, if it is in this region and not empty. */
  valueAt(at: number): number {
    return this.#valuesAt + xattrValueOffset(this.view, at);
  }

  #place(block: CachedBlock, entriesAt: number, valuesAt: number, end: number): void {
    this.bytes = block.bytes;
    this.view = block.view;
    this.entriesAt = entriesAt;
    this.#valuesAt = valuesAt;
    this.#end = end;
  }

  #verify(ctx: Ext4Context, structure: string, ino: number, blockNr: number): void {
    const finding = this.#entriesFinding(ctx);
    if (finding !== '') throw new CorruptionError(structure, finding, { inode: ino, block: blockNr });
  }

  #entriesFinding(ctx: Ext4Context): string {
    const namesEnd = this.#namesEnd();
    if (namesEnd < 0) return 'names without an end';
    for (let at = this.entriesAt; at < namesEnd; at = this.next(at)) {
      const finding = this.#valueFinding(ctx, at, namesEnd + XATTR_ENTRY.END_MARK_SIZE);
      if (finding !== '') return `entry at ${at - this.entriesAt}: ${finding}`;
    }
    return '';
  }

  /** Offset of the mark that ends the entries, -1 when there is none or a name has a NUL. */
  #namesEnd(): number {
    let at = this.entriesAt;
    while (at + XATTR_ENTRY.END_MARK_SIZE <= this.#end) {
      if (xattrIsEnd(this.view, at)) return at;
      if (at + XATTR_ENTRY.e_name > this.#end) return -1;
      const nameAt = at + XATTR_ENTRY.e_name;
      const nameEnd = nameAt + xattrNameLen(this.view, at);
      if (nameEnd > this.#end || hasNul(this.bytes, nameAt, nameEnd)) return -1;
      at = this.next(at);
    }
    return -1;
  }

  #valueFinding(ctx: Ext4Context, at: number, freeAt: number): string {
    const size = xattrValueSize(this.view, at);
    const ino = xattrValueInode(this.view, at);
    if (size > XATTR_VALUE_MAX) return `value of ${size} bytes`;
    if (ino !== 0) return valueInodeFinding(ctx, ino);
    if (size === 0) return '';
    const valueAt = this.valueAt(at);
    const padded = (size + 3) & ~3;
    if (valueAt < freeAt) return `value at ${valueAt - this.#valuesAt} overlaps the names`;
    return valueAt + padded > this.#end
      ? `value of ${size} bytes at ${valueAt - this.#valuesAt} leads past the end`
      : '';
  }
}

function headerFinding(ctx: Ext4Context, block: CachedBlock): string {
  const { view } = block;
  if (u32le(view, XATTR_HEADER.h_magic) !== XATTR_MAGIC) return 'bad magic';
  const blocks = u32le(view, XATTR_HEADER.h_blocks);
  if (blocks !== 1) return `h_blocks ${blocks}`;
  const references = u32le(view, XATTR_HEADER.h_refcount);
  if (references === 0 || references > XATTR_HEADER.MAX_REFCOUNT) return `h_refcount ${references}`;
  if (!ctx.checksum.enabled) return '';
  const computed = xattrBlockChecksum(ctx, block);
  const stored = u32le(view, XATTR_HEADER.h_checksum);
  return stored === computed ? '' : `checksum 0x${stored.toString(16)}, expected 0x${computed.toString(16)}`;
}

/** Of the block's number and its content, with an empty checksum field. */
export function xattrBlockChecksum(ctx: Ext4Context, block: CachedBlock): number {
  const { checksum } = ctx;
  const { bytes } = block;
  const low = checksum.u32(checksum.seed, block.blockNr >>> 0);
  const numbered = checksum.u32(low, Math.floor(block.blockNr / 2 ** 32));
  const head = checksum.u32(checksum.crc32c(numbered, bytes, 0, XATTR_HEADER.h_checksum), 0);
  return checksum.crc32c(head, bytes, XATTR_HEADER.h_checksum + 4, ctx.blockSize) >>> 0;
}

function valueInodeFinding(ctx: Ext4Context, ino: number): string {
  const { superblock } = ctx;
  if (!superblock.hasIncompat(Incompat.EA_INODE)) return `value in inode ${ino} without the ea_inode feature`;
  const isOrdinary = ino >= superblock.firstInode && ino <= superblock.inodesCount && ino !== SpecialInode.ROOT;
  return isOrdinary ? '' : `value in inode ${ino}`;
}

function hasNul(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (bytes[at] === 0) return true;
  return false;
}

function isNamed(bytes: Uint8Array, at: number, name: Uint8Array, start: number, end: number): boolean {
  for (let index = start; index < end; index++) {
    if (bytes[at + index - start] !== name[index]) return false;
  }
  return true;
}
