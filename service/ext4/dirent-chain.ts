/**
 * A chain of directory entries, changed in place: the entries of a directory block, or of one area of an
 * inline directory. The chain has been verified: every rec_len leads to the next entry or to the end.
 */
import { CachedBlock } from './buffer-cache.ts';
import {
  DIRENT,
  direntInode,
  direntNameLen,
  direntRecLen,
  direntSize,
  putDirentInode,
  putDirentRecLen,
} from './layout/dirent.ts';

/** An entry to be: its name is name[start, end). Reused by callers, so that adding allocates nothing. */
export class NewEntry {
  name: Uint8Array = new Uint8Array(0);
  start = 0;
  end = 0;
  ino = 0;
  /** A DirentType; UNKNOWN without the filetype feature. */
  fileType = 0;
  /** Bytes that the entry needs. */
  sizeBytes = 0;

  set(name: Uint8Array, start: number, end: number, ino: number, fileType: number): void {
    this.name = name;
    this.start = start;
    this.end = end;
    this.ino = ino;
    this.fileType = fileType;
    this.sizeBytes = direntSize(end - start);
  }
}

/** Reused by callers: `open` first. The caller tells the handle before it changes anything. */
export class DirentChain {
  block = new CachedBlock(new Uint8Array(0));
  start = 0;
  end = 0;
  /** What rec_len means depends on it; 0 for an inline area. */
  #blockSize = 0;

  open(block: CachedBlock, start: number, end: number, blockSize: number): void {
    this.block = block;
    this.start = start;
    this.end = end;
    this.#blockSize = blockSize;
  }

  /** Makes the whole chain one unused entry. */
  clear(): void {
    if (this.start === this.end) return;
    this.block.bytes.fill(0, this.start, this.end);
    putDirentRecLen(this.block.view, this.start, this.end - this.start);
  }

  /** Offset of the entry behind the one at `at`; the chain's end behind the last. */
  next(at: number): number {
    return at + direntRecLen(this.block.view, at, this.#blockSize);
  }

  /** Offset of the first entry behind which, or instead of which, `sizeBytes` are free; -1 when there is none. */
  findRoom(sizeBytes: number): number {
    const { view } = this.block;
    for (let at = this.start; at < this.end; ) {
      const next = this.next(at);
      if (next - at >= sizeBytes && next - at - liveSize(view, at) >= sizeBytes) return at;
      at = next;
    }
    return -1;
  }

  /** Puts the entry where `findRoom` has found room for it. */
  insert(at: number, entry: NewEntry): void {
    const { bytes, view } = this.block;
    const next = this.next(at);
    const used = liveSize(view, at);
    const place = at + used;
    if (used > 0) putDirentRecLen(view, at, used);
    putDirentRecLen(view, place, next - place);
    putDirentInode(view, place, entry.ino);
    bytes[place + DIRENT.name_len] = entry.end - entry.start;
    bytes[place + DIRENT.file_type] = entry.fileType;
    const nameAt = place + DIRENT.name - entry.start;
    for (let index = entry.start; index < entry.end; index++) bytes[nameAt + index] = entry.name[index];
  }

  /** The entry before gets the place of the one at `at`; the first one of a chain stays, unused. */
  remove(at: number): void {
    const { bytes, view } = this.block;
    const next = this.next(at);
    if (at === this.start) {
      putDirentInode(view, at, 0);
      bytes.fill(0, at + DIRENT.name_len, next);
      return;
    }
    let previous = this.start;
    for (let follower = this.next(previous); follower < at; follower = this.next(previous)) previous = follower;
    bytes.fill(0, at, next);
    putDirentRecLen(view, previous, next - previous);
  }

  /** Bytes that the entries in use need. */
  get liveBytes(): number {
    let sum = 0;
    for (let at = this.start; at < this.end; at = this.next(at)) sum += liveSize(this.block.view, at);
    return sum;
  }

  /** Moves the entries in use together, in their order; all that is free is behind them. */
  pack(): void {
    const { bytes, view } = this.block;
    let to = this.start;
    let last = -1;
    for (let at = this.start; at < this.end; ) {
      const next = this.next(at);
      const size = liveSize(view, at);
      if (size > 0) {
        if (to !== at) bytes.copyWithin(to, at, at + size);
        putDirentRecLen(view, to, size);
        last = to;
        to += size;
      }
      at = next;
    }
    this.#endBehind(last, to);
  }

  /**
   * Moves the entries at the offsets offset[order[from]], ... offset[order[to - 1]] of another chain to the start
   * of this one, which is empty and has room for them. There they become unused.
   */
  take(source: CachedBlock, offset: Uint32Array, order: Uint32Array, from: number, to: number): void {
    const { bytes, view } = this.block;
    let place = this.start;
    let last = -1;
    for (let index = from; index < to; index++) {
      const at = offset[order[index]];
      const size = liveSize(source.view, at);
      if (place + size > this.end) throw new RangeError('the entries need more room than there is');
      for (let byte = 0; byte < size; byte++) bytes[place + byte] = source.bytes[at + byte];
      putDirentRecLen(view, place, size);
      putDirentInode(source.view, at, 0);
      last = place;
      place += size;
    }
    this.#endBehind(last, place);
  }

  /** Lets the entry at `last`, -1 for none, reach to the end; what is behind it from `usedEnd` on is cleared. */
  #endBehind(last: number, usedEnd: number): void {
    if (last < 0) {
      this.clear();
      return;
    }
    this.block.bytes.fill(0, usedEnd, this.end);
    putDirentRecLen(this.block.view, last, this.end - last);
  }
}

/** Bytes that the entry itself needs, 0 when it is unused. */
const liveSize = (view: DataView, at: number): number =>
  direntInode(view, at) === 0 ? 0 : direntSize(direntNameLen(view, at));
