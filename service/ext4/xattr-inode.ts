/** Attribute values too large for a block: each the content of an inode of its own (feature ea_inode). */
import type { Ext4Context } from './context.ts';
import { CorruptionError } from './errors.ts';
import type { Inode } from './inode.ts';
import { InodeFlag } from './layout/inode.ts';
import { XATTR_ENTRY, xattrEntryHash, xattrNameLen, xattrValueInode, xattrValueSize } from './layout/xattr.ts';
import type { XattrRegion } from './xattr-region.ts';

const NAME_SHIFT = 5;
const VALUE_SHIFT = 16;

/**
 * The value of an entry of `owner` that refers to an inode. The region has been verified: the size is within
 * limits.
 */
export function readValueInode(ctx: Ext4Context, owner: Inode, region: XattrRegion, entry: number): Uint8Array {
  const size = xattrValueSize(region.view, entry);
  const storedHash = xattrEntryHash(region.view, entry);
  const nameAt = entry + XATTR_ENTRY.e_name;
  const name = region.bytes.subarray(nameAt, nameAt + xattrNameLen(region.view, entry));
  const valueInode = ctx.inode(xattrValueInode(region.view, entry));
  const finding = valueInodeFinding(valueInode, size);
  if (finding !== '') throw new CorruptionError('attribute inode', finding, { inode: valueInode.ino });
  const value = readContent(ctx, valueInode, size);
  if (!isOldStyle(valueInode, owner)) checkHashes(ctx, valueInode, value, name, storedHash);
  return value;
}

function valueInodeFinding(inode: Inode, size: number): string {
  if (!inode.hasFlag(InodeFlag.EA_INODE)) return 'not marked as one';
  if (inode.xattrBlock !== 0) return 'has attributes itself';
  return inode.sizeBytes === size ? '' : `size ${inode.sizeBytes}, expected ${size}`;
}

function readContent(ctx: Ext4Context, inode: Inode, size: number): Uint8Array {
  const value = new Uint8Array(size);
  for (let at = 0; at < size; at += ctx.blockSize) {
    const block = ctx.fileBlock(inode, at / ctx.blockSize);
    if (block === null) throw new CorruptionError('attribute inode', `hole at ${at}`, { inode: inode.ino });
    value.set(block.bytes.subarray(0, Math.min(ctx.blockSize, size - at)), at);
  }
  return value;
}

/** Lustre's, older than the hashes: they point back at their only owner instead (mtime and generation). */
function isOldStyle(inode: Inode, owner: Inode): boolean {
  return inode.mtimeSec >>> 0 === owner.ino && inode.generation === owner.generation;
}

/** The value's checksum is in the inode's atime; the entry's hash is made of the name and of that. */
function checkHashes(ctx: Ext4Context, inode: Inode, value: Uint8Array, name: Uint8Array, storedHash: number): void {
  const valueHash = ctx.checksum.crc32c(ctx.checksum.seed, value, 0, value.length) >>> 0;
  if (valueHash !== inode.atimeSec >>> 0) {
    throw new CorruptionError('attribute inode', `content hash 0x${valueHash.toString(16)} is not the stored one`, {
      inode: inode.ino,
    });
  }
  if (entryHash(name, valueHash, false) !== storedHash && entryHash(name, valueHash, true) !== storedHash) {
    throw new CorruptionError('attribute entry', `hash 0x${storedHash.toString(16)} does not fit name and value`, {
      inode: inode.ino,
    });
  }
}

/** Old kernels took the name's bytes as signed on some machines: both results are in the wild. */
function entryHash(name: Uint8Array, valueHash: number, signed: boolean): number {
  let hash = 0;
  for (let at = 0; at < name.length; at++) {
    const byte = signed ? (name[at] << 24) >> 24 : name[at];
    hash = (hash << NAME_SHIFT) ^ (hash >>> (32 - NAME_SHIFT)) ^ byte;
  }
  return ((hash << VALUE_SHIFT) ^ (hash >>> (32 - VALUE_SHIFT)) ^ valueHash) >>> 0;
}
