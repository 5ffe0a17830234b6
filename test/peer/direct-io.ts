import { Errno } from '../../shared/errno.ts';
import type { BufferedIo, DataContext } from './buffered-io.ts';
import type { Task } from './connection.ts';
import { type Mapping, NO_ADDRESS } from './mapping.ts';
import { addressOf, readsAsZeros, usable } from './mapping-requests.ts';
import type { PeerInode } from './peer-inode.ts';
import { IoendFlag, MappingFlag, MappingType, OpFlag } from './profile.ts';
import { Violation } from './violation.ts';

const SECTOR_BYTES = 512;
/** "Do it through the page cache." */
export const FALL_BACK = Number.NEGATIVE_INFINITY;

/** Reads and writes past the page cache. Positions and lengths are of whole sectors. */
export class DirectIo {
  readonly #context: DataContext;
  readonly #buffered: BufferedIo;

  constructor(context: DataContext, buffered: BufferedIo) {
    this.#context = context;
    this.#buffered = buffered;
  }

  /** Bytes read, or a negative errno, or FALL_BACK. */
  *read(inode: PeerInode, pos: number, into: Uint8Array): Task<number> {
    requireSectors(pos, into.length);
    const length = Math.max(0, Math.min(into.length, inode.size - pos));
    if (length === 0) return 0;
    yield* this.#buffered.writeback.run(inode, pos, pos + length);
    inode.timesAreDirty = true;
    for (let done = 0; done < length; ) {
      const at = pos + done;
      const mapping = yield* this.#context.requests.begin(inode, at, length - done, OpFlag.DIRECT);
      if (typeof mapping === 'number') return outcome(done, mapping);
      const count = usable(mapping, at, length - done);
      if (mapping.type === MappingType.INLINE) return FALL_BACK;
      if (readsAsZeros(mapping)) into.fill(0, done, done + count);
      else {
        // The device moves whole sectors; what is behind the end of the file is not shown.
        const sectors = new Uint8Array(Math.ceil(count / SECTOR_BYTES) * SECTOR_BYTES);
        const errno = this.#context.device.read(addressOf(mapping, at), sectors, 0, sectors.length);
        if (errno !== 0) return outcome(done, errno);
        into.set(sectors.subarray(0, count), done);
      }
      done += count;
    }
    return length;
  }

  /** Bytes written, or a negative errno, or FALL_BACK. The caller has the inode's lock alone. */
  *write(inode: PeerInode, pos: number, data: Uint8Array): Task<number> {
    requireSectors(pos, data.length);
    yield* this.#buffered.writeback.run(inode, pos, pos + data.length);
    inode.pages.removeWithin(pos, pos + data.length);
    inode.timesAreDirty = true;
    let done = 0;
    let errno = 0;
    let isUnwritten = false;
    while (done < data.length && errno === 0) {
      const at = pos + done;
      const wanted = data.length - done;
      const opflags = OpFlag.DIRECT | OpFlag.WRITE;
      const mapping = yield* this.#context.requests.begin(inode, at, wanted, opflags);
      if (typeof mapping === 'number') {
        if (done === 0) return outcome(0, mapping);
        break;
      }
      if (mapping.type === MappingType.INLINE) throw new Violation('P-3', 'inline data for a direct write');
      const count = usable(mapping, at, wanted);
      errno = this.#writeTo(inode, mapping, at, data.subarray(done, done + count));
      if (mapping.type === MappingType.UNWRITTEN) isUnwritten = true;
      done += count;
    }
    const flags = IoendFlag.DIRECT | (isUnwritten ? IoendFlag.UNWRITTEN : 0);
    const completion = { pos, written: done, flags, errno, device: 0, address: NO_ADDRESS };
    const refused = yield* this.#context.requests.ioend(inode, completion);
    inode.pages.removeWithin(pos, pos + done);
    if (errno !== 0 || refused !== 0) return -(errno || refused);
    return done;
  }

  /** Blocks that are new are written whole, and so is the last one of the file behind its end. */
  #writeTo(inode: PeerInode, mapping: Mapping, pos: number, data: Uint8Array): number {
    const { blockBytes, device } = this.#context;
    const isNew = mapping.type === MappingType.UNWRITTEN || (mapping.flags & MappingFlag.NEW) !== 0;
    const end = pos + data.length;
    const head = isNew ? pos % blockBytes : 0;
    const isTailZeroed = isNew || end >= inode.size;
    const tail = isTailZeroed ? (blockBytes - (end % blockBytes)) % blockBytes : 0;
    return device.write(addressOf(mapping, pos - head), [new Uint8Array(head), data, new Uint8Array(tail)]);
  }
}

function requireSectors(pos: number, length: number): void {
  if (pos % SECTOR_BYTES !== 0 || length % SECTOR_BYTES !== 0) throw new Error('not of whole sectors');
}

function outcome(done: number, errno: number): number {
  if (done > 0) return done;
  return errno === Errno.ENOSYS || errno === Errno.ENOTBLK ? FALL_BACK : -errno;
}
