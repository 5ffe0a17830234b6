/** Where an attribute goes: into the inode while it fits, else into its block, else into an inode of its own. */
import { Errno } from '../../shared/errno.ts';
import { FsError } from './errors.ts';
import { handleIsFull } from './handle-budget.ts';
import type { Inode } from './inode.ts';
import { Incompat } from './layout/features.ts';
import { XATTR_HEADER, xattrEntrySize } from './layout/xattr.ts';
import type { WriteContext } from './write-context.ts';
import {
  fitIntoBlock,
  isBlockShared,
  readBlockEntries,
  releaseXattrBlock,
  writeBlockEntries,
} from './xattr-block-write.ts';
import { indexOfEntry, type StoredXattr, valueInodeEntryHash } from './xattr-entries.ts';
import { fitIntoBody, readBodyEntries, writeBodyEntries } from './xattr-inode-body.ts';
import { createValueInode, releaseValueInode } from './xattr-inode-write.ts';

const NO_VALUE = new Uint8Array(0);
const NOWHERE = -1;

/** Whether the inode has the attribute. */
export function hasStored(ctx: WriteContext, inode: Inode, index: number, name: Uint8Array): boolean {
  return (
    indexOfEntry(readBodyEntries(ctx, inode), index, name) !== NOWHERE ||
    indexOfEntry(readBlockEntries(ctx, inode), index, name) !== NOWHERE
  );
}

/** The value of a small attribute, null when there is none. */
export function readStored(ctx: WriteContext, inode: Inode, index: number, name: Uint8Array): Uint8Array | null {
  const body = readBodyEntries(ctx, inode);
  const entry = takeOut(body, index, name) ?? takeOut(readBlockEntries(ctx, inode), index, name);
  if (entry === null) return null;
  if (entry.valueInode !== 0) throw new FsError(Errno.EFBIG, `attribute of inode ${inode.ino} in an inode of its own`);
  return entry.value;
}

/** Sets or replaces the attribute. Throws FsError ENOSPC when it fits nowhere. */
export function putStored(ctx: WriteContext, inode: Inode, index: number, name: Uint8Array, value: Uint8Array): void {
  const body = readBodyEntries(ctx, inode);
  const inBlock = readBlockEntries(ctx, inode);
  const oldInBody = takeOut(body, index, name);
  const old = oldInBody ?? takeOut(inBlock, index, name);
  const isInBlock = old !== null && oldInBody === null;
  const here: StoredXattr = { index, name, value, valueInode: 0, valueSize: value.length, hash: 0 };
  const large = value.length > largeValueBytes(ctx);
  if (!(large && hasValueInodes(ctx)) && place(ctx, inode, body, inBlock, here, isInBlock)) {
    releaseOld(ctx, inode, old);
    return;
  }
  if (!hasValueInodes(ctx)) throw new FsError(Errno.ENOSPC, `no room for an attribute of ${value.length} bytes`);
  const { ino, valueHash } = createValueInode(ctx, inode, value);
  const hash = valueInodeEntryHash(name, valueHash);
  const elsewhere: StoredXattr = { ...here, value: NO_VALUE, valueInode: ino, hash };
  if (!place(ctx, inode, body, inBlock, elsewhere, isInBlock)) {
    throw new FsError(Errno.ENOSPC, `no room for the entry of an attribute of ${value.length} bytes`);
  }
  releaseOld(ctx, inode, old);
}

/** Removes the attribute; false when there is none. */
export function removeStored(ctx: WriteContext, inode: Inode, index: number, name: Uint8Array): boolean {
  const body = readBodyEntries(ctx, inode);
  const fromBody = takeOut(body, index, name);
  if (fromBody !== null) {
    writeBodyEntries(ctx, inode, body);
    releaseOld(ctx, inode, fromBody);
    return true;
  }
  const inBlock = readBlockEntries(ctx, inode);
  const fromBlock = takeOut(inBlock, index, name);
  if (fromBlock === null) return false;
  writeBlockEntries(ctx, inode, inBlock);
  releaseOld(ctx, inode, fromBlock);
  return true;
}

/**
 * The inode is being deleted: its block and the inodes of its values go, of which there can be more than one handle
 * should change. True when all are gone.
 */
export function releaseStored(ctx: WriteContext, inode: Inode): boolean {
  const body = readBodyEntries(ctx, inode);
  if (releaseValues(ctx, inode, body)) writeBodyEntries(ctx, inode, body);
  if (!isBlockShared(ctx, inode)) {
    const inBlock = readBlockEntries(ctx, inode);
    if (releaseValues(ctx, inode, inBlock)) writeBlockEntries(ctx, inode, inBlock);
    if (inBlock.some(hasValueInode)) return false;
  }
  if (body.some(hasValueInode)) return false;
  releaseXattrBlock(ctx, inode);
  return true;
}

/** Takes entries with an inode of their own out until the handle is full; true when there were any. */
function releaseValues(ctx: WriteContext, inode: Inode, entries: StoredXattr[]): boolean {
  let released = false;
  for (let at = entries.length - 1; at >= 0 && !handleIsFull(ctx); at--) {
    if (!hasValueInode(entries[at])) continue;
    releaseOld(ctx, inode, entries[at]);
    entries.splice(at, 1);
    released = true;
  }
  return released;
}

const hasValueInode = (entry: StoredXattr): boolean => entry.valueInode !== 0;

const hasValueInodes = (ctx: WriteContext): boolean => ctx.superblock.hasIncompat(Incompat.EA_INODE);

/** Above this a value never fits into a block beside the shortest of names (kernel: EXT4_XATTR_MIN_LARGE_EA_SIZE). */
const largeValueBytes = (ctx: WriteContext): number => ctx.blockSize - xattrEntrySize(3) - XATTR_HEADER.SIZE - 4;

function takeOut(entries: StoredXattr[], index: number, name: Uint8Array): StoredXattr | null {
  const at = indexOfEntry(entries, index, name);
  return at === NOWHERE ? null : (entries.splice(at, 1)[0] ?? null);
}

/** Writes the entry to the first place that has room for it, and takes the old one out; false when neither has. */
function place(
  ctx: WriteContext,
  inode: Inode,
  body: readonly StoredXattr[],
  inBlock: readonly StoredXattr[],
  entry: StoredXattr,
  oldIsInBlock: boolean,
): boolean {
  const bodyWith = [...body, entry];
  if (fitIntoBody(ctx, inode, bodyWith)) {
    writeBodyEntries(ctx, inode, bodyWith);
    if (oldIsInBlock) writeBlockEntries(ctx, inode, [...inBlock]);
    return true;
  }
  const blockWith = [...inBlock, entry];
  if (!fitIntoBlock(ctx, blockWith)) return false;
  writeBlockEntries(ctx, inode, blockWith);
  writeBodyEntries(ctx, inode, body);
  return true;
}

function releaseOld(ctx: WriteContext, inode: Inode, entry: StoredXattr | null): void {
  if (entry !== null && entry.valueInode !== 0) releaseValueInode(ctx, inode, entry.valueInode, entry.valueSize);
}
