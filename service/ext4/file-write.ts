import { Errno } from '../../shared/errno.ts';
import { FsError, SpaceAwaitsCommit } from './errors.ts';
import { requirePossibleSize, setFileSize } from './file-size.ts';
import { touchWritten } from './file-times.ts';
import { handleIsFull } from './handle-budget.ts';
import { readInlineData } from './inline-data.ts';
import { inlineCapacityBytes, writeInlineData } from './inline-data-write.ts';
import { expandInlineFile } from './inline-expand.ts';
import type { Inode } from './inode.ts';
import { atomically } from './journal/atomically.ts';
import { InodeFlag } from './layout/inode.ts';
import { allocateBlocks, convertToWritten, maxSizeBytes } from './map-write.ts';
import { Mapping, MappingType } from './mapping.ts';
import type { WriteContext } from './write-context.ts';
import { writeDevice, zeroBehindEnd } from './zero-fill.ts';

const mapping = new Mapping();
let edge = new Uint8Array(0);

/**
 * Writes `bytes` to the file, at any alignment, through the page cache of the device; the next commit's flush makes
 * data and metadata durable in that order. Returns how many bytes were written: fewer than given only when space or
 * the largest possible size ran out on the way. Opens its own handles. Set-user-ID is the caller's business.
 */
export function writeSmall(ctx: WriteContext, inode: Inode, offset: number, bytes: Uint8Array): number {
  if (bytes.length === 0) return 0;
  requirePossibleSize(ctx, inode, offset + 1);
  const length = Math.min(bytes.length, maxSizeBytes(ctx, inode) - offset);
  let done = 0;
  let byBlock = false;
  while (done < length) {
    const at = offset + done;
    const part = byBlock ? Math.min(length - done, ctx.blockSize - (at % ctx.blockSize)) : length - done;
    try {
      done += atomically(ctx.handle, () => writePart(ctx, inode, at, bytes.subarray(done, done + part)));
    } catch (error) {
      if (!isOutOfSpace(error)) throw error;
      if (part > ctx.blockSize - (at % ctx.blockSize)) byBlock = true;
      else if (done === 0) throw error;
      else return done;
    }
  }
  return done;
}

/** There is no space, and there won't be after the next commit either: then it is worth to ask again. */
export const isOutOfSpace = (error: unknown): boolean =>
  error instanceof FsError && error.errno === Errno.ENOSPC && !(error instanceof SpaceAwaitsCommit);

/** Writes as much as one handle should, and returns how much that was. */
function writePart(ctx: WriteContext, inode: Inode, offset: number, bytes: Uint8Array): number {
  const end = offset + bytes.length;
  if (inode.hasFlag(InodeFlag.INLINE_DATA)) {
    if (end <= inlineCapacityBytes(ctx, inode)) return writeInline(ctx, inode, offset, bytes);
    expandInlineFile(ctx, inode);
  }
  zeroBehindEnd(ctx, inode, offset);
  let at = offset;
  do at = writeRun(ctx, inode, at, end, bytes, offset);
  while (at < end && !handleIsFull(ctx));
  if (at > inode.sizeBytes) setFileSize(ctx, inode, at);
  touchWritten(ctx, inode);
  return at - offset;
}

function writeInline(ctx: WriteContext, inode: Inode, offset: number, bytes: Uint8Array): number {
  const old = readInlineData(ctx, inode);
  const data = new Uint8Array(Math.max(old.length, offset + bytes.length));
  data.set(old);
  data.set(bytes, offset);
  writeInlineData(ctx, inode, data);
  setFileSize(ctx, inode, data.length);
  touchWritten(ctx, inode);
  return bytes.length;
}

/** Writes from file offset `at` on what one mapping takes; `bytes` belong to `base`. Returns where it ends. */
function writeRun(ctx: WriteContext, inode: Inode, at: number, end: number, bytes: Uint8Array, base: number): number {
  const { blockSize } = ctx;
  const lblk = Math.floor(at / blockSize);
  const wantBlocks = Math.ceil(end / blockSize) - lblk;
  ctx.mapBlocks(inode, lblk, mapping);
  const { type } = mapping;
  if (type === MappingType.HOLE) {
    allocateBlocks(
      ctx,
      inode,
      lblk,
      Math.min(wantBlocks, mapping.lblk + mapping.lenBlocks - lblk),
      MappingType.WRITTEN,
      mapping,
    );
  }
  const runBlocks = Math.min(wantBlocks, mapping.lblk + mapping.lenBlocks - lblk);
  const runEnd = Math.min(end, (lblk + runBlocks) * blockSize);
  const deviceOffset = mapping.pblk * blockSize + (at - mapping.lblk * blockSize);
  const data = bytes.subarray(at - base, runEnd - base);
  if (type === MappingType.WRITTEN) writeDevice(ctx, deviceOffset, data);
  else writeNewBlocks(ctx, deviceOffset, data);
  if (type === MappingType.UNWRITTEN) convertToWritten(ctx, inode, lblk, runBlocks);
  return runEnd;
}

/** Writes to blocks whose content counts for nothing: the rest of the first and the last becomes zero. */
function writeNewBlocks(ctx: WriteContext, deviceOffset: number, data: Uint8Array): void {
  const { blockSize } = ctx;
  const inBlock = deviceOffset % blockSize;
  const head = inBlock === 0 ? 0 : Math.min(data.length, blockSize - inBlock);
  if (head > 0) writeEdge(ctx, deviceOffset - inBlock, inBlock, data.subarray(0, head));
  const tail = (data.length - head) % blockSize;
  const whole = data.length - head - tail;
  if (whole > 0) writeDevice(ctx, deviceOffset + head, data.subarray(head, head + whole));
  if (tail > 0) writeEdge(ctx, deviceOffset + head + whole, 0, data.subarray(head + whole));
}

/** Writes a block of zeros but for `data` at `inBlock`. */
function writeEdge(ctx: WriteContext, deviceOffset: number, inBlock: number, data: Uint8Array): void {
  if (edge.length !== ctx.blockSize) edge = new Uint8Array(ctx.blockSize);
  edge.fill(0);
  edge.set(data, inBlock);
  writeDevice(ctx, deviceOffset, edge);
}
