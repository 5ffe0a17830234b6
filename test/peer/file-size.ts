import type { BufferedIo, DataContext } from './buffered-io.ts';
import type { Task } from './connection.ts';
import type { Ledger } from './ledger.ts';
import { putU64, u64 } from './mapping.ts';
import type { PeerInode } from './peer-inode.ts';
import { Violation } from './violation.ts';
import { Op, SetattrBit } from './wire.ts';

export const FallocateMode = Object.freeze({ KEEP_SIZE: 1, PUNCH_HOLE: 2, ZERO_RANGE: 16 });

const SETATTR_BYTES = 88;
const FALLOCATE_BYTES = 32;
const PAGE_BYTES = 4096;
/** Where the size lies in a reply with attributes. */
const ATTR_SIZE_AT = 16 + 8;

/** Truncation and fallocate. The caller has the inode's lock alone. */
export class FileSize {
  readonly #context: DataContext;
  readonly #buffered: BufferedIo;
  readonly #ledger: Ledger;

  constructor(context: DataContext, buffered: BufferedIo, ledger: Ledger) {
    this.#context = context;
    this.#buffered = buffered;
    this.#ledger = ledger;
  }

  /** An errno. */
  *truncate(inode: PeerInode, size: number, handle: boolean): Task<number> {
    yield* inode.invalidateLock.lock();
    const errno = yield* this.#truncateLocked(inode, size, handle);
    inode.invalidateLock.unlock();
    return errno;
  }

  *#truncateLocked(inode: PeerInode, size: number, handle: boolean): Task<number> {
    let errno = yield* this.#zeroAround(inode, size);
    if (errno !== 0) return errno;
    inode.timesAreDirty = true;
    inode.size = size;
    yield* this.#takeAway(inode, size);
    yield* this.#buffered.writeback.run(inode);
    const ofHandle = handle ? SetattrBit.FH | SetattrBit.LOCKOWNER : 0;
    const valid = SetattrBit.SIZE | SetattrBit.MTIME | SetattrBit.CTIME | ofHandle;
    const body = this.#context.connection.begin(SETATTR_BYTES);
    body.setUint32(0, valid, true);
    putU64(body, 16, size);
    putU64(body, 40, inode.mtimeSec);
    putU64(body, 48, inode.mtimeSec);
    const reply = yield* this.#context.connection.ask(Op.SETATTR, inode.nodeId, SETATTR_BYTES, 0, (view, at) => {
      this.#ledger.release(inode.nodeId, size, Number.MAX_SAFE_INTEGER);
      inode.diskSize = u64(view, at + ATTR_SIZE_AT);
      inode.serverSize = size;
      if (inode.diskSize !== size) throw new Violation('P-10', `truncated to ${size}, has ${inode.diskSize} bytes`);
    });
    errno = reply.errno;
    if (errno === 0) this.#dropMappings(inode, size, Number.MAX_SAFE_INTEGER);
    return errno;
  }

  /** An errno. */
  *fallocate(inode: PeerInode, mode: number, offset: number, length: number): Task<number> {
    yield* inode.invalidateLock.lock();
    const errno = yield* this.#fallocateLocked(inode, mode, offset, length);
    inode.invalidateLock.unlock();
    return errno;
  }

  *#fallocateLocked(inode: PeerInode, mode: number, offset: number, length: number): Task<number> {
    const end = offset + length;
    const clears = (mode & (FallocateMode.PUNCH_HOLE | FallocateMode.ZERO_RANGE)) !== 0;
    if (clears) {
      const from = offset - (offset % PAGE_BYTES);
      const to = Math.ceil(end / PAGE_BYTES) * PAGE_BYTES;
      yield* this.#buffered.writeback.run(inode, from, to);
      yield* this.#removePages(inode, from, to);
    }
    inode.timesAreDirty = true;
    const errno = yield* this.#ask(inode, mode, offset, length);
    if (errno !== 0) return errno;
    this.#dropMappings(inode, offset, end);
    const sizeBefore = inode.size;
    if (clears && offset < sizeBefore) {
      const stop = Math.min(end, sizeBefore);
      const failed = yield* this.#buffered.zero(inode, offset, stop - offset);
      if (failed !== 0) return failed;
      if (end >= sizeBefore) yield* this.#buffered.writeback.run(inode, sizeBefore - 1, sizeBefore);
    }
    if ((mode & FallocateMode.KEEP_SIZE) !== 0 || end <= sizeBefore) return 0;
    const failed = yield* this.#zeroAround(inode, end);
    if (failed !== 0) return failed;
    inode.size = end;
    yield* this.#buffered.writeback.run(inode);
    inode.diskSize = Math.max(inode.diskSize, end);
    return 0;
  }

  *#ask(inode: PeerInode, mode: number, offset: number, length: number): Task<number> {
    const end = offset + length;
    const body = this.#context.connection.begin(FALLOCATE_BYTES);
    putU64(body, 8, offset);
    putU64(body, 16, length);
    body.setUint32(24, mode, true);
    const { errno } = yield* this.#context.connection.ask(Op.FALLOCATE, inode.nodeId, FALLOCATE_BYTES, 0, () => {
      if ((mode & FallocateMode.PUNCH_HOLE) !== 0) this.#punched(inode, offset, end);
      else if ((mode & FallocateMode.ZERO_RANGE) !== 0) this.#ledger.loosen(inode.nodeId, offset, end);
      if ((mode & FallocateMode.KEEP_SIZE) === 0) inode.serverSize = Math.max(inode.serverSize, end);
    });
    return errno;
  }

  #punched(inode: PeerInode, offset: number, end: number): void {
    this.#ledger.release(inode.nodeId, offset, end);
    // The file's last block may go as well when all of it that belongs to the file is within the hole.
    const last = end - (end % this.#context.blockBytes);
    if (end >= inode.serverSize && last >= offset) this.#ledger.loosen(inode.nodeId, last, end);
  }

  /** What comes into the file reads as zeros, and so does what leaves its last block. */
  *#zeroAround(inode: PeerInode, size: number): Task<number> {
    if (size > inode.size) return yield* this.#buffered.zero(inode, inode.size, size - inode.size);
    const { blockBytes } = this.#context;
    const rest = (blockBytes - (size % blockBytes)) % blockBytes;
    return rest === 0 ? 0 : yield* this.#buffered.zero(inode, size, rest);
  }

  *#takeAway(inode: PeerInode, size: number): Task<void> {
    yield* waitForFolios(inode, size, Number.MAX_SAFE_INTEGER);
    inode.pages.truncate(size);
  }

  *#removePages(inode: PeerInode, from: number, to: number): Task<void> {
    yield* waitForFolios(inode, from, to);
    inode.pages.removeWithin(from, to);
  }

  #dropMappings(inode: PeerInode, from: number, to: number): void {
    const { blockBytes } = this.#context;
    const start = from - (from % blockBytes);
    const end = Math.min(Math.ceil(to / blockBytes) * blockBytes, Number.MAX_SAFE_INTEGER);
    inode.cache?.drop(start, end - start);
  }
}

function* waitForFolios(inode: PeerInode, from: number, to: number): Task<void> {
  const { pages } = inode;
  const isBusy = (): boolean => {
    for (const folio of pages.folios) {
      const start = folio.index * pages.folioBytes;
      const overlaps = start < to && start + pages.folioBytes > from;
      if (overlaps && (folio.isLocked || folio.isUnderWriteback)) return true;
    }
    return false;
  };
  while (isBusy()) yield 0;
}
