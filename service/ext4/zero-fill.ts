import { DeviceError } from './errors.ts';
import type { Inode } from './inode.ts';
import { isCallers } from './mappable.ts';
import { Mapping, MappingType } from './mapping.ts';
import type { WriteContext } from './write-context.ts';

const mapping = new Mapping();
let zeros = new Uint8Array(0);

/** File data, through the page cache of the device. */
export function writeDevice(ctx: WriteContext, deviceOffset: number, bytes: Uint8Array): void {
  const errno = ctx.device.write(deviceOffset, bytes);
  if (errno !== 0) throw new DeviceError(errno, 'write', deviceOffset, bytes.length);
}

/** Makes bytes [from, end) of the file, all in one block, zero on the device unless they read as zeros anyway. */
export function zeroInBlock(ctx: WriteContext, inode: Inode, from: number, end: number): void {
  const { blockSize } = ctx;
  ctx.mapBlocks(inode, Math.floor(from / blockSize), mapping);
  if (mapping.type !== MappingType.WRITTEN || isCallers(ctx, inode)) return;
  if (zeros.length < blockSize) zeros = new Uint8Array(blockSize);
  writeDevice(ctx, mapping.pblk * blockSize + (from - mapping.lblk * blockSize), zeros.subarray(0, end - from));
}

/**
 * The file is about to grow so that its bytes up to `end` count: what its last block holds behind the old end, left
 * there by a mapped write or by somebody else, must read as zeros.
 */
export function zeroBehindEnd(ctx: WriteContext, inode: Inode, end: number): void {
  const { blockSize } = ctx;
  const { sizeBytes } = inode;
  const inBlock = sizeBytes % blockSize;
  if (inBlock === 0 || end <= sizeBytes) return;
  zeroInBlock(ctx, inode, sizeBytes, Math.min(end, sizeBytes - inBlock + blockSize));
}
