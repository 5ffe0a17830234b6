import type { Connection, Task } from './connection.ts';
import { inlineRead, inlineWrite } from './inline-io.ts';
import { DIRECT, type Mapping } from './mapping.ts';
import { addressOf, type MappingRequests, readsAsZeros, usable } from './mapping-requests.ts';
import type { Folio } from './page-cache.ts';
import type { PeerDevice } from './peer-device.ts';
import type { PeerInode } from './peer-inode.ts';
import { MappingFlag, MappingType, OpFlag } from './profile.ts';
import { Violation } from './violation.ts';
import { Writeback } from './writeback.ts';

/** Stores behind the end of a file end like this. */
const SIGBUS = 14;

/** What operations on data need. */
export interface DataContext {
  readonly connection: Connection;
  readonly requests: MappingRequests;
  readonly device: PeerDevice;
  readonly blockBytes: number;
}

/** Reads, writes, faults and zeroes through the page cache. */
export class BufferedIo {
  readonly #context: DataContext;
  readonly #requests: MappingRequests;
  readonly writeback: Writeback;

  constructor(context: DataContext) {
    this.#context = context;
    this.#requests = context.requests;
    this.writeback = new Writeback(context);
  }

  /** Bytes read into `into`, or a negative errno. The caller has the inode's lock. */
  *read(inode: PeerInode, pos: number, into: Uint8Array): Task<number> {
    const length = Math.max(0, Math.min(into.length, inode.size - pos));
    if (length === 0) return 0;
    const errno = yield* this.#fill(inode, pos, pos + length);
    if (errno !== 0) return -errno;
    const { pages } = inode;
    for (let done = 0; done < length; ) {
      const index = Math.floor((pos + done) / pages.folioBytes);
      const folio = pages.find(index);
      if (folio === null || folio.uptodate !== pages.full) {
        // It was taken away meanwhile.
        const again = yield* this.#fill(inode, pos + done, pos + length);
        if (again !== 0) return -again;
        continue;
      }
      const from = pos + done - index * pages.folioBytes;
      const count = Math.min(length - done, pages.folioBytes - from);
      into.set(folio.bytes.subarray(from, from + count), done);
      done += count;
    }
    inode.timesAreDirty = true;
    return length;
  }

  /** Bytes written, or a negative errno when none were. The caller has the inode's lock alone. */
  *write(inode: PeerInode, pos: number, data: Uint8Array): Task<number> {
    let done = 0;
    while (done < data.length) {
      const at = pos + done;
      const wanted = data.length - done;
      const mapping = yield* this.#requests.begin(inode, at, wanted, OpFlag.WRITE);
      if (typeof mapping === 'number') return done > 0 ? done : -mapping;
      const count = usable(mapping, at, wanted);
      const sizeBefore = inode.size;
      const piece = data.subarray(done, done + count);
      const written =
        mapping.type === MappingType.INLINE
          ? yield* inlineWrite(this.#context.connection, inode, at, piece)
          : yield* this.#writeInto(inode, mapping, at, piece);
      if (written < 0) return done > 0 ? done : written;
      const flags = inode.size > sizeBefore ? MappingFlag.SIZE_CHANGED : 0;
      const stale = written < count ? MappingFlag.STALE : 0;
      const errno = yield* this.#requests.end(inode, at, count, written, OpFlag.WRITE, mapping, flags | stale);
      if (errno !== 0) return done > 0 ? done : -errno;
      done += written;
    }
    inode.timesAreDirty = true;
    return done;
  }

  /** Stores to a mapped part of the file, up to its end. Bytes stored, or a negative errno: then the program dies. */
  *mappedWrite(inode: PeerInode, pos: number, data: Uint8Array): Task<number> {
    const { folioBytes } = inode.pages;
    let done = 0;
    while (done < data.length) {
      const at = pos + done;
      yield* inode.invalidateLock.share();
      if (at >= inode.size) {
        inode.invalidateLock.unshare();
        return done > 0 ? done : -SIGBUS;
      }
      const start = at - (at % folioBytes);
      const count = Math.min(data.length - done, start + folioBytes - at, inode.size - at);
      let errno = yield* this.#fill(inode, at, at + 1);
      if (errno === 0) errno = yield* this.#makeWritable(inode, start);
      const folio = inode.pages.find(start / folioBytes);
      if (errno === 0 && folio !== null && folio.dirty !== 0) {
        folio.bytes.set(data.subarray(done, done + count), at - start);
        done += count;
      }
      inode.invalidateLock.unshare();
      if (errno !== 0) return done > 0 ? done : -errno;
    }
    return done;
  }

  /** Zeroes a range in the page cache where there is something to zero. An errno. */
  *zero(inode: PeerInode, pos: number, length: number): Task<number> {
    const end = pos + length;
    let isBusy = inode.pages.isBusyWithin(pos, end);
    for (let at = pos; at < end; ) {
      const mapping = yield* this.#requests.begin(inode, at, end - at, OpFlag.ZERO);
      if (typeof mapping === 'number') return mapping;
      const count = usable(mapping, at, end - at);
      if (mapping.type === MappingType.HOLE || mapping.type === MappingType.UNWRITTEN) {
        if (isBusy) {
          isBusy = false;
          // What the cache has is newer than this mapping.
          const errno = yield* this.#requests.end(inode, at, count, 0, OpFlag.ZERO, mapping, MappingFlag.STALE);
          if (errno !== 0) return errno;
          yield* this.writeback.run(inode, pos, end);
          continue;
        }
        at += count;
        continue;
      }
      const piece = new Uint8Array(count);
      const written =
        mapping.type === MappingType.INLINE
          ? yield* inlineWrite(this.#context.connection, inode, at, piece)
          : yield* this.#writeInto(inode, mapping, at, piece, true);
      if (written < 0) return -written;
      const flags = written < count ? MappingFlag.STALE : 0;
      const errno = yield* this.#requests.end(inode, at, count, written, OpFlag.ZERO, mapping, flags);
      if (errno !== 0) return errno;
      at += written;
    }
    return 0;
  }

  /** Copies into folios what the mapping covers. Less than all when the mapping does not hold any more. */
  *#writeInto(inode: PeerInode, mapping: Mapping, pos: number, data: Uint8Array, isZeroing = false): Task<number> {
    const { pages } = inode;
    let done = 0;
    while (done < data.length) {
      const at = pos + done;
      const index = Math.floor(at / pages.folioBytes);
      const from = at - index * pages.folioBytes;
      const count = Math.min(data.length - done, pages.folioBytes - from);
      const folio = yield* this.lockFolio(inode, index);
      if (mapping.sequence !== DIRECT && inode.cache?.sequence !== mapping.sequence) {
        folio.isLocked = false;
        return done;
      }
      const errno = this.#readEdges(inode, mapping, folio, from, from + count);
      if (errno !== 0) {
        folio.isLocked = false;
        return done > 0 ? done : -errno;
      }
      folio.bytes.set(data.subarray(done, done + count), from);
      const mask = pages.mask(from, from + count);
      folio.uptodate |= mask;
      folio.dirty |= mask;
      folio.isLocked = false;
      done += count;
      if (!isZeroing && at + count > inode.size) inode.size = at + count;
    }
    return done;
  }

  /** Brings the blocks that a write covers in part, before it does. */
  #readEdges(inode: PeerInode, mapping: Mapping, folio: Folio, from: number, to: number): number {
    const { blockBytes } = this.#context;
    const first = Math.floor(from / blockBytes);
    const last = Math.floor((to - 1) / blockBytes);
    for (let block = first; block <= last; block++) {
      if ((folio.uptodate & (2 ** block)) !== 0) continue;
      const start = block * blockBytes;
      if (from <= start && to >= start + blockBytes) continue;
      const errno = this.#readBlocks(inode, mapping, folio, block, 1);
      if (errno !== 0) return errno;
    }
    return 0;
  }

  /** The blocks lie within the mapping. */
  #readBlocks(inode: PeerInode, mapping: Mapping, folio: Folio, block: number, count: number): number {
    const { blockBytes, device } = this.#context;
    const start = folio.index * inode.pages.folioBytes + block * blockBytes;
    const within = block * blockBytes;
    const bytes = count * blockBytes;
    const end = Math.ceil(inode.size / blockBytes) * blockBytes;
    const readable = readsAsZeros(mapping) ? 0 : Math.max(0, Math.min(bytes, end - start));
    if (readable > 0) {
      const errno = device.read(addressOf(mapping, start), folio.bytes, within, readable);
      if (errno !== 0) return errno;
    }
    folio.bytes.fill(0, within + readable, within + bytes);
    folio.uptodate |= inode.pages.mask(within, within + bytes);
    return 0;
  }

  *lockFolio(inode: PeerInode, index: number): Task<Folio> {
    let folio = inode.pages.obtain(index);
    while (folio.isLocked || folio.isGone) {
      if (!folio.isGone) yield 0;
      folio = inode.pages.obtain(index);
    }
    folio.isLocked = true;
    return folio;
  }

  /** Makes the folios of a range uptodate, asking for as much as is missing in one piece. An errno. */
  *#fill(inode: PeerInode, from: number, to: number): Task<number> {
    const { pages } = inode;
    const end = Math.ceil(to / pages.folioBytes);
    for (let index = Math.floor(from / pages.folioBytes); index < end; ) {
      if (pages.find(index)?.uptodate === pages.full) {
        index++;
        continue;
      }
      const locked: Folio[] = [];
      for (let next = index; next < end; next++) {
        const present = pages.find(next);
        if (present !== null && (present.uptodate === pages.full || (present.isLocked && locked.length > 0))) break;
        locked.push(yield* this.lockFolio(inode, next));
      }
      const errno = yield* this.#fillLocked(inode, locked);
      for (const folio of locked) folio.isLocked = false;
      if (errno !== 0) return errno;
      index += locked.length;
    }
    return 0;
  }

  *#fillLocked(inode: PeerInode, folios: readonly Folio[]): Task<number> {
    const { folioBytes, full } = inode.pages;
    const start = folios[0].index * folioBytes;
    const end = start + folios.length * folioBytes;
    for (let at = start; at < end; ) {
      const folio = folios[Math.floor((at - start) / folioBytes)];
      if (folio.uptodate === full) {
        at = (folio.index + 1) * folioBytes;
        continue;
      }
      const mapping = yield* this.#requests.begin(inode, at, end - at, 0);
      if (typeof mapping === 'number') return mapping;
      const count = usable(mapping, at, end - at);
      const errno =
        mapping.type === MappingType.INLINE
          ? yield* this.#fillInline(inode, mapping, folio)
          : this.#fillFrom(inode, mapping, folios, start, at, at + count);
      if (errno !== 0) return errno;
      at += count;
    }
    return 0;
  }

  /** Reads what is missing of [from, to), which the mapping covers; neighbouring blocks at once. */
  #fillFrom(
    inode: PeerInode,
    mapping: Mapping,
    folios: readonly Folio[],
    start: number,
    from: number,
    to: number,
  ): number {
    const { folioBytes } = inode.pages;
    const { blockBytes } = this.#context;
    for (let at = from; at < to; ) {
      const folio = folios[Math.floor((at - start) / folioBytes)];
      const folioEnd = Math.min(to, (folio.index + 1) * folioBytes);
      const first = (at - folio.index * folioBytes) / blockBytes;
      const end = (folioEnd - folio.index * folioBytes) / blockBytes;
      for (let block = first; block < end; ) {
        if ((folio.uptodate & (2 ** block)) !== 0) {
          block++;
          continue;
        }
        let stop = block + 1;
        while (stop < end && (folio.uptodate & (2 ** stop)) === 0) stop++;
        const errno = this.#readBlocks(inode, mapping, folio, block, stop - block);
        if (errno !== 0) return errno;
        block = stop;
      }
      at = folioEnd;
    }
    return 0;
  }

  *#fillInline(inode: PeerInode, mapping: Mapping, folio: Folio): Task<number> {
    if (folio.index !== 0) throw new Violation('P-2', `inline data at folio ${folio.index}`);
    const errno = yield* inlineRead(this.#context.connection, inode, mapping.length, folio.bytes);
    if (errno !== 0) return errno;
    folio.bytes.fill(0, Math.min(inode.size, mapping.length), mapping.length);
    folio.uptodate |= inode.pages.mask(0, mapping.length);
    return 0;
  }

  /** The first store to a folio since it was clean. */
  *#makeWritable(inode: PeerInode, start: number): Task<number> {
    const { pages } = inode;
    const folio = yield* this.lockFolio(inode, start / pages.folioBytes);
    inode.timesAreDirty = true;
    const end = Math.min(start + pages.folioBytes, inode.size);
    let errno = 0;
    if (folio.uptodate !== pages.full) errno = 0;
    else {
      for (let at = start; at < end; ) {
        const mapping = yield* this.#requests.begin(inode, at, end - at, OpFlag.WRITE | OpFlag.FAULT);
        if (typeof mapping === 'number') {
          errno = mapping;
          break;
        }
        if (mapping.type === MappingType.INLINE) {
          throw new Violation('P-3', `inline data for a fault at ${at} of inode ${inode.nodeId}`);
        }
        const count = usable(mapping, at, end - at);
        folio.dirty |= pages.mask(at - start, at - start + count);
        at += count;
      }
    }
    folio.isLocked = false;
    return errno;
  }
}
