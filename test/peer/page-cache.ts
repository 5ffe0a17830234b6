/** Piece of a file in memory: some blocks of it are as on the device or newer, some of those are to be written. */
export class Folio {
  readonly index: number;
  readonly bytes: Uint8Array;
  /** By block: bits. */
  uptodate = 0;
  dirty = 0;
  isLocked = false;
  isUnderWriteback = false;
  isGone = false;

  constructor(index: number, bytes: Uint8Array) {
    this.index = index;
    this.bytes = bytes;
  }
}

/** The folios of one file, all of the same size. */
export class PageCache {
  readonly folioBytes: number;
  readonly blockBytes: number;
  readonly blocksPerFolio: number;
  /** All blocks of a folio. */
  readonly full: number;
  readonly #folios = new Map<number, Folio>();
  readonly #spare: Uint8Array[];

  constructor(folioBytes: number, blockBytes: number, spare: Uint8Array[]) {
    this.folioBytes = folioBytes;
    this.blockBytes = blockBytes;
    this.blocksPerFolio = folioBytes / blockBytes;
    this.full = 2 ** this.blocksPerFolio - 1;
    this.#spare = spare;
  }

  get folios(): IterableIterator<Folio> {
    return this.#folios.values();
  }

  get size(): number {
    return this.#folios.size;
  }

  find(index: number): Folio | null {
    return this.#folios.get(index) ?? null;
  }

  obtain(index: number): Folio {
    const found = this.#folios.get(index);
    if (found !== undefined) return found;
    const folio = new Folio(index, this.#spare.pop() ?? new Uint8Array(this.folioBytes));
    // Whatever lies in memory that is not uptodate must not be seen.
    folio.bytes.fill(0xa5);
    this.#folios.set(index, folio);
    return folio;
  }

  remove(folio: Folio): void {
    folio.isGone = true;
    if (this.#folios.delete(folio.index) && !folio.isUnderWriteback) this.#spare.push(folio.bytes);
  }

  /** Bits of the blocks that a range of bytes within a folio touches. */
  mask(from: number, to: number): number {
    const first = Math.floor(from / this.blockBytes);
    const end = Math.ceil(to / this.blockBytes);
    return 2 ** end - 2 ** first;
  }

  /** Indexes of folios with dirty blocks that overlap the range, in order. */
  dirtyWithin(from: number, to: number): number[] {
    const found: number[] = [];
    for (const folio of this.#folios.values()) {
      const start = folio.index * this.folioBytes;
      if (folio.dirty !== 0 && start < to && start + this.folioBytes > from) found.push(folio.index);
    }
    return found.sort((a, b) => a - b);
  }

  isBusyWithin(from: number, to: number): boolean {
    for (const folio of this.#folios.values()) {
      const start = folio.index * this.folioBytes;
      if ((folio.dirty !== 0 || folio.isUnderWriteback) && start < to && start + this.folioBytes > from) return true;
    }
    return false;
  }

  /** Takes folios that are wholly or partly within the range away, whatever is in them. */
  removeWithin(from: number, to: number): void {
    for (const folio of [...this.#folios.values()]) {
      const start = folio.index * this.folioBytes;
      if (start < to && start + this.folioBytes > from) this.remove(folio);
    }
  }

  /** Like the end of a file moving down: later folios go, the one at the new end is zeroed from there. */
  truncate(sizeBytes: number): void {
    for (const folio of [...this.#folios.values()]) {
      const start = folio.index * this.folioBytes;
      if (start >= sizeBytes) this.remove(folio);
      else if (start + this.folioBytes > sizeBytes) folio.bytes.fill(0, sizeBytes - start);
    }
  }
}
