import type { DataContext } from './buffered-io.ts';
import type { Task } from './connection.ts';
import { covers, DIRECT, type Mapping, NO_ADDRESS } from './mapping.ts';
import { addressOf, type Completion, usable } from './mapping-requests.ts';
import type { Folio } from './page-cache.ts';
import type { PeerInode } from './peer-inode.ts';
import { IoendFlag, MappingFlag, MappingType } from './profile.ts';

/** One write to the device, of memory of several folios. */
interface Bio {
  pos: number;
  /** In whole blocks. */
  bytes: number;
  /** Up to the end of the file. */
  written: number;
  readonly address: number;
  readonly type: number;
  readonly device: number;
  readonly pieces: Uint8Array[];
  errno: number;
}

/** Brings dirty folios to the device. */
export class Writeback {
  readonly #context: DataContext;

  constructor(context: DataContext) {
    this.#context = context;
  }

  /** Writes what is dirty in the range and waits for the end of that. Errors are kept in the inode. */
  *run(inode: PeerInode, from = 0, to: number = Number.MAX_SAFE_INTEGER): Task<void> {
    const pass = new Pass(this.#context, inode);
    for (const index of inode.pages.dirtyWithin(from, to)) yield* pass.writeFolio(index);
    yield* pass.finish();
    while (isUnderWriteback(inode, from, to)) yield 0;
  }
}

function isUnderWriteback(inode: PeerInode, from: number, to: number): boolean {
  const { pages } = inode;
  for (const folio of pages.folios) {
    const start = folio.index * pages.folioBytes;
    if (folio.isUnderWriteback && start < to && start + pages.folioBytes > from) return true;
  }
  return false;
}

/** One walk over the dirty folios of a file. A mapping is used as long as it goes. */
class Pass {
  readonly #context: DataContext;
  readonly #inode: PeerInode;
  readonly #bios: Bio[] = [];
  readonly #folios: Folio[] = [];
  readonly #discarded: Completion[] = [];
  #mapping: Mapping | null = null;
  /** What of the mapping has been used, for END. */
  #usedFrom = 0;
  #usedTo = 0;

  constructor(context: DataContext, inode: PeerInode) {
    this.#context = context;
    this.#inode = inode;
  }

  *writeFolio(index: number): Task<void> {
    const { pages } = this.#inode;
    let folio = pages.find(index);
    while (folio !== null && folio.dirty !== 0 && (folio.isLocked || folio.isUnderWriteback)) {
      if (this.#folios.includes(folio)) return;
      // Nobody may wait for a folio that we hold meanwhile.
      if (this.#bios.length > 0) yield* this.finish();
      else yield 0;
      folio = pages.find(index);
    }
    if (folio === null || folio.dirty === 0) return;
    const start = index * pages.folioBytes;
    if (start >= this.#inode.size) {
      folio.dirty = 0;
      return;
    }
    folio.isLocked = true;
    if (start + pages.folioBytes > this.#inode.size) folio.bytes.fill(0, this.#inode.size - start);
    const dirty = folio.dirty;
    folio.dirty = 0;
    folio.isUnderWriteback = true;
    this.#folios.push(folio);
    const { blockBytes } = this.#context;
    const end = Math.min(pages.blocksPerFolio, Math.ceil((this.#inode.size - start) / blockBytes));
    for (let block = 0; block < end; ) {
      if ((dirty & (2 ** block)) === 0) {
        block++;
        continue;
      }
      let stop = block + 1;
      while (stop < end && (dirty & (2 ** stop)) !== 0) stop++;
      yield* this.#writeRun(folio, start + block * blockBytes, start + stop * blockBytes);
      block = stop;
    }
    folio.isLocked = false;
  }

  *finish(): Task<void> {
    yield* this.#endMapping();
    for (const bio of this.#bios) bio.errno = this.#context.device.write(bio.address, bio.pieces);
    for (const completion of [...merged(this.#bios), ...this.#discarded]) yield* this.#complete(completion);
    this.#bios.length = 0;
    this.#discarded.length = 0;
    for (const folio of this.#folios) folio.isUnderWriteback = false;
    this.#folios.length = 0;
  }

  get #opflags(): number {
    return this.#context.requests.limits.numbers.WRITEBACK;
  }

  *#writeRun(folio: Folio, from: number, to: number): Task<void> {
    for (let at = from; at < to; ) {
      const errno = yield* this.#map(at, to - at);
      const mapping = this.#mapping;
      if (errno !== 0 || mapping === null) {
        this.#discard(folio, at, errno);
        return;
      }
      const count = usable(mapping, at, to - at);
      this.#usedTo = at + count;
      this.#add(mapping, folio, at, count);
      at += count;
    }
  }

  *#map(at: number, count: number): Task<number> {
    const inode = this.#inode;
    const known = this.#mapping;
    const holds =
      known !== null && covers(known, at) && (known.sequence === DIRECT || known.sequence === inode.cache?.sequence);
    if (holds) return 0;
    yield* this.#endMapping();
    const mapping = yield* this.#context.requests.begin(inode, at, count, this.#opflags);
    if (typeof mapping === 'number') return mapping;
    this.#mapping = mapping;
    this.#usedFrom = at;
    this.#usedTo = at;
    return 0;
  }

  *#endMapping(): Task<void> {
    const mapping = this.#mapping;
    this.#mapping = null;
    if (mapping === null) return;
    const count = this.#usedTo - this.#usedFrom;
    yield* this.#context.requests.end(this.#inode, this.#usedFrom, count, 0, this.#opflags, mapping, 0);
  }

  /** The program hears of it by fsync. */
  #discard(folio: Folio, at: number, errno: number): void {
    this.#inode.error = errno;
    const end = (folio.index + 1) * this.#inode.pages.folioBytes;
    this.#discarded.push({ pos: at, written: end - at, flags: 0, errno, device: 0, address: NO_ADDRESS });
  }

  #add(mapping: Mapping, folio: Folio, at: number, count: number): void {
    const within = at - folio.index * this.#inode.pages.folioBytes;
    const piece = folio.bytes.subarray(within, within + count);
    const address = addressOf(mapping, at);
    const written = Math.max(0, Math.min(count, this.#inode.size - at));
    const last = this.#bios.at(-1);
    const isBoundary = (mapping.flags & MappingFlag.BOUNDARY) !== 0 && at === mapping.offset;
    if (
      last !== undefined &&
      !isBoundary &&
      last.type === mapping.type &&
      last.device === mapping.device &&
      last.pos + last.bytes === at &&
      last.address + last.bytes === address
    ) {
      last.bytes += count;
      last.written += written;
      last.pieces.push(piece);
      return;
    }
    const { type, device } = mapping;
    this.#bios.push({ pos: at, bytes: count, written, address, type, device, pieces: [piece], errno: 0 });
  }

  *#complete(completion: Completion): Task<void> {
    const errno = yield* this.#context.requests.ioend(this.#inode, completion);
    if (completion.errno !== 0) this.#inode.error = completion.errno;
    else if (errno !== 0 && this.#context.requests.limits.numbers.keepsIoendErrors) this.#inode.error = errno;
  }
}

/** Completions in order; such that continue each other on the device are one. */
function merged(bios: readonly Bio[]): Completion[] {
  const found: Completion[] = [];
  let lastEnd = -1;
  for (const bio of [...bios].sort((a, b) => a.pos - b.pos)) {
    const flags = IoendFlag.WRITEBACK | (bio.type === MappingType.UNWRITTEN ? IoendFlag.UNWRITTEN : 0);
    const last = found.at(-1);
    if (
      last !== undefined &&
      last.flags === flags &&
      last.errno === bio.errno &&
      last.pos + last.written === bio.pos &&
      lastEnd === bio.address
    ) {
      found[found.length - 1] = { ...last, written: last.written + bio.written };
    } else {
      const { pos, written, errno, device, address } = bio;
      found.push({ pos, written, flags, errno, device, address });
    }
    lastEnd = bio.address + bio.bytes;
  }
  return found;
}
