import { Errno } from '../../shared/errno.ts';
import { InodeFlag } from '../ext4/layout/inode.ts';
import { COPY_FILE_RANGE_IN } from '../fuse/abi.ts';
import type { Request } from '../fuse/request.ts';
import type { WritableEngine } from './engine.ts';
import type { FileWriter } from './file-writer.ts';
import { inodeOf } from './nodes.ts';

/** What one request copies at most, so that others get their turn; the caller asks again for the rest. */
const COPY_BYTES_MAX = 2 ** 20;

let buffer = new Uint8Array(0);

/** Copies without the data passing through the kernel. */
export class RangeCopy {
  /** How much was copied. */
  copiedBytes = 0;

  /** COPY_FILE_RANGE. The kernel has written back what it had of both ranges, and checked that they don't overlap. */
  run(engine: WritableEngine, writer: FileWriter, request: Request): number {
    this.copiedBytes = 0;
    const from = inodeOf(engine, request.nodeId);
    const to = inodeOf(engine, request.u64(COPY_FILE_RANGE_IN.nodeid_out));
    if (!from.isRegular || !to.isRegular) return Errno.EINVAL;
    const fromOffset = request.u64(COPY_FILE_RANGE_IN.off_in);
    const toOffset = request.u64(COPY_FILE_RANGE_IN.off_out);
    if (request.u32(COPY_FILE_RANGE_IN.flags) !== 0) return Errno.EINVAL;
    const lengthBytes = Math.min(request.u64(COPY_FILE_RANGE_IN.len), COPY_BYTES_MAX, from.sizeBytes - fromOffset);
    if (lengthBytes <= 0) return Errno.OK;
    if (toOffset + lengthBytes > Number.MAX_SAFE_INTEGER) return Errno.EFBIG;
    if (to.hasFlag(InodeFlag.IMMUTABLE)) return Errno.EPERM;
    writer.waitFor(from.ino);
    writer.waitFor(to.ino);
    if (buffer.length === 0) buffer = new Uint8Array(COPY_BYTES_MAX);
    writer.changedBy(to, request.uid);
    const readBytes = engine.readFile(from, fromOffset, buffer.subarray(0, lengthBytes));
    this.copiedBytes = engine.writeSmall(to, toOffset, buffer.subarray(0, readBytes));
    return Errno.OK;
  }
}
