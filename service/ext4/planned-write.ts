/**
 * Large writes of whole blocks, which native threads carry out past the page cache: `planWrite` says where the data
 * goes, and when it is there `finishWrite` makes it part of the file. A crash between the two leaves the file as it
 * was.
 */
import { requirePossibleSize, setFileSize } from './file-size.ts';
import { touchWritten } from './file-times.ts';
import { isOutOfSpace } from './file-write.ts';
import type { Inode } from './inode.ts';
import { atomically } from './journal/atomically.ts';
import { InodeFlag } from './layout/inode.ts';
import { allocateBlocks, convertSome, hasExtents, maxSizeBytes } from './map-write.ts';
import { Mapping, MappingType } from './mapping.ts';
import type { WriteContext } from './write-context.ts';
import { zeroBehindEnd } from './zero-fill.ts';

const FIRST_SEGMENTS = 64;

/** Where the data of one write goes. Reused by callers. */
export class WritePlan {
  /** Pairs of device offset and length, in bytes, in the order of the file. */
  segments = new Float64Array(2 * FIRST_SEGMENTS);
  segmentCount = 0;
  /** How much of the write the plan is for, from its beginning on; 0 when `writeSmall` must do it. */
  lengthBytes = 0;

  clear(): void {
    this.segmentCount = 0;
    this.lengthBytes = 0;
  }

  add(deviceOffset: number, lengthBytes: number): void {
    this.lengthBytes += lengthBytes;
    const last = 2 * (this.segmentCount - 1);
    if (last >= 0 && this.segments[last] + this.segments[last + 1] === deviceOffset) {
      this.segments[last + 1] += lengthBytes;
      return;
    }
    if (last + 2 === this.segments.length) {
      const more = new Float64Array(2 * this.segments.length);
      more.set(this.segments);
      this.segments = more;
    }
    this.segments[last + 2] = deviceOffset;
    this.segments[last + 3] = lengthBytes;
    this.segmentCount++;
  }
}

const mapping = new Mapping();

/**
 * Finds the place of `length` bytes at `offset`, allocating unwritten blocks in holes, in handles of its own. The plan
 * covers whole blocks only, and nothing that begins inside a block, is inline, or is a hole of a file with block
 * pointers. When space runs out it covers what there was; with none at all FsError ENOSPC is thrown. When the write
 * begins behind the end of the file, the rest of its last block is zeroed at once: no write to that may be under way.
 */
export function planWrite(ctx: WriteContext, inode: Inode, offset: number, length: number, plan: WritePlan): void {
  const { blockSize } = ctx;
  plan.clear();
  if (length <= 0 || offset % blockSize !== 0 || inode.hasFlag(InodeFlag.INLINE_DATA)) return;
  requirePossibleSize(ctx, inode, offset + 1);
  const possible = Math.min(length, maxSizeBytes(ctx, inode) - offset);
  const endBlock = (offset + possible - (possible % blockSize)) / blockSize;
  let lblk = offset / blockSize;
  if (lblk < endBlock) zeroBehindEnd(ctx, inode, offset);
  while (lblk < endBlock) {
    ctx.mapBlocks(inode, lblk, mapping);
    if (mapping.type === MappingType.HOLE && !fillHole(ctx, inode, lblk, endBlock, plan)) break;
    const lenBlocks = Math.min(endBlock, mapping.lblk + mapping.lenBlocks) - lblk;
    plan.add((mapping.pblk + (lblk - mapping.lblk)) * blockSize, lenBlocks * blockSize);
    lblk += lenBlocks;
  }
}

/** Allocates in the hole that `mapping` tells of; false when the plan must end before it. */
function fillHole(ctx: WriteContext, inode: Inode, lblk: number, endBlock: number, plan: WritePlan): boolean {
  if (!hasExtents(inode)) return false;
  const want = Math.min(endBlock, mapping.lblk + mapping.lenBlocks) - lblk;
  try {
    atomically(ctx.handle, () => allocateBlocks(ctx, inode, lblk, want, MappingType.UNWRITTEN, mapping));
    return true;
  } catch (error) {
    if (isOutOfSpace(error) && plan.lengthBytes > 0) return false;
    throw error;
  }
}

/**
 * The data of a planned write is on the device, or in its cache: it becomes part of the file. One handle unless the
 * blocks are scattered over very many; may be repeated.
 */
export function finishWrite(ctx: WriteContext, inode: Inode, offset: number, length: number): void {
  const { blockSize } = ctx;
  const end = offset + length;
  const endBlock = Math.ceil(end / blockSize);
  let from = Math.floor(offset / blockSize);
  while (from < endBlock) {
    from = atomically(ctx.handle, () => finishSome(ctx, inode, from, end, true));
  }
}

/**
 * Within the open handle: makes data that is on the device part of the file, from file block `from` on up to byte
 * `end`, as much as the handle should. Returns the block that it reached. `grows`: the file becomes so long at least.
 */
export function finishSome(ctx: WriteContext, inode: Inode, from: number, end: number, grows: boolean): number {
  const reached = convertSome(ctx, inode, from, Math.ceil(end / ctx.blockSize), false);
  const reachedBytes = Math.min(end, reached * ctx.blockSize);
  if (grows && reachedBytes > inode.sizeBytes) setFileSize(ctx, inode, reachedBytes);
  touchWritten(ctx, inode);
  return reached;
}
