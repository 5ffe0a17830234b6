import { Errno } from '../../shared/errno.ts';
import { FsError } from './errors.ts';
import type { Inode } from './inode.ts';
import { maxSizeBytes } from './map-write.ts';
import { requireLargeFile } from './superblock-write.ts';
import type { WriteContext } from './write-context.ts';

/** From here on the file system must say that it has large files. */
const LARGE_FILE_BYTES = 2 ** 31;

/** Within the open handle. */
export function setFileSize(ctx: WriteContext, inode: Inode, sizeBytes: number): void {
  ctx.inodes.modify(inode);
  inode.sizeBytes = sizeBytes;
  if (sizeBytes >= LARGE_FILE_BYTES) requireLargeFile(ctx);
}

export function requirePossibleSize(ctx: WriteContext, inode: Inode, sizeBytes: number): void {
  if (!(sizeBytes >= 0)) throw new FsError(Errno.EINVAL, `size ${sizeBytes} is impossible`);
  if (sizeBytes > maxSizeBytes(ctx, inode)) {
    throw new FsError(Errno.EFBIG, `the map of inode ${inode.ino} can't describe ${sizeBytes} bytes`);
  }
}
