import { crc32c } from '../../native/crc32c.ts';
import type { DeviceStep, WritableBlockDevice } from '../../service/ext4/block-device.ts';

const PAGE_BYTES = 1024;
const EIO = 5;

/** The content of a disk, boiled down to two 32-bit numbers that can be kept up to date page by page. */
export class ContentHash {
  high = 0;
  low = 0;

  /** Adds a page, or takes it away again: both are the same. */
  toggle(page: number, crc: number): void {
    let x = Math.imul(crc ^ Math.imul(page + 1, 0x9e3779b1), 0x85ebca6b);
    x = Math.imul(x ^ (x >>> 15), 0x2c1b3c6d);
    this.low ^= x ^ (x >>> 13);
    x = Math.imul(crc ^ Math.imul(page + 7, 0x7feb352d), 0x297a2d39);
    x = Math.imul(x ^ (x >>> 16), 0x846ca68b);
    this.high ^= x ^ (x >>> 15);
  }
}

/** Disk content that many overlays look at, with the checksums of its pages. */
export class BaseContent {
  readonly bytes: Uint8Array;
  readonly hash = new ContentHash();
  readonly #crcs: Uint32Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#crcs = new Uint32Array(Math.ceil(bytes.length / PAGE_BYTES));
    for (let page = 0; page < this.#crcs.length; page++) this.#count(page);
  }

  crcOf(page: number): number {
    return this.#crcs[page];
  }

  set(offsetBytes: number, from: Uint8Array): void {
    const first = Math.floor(offsetBytes / PAGE_BYTES);
    const end = Math.ceil((offsetBytes + from.length) / PAGE_BYTES);
    for (let page = first; page < end; page++) this.hash.toggle(page, this.#crcs[page]);
    this.bytes.set(from, offsetBytes);
    for (let page = first; page < end; page++) this.#count(page);
  }

  #count(page: number): void {
    this.#crcs[page] = crcOfPage(this.bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES));
    this.hash.toggle(page, this.#crcs[page]);
  }
}

const crcOfPage = (bytes: Uint8Array): number => crc32c(0, bytes, 0, bytes.length) >>> 0;

/** A disk that differs from another one in some pages, so that thousands of them are cheap. Works at once. */
export class OverlayDevice implements WritableBlockDevice {
  readonly sizeBytes: number;
  readonly #base: BaseContent;
  readonly #pages = new Map<number, Uint8Array>();

  constructor(base: BaseContent) {
    this.#base = base;
    this.sizeBytes = base.bytes.length;
  }

  read(offsetBytes: number, into: Uint8Array): number {
    const end = offsetBytes + into.length;
    if (end > this.sizeBytes) return EIO;
    into.set(this.#base.bytes.subarray(offsetBytes, end));
    for (let at = offsetBytes; at < end; ) {
      const page = Math.floor(at / PAGE_BYTES);
      const pieceEnd = Math.min(end, (page + 1) * PAGE_BYTES);
      const own = this.#pages.get(page);
      if (own !== undefined) {
        into.set(own.subarray(at - page * PAGE_BYTES, pieceEnd - page * PAGE_BYTES), at - offsetBytes);
      }
      at = pieceEnd;
    }
    return 0;
  }

  readAhead(): void {}

  write(offsetBytes: number, from: Uint8Array): number {
    const end = offsetBytes + from.length;
    if (end > this.sizeBytes) return EIO;
    for (let at = offsetBytes; at < end; ) {
      const page = Math.floor(at / PAGE_BYTES);
      const pieceEnd = Math.min(end, (page + 1) * PAGE_BYTES);
      this.#own(page).set(from.subarray(at - offsetBytes, pieceEnd - offsetBytes), at - page * PAGE_BYTES);
      at = pieceEnd;
    }
    return 0;
  }

  flush(): number {
    return 0;
  }

  run(steps: readonly DeviceStep[], done: (errno: number) => void): number {
    let errno = 0;
    for (const step of steps) {
      if (errno === 0 && step.kind === 'write') errno = this.write(step.offsetBytes, step.bytes);
    }
    done(errno);
    return 0;
  }

  wait(): void {}

  discard(_offsetBytes: number, _lengthBytes: number, done: (errno: number) => void): number {
    done(0);
    return 0;
  }

  /** The content as one piece. */
  toBytes(): Uint8Array {
    const bytes = this.#base.bytes.slice();
    for (const [page, own] of this.#pages) bytes.set(own, page * PAGE_BYTES);
    return bytes;
  }

  /** The same for disks of the same content, whatever they consist of. */
  contentKey(): string {
    const hash = new ContentHash();
    hash.high = this.#base.hash.high;
    hash.low = this.#base.hash.low;
    for (const [page, own] of this.#pages) {
      hash.toggle(page, this.#base.crcOf(page));
      hash.toggle(page, crcOfPage(own));
    }
    return `${hash.high}.${hash.low}`;
  }

  #own(page: number): Uint8Array {
    const known = this.#pages.get(page);
    if (known !== undefined) return known;
    const own = this.#base.bytes.slice(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
    this.#pages.set(page, own);
    return own;
  }
}
