import { i32ne, putU64ne, u64ne } from '../../shared/bytes.ts';
import { Errno, errnoName } from '../../shared/errno.ts';
import type { Inode } from '../ext4/inode.ts';
import { FileType, InodeFlag } from '../ext4/layout/inode.ts';
import { isMappable } from '../ext4/mappable.ts';
import { ENTRY_OUT, OUT_HEADER, READ_IN } from '../fuse/abi.ts';
import type { Attributes } from '../fuse/attributes.ts';
import { AttributeFlag, IOMAP_IOEND_IN, IOMAP_IOEND_OUT, IoendFlag } from '../fuse/iomap-abi.ts';
import { MappingCache } from '../fuse/mapping-cache.ts';
import type { IomapOperations } from '../fuse/operations.ts';
import type { Reply } from '../fuse/reply.ts';
import type { Request } from '../fuse/request.ts';
import type { WritableEngine } from './engine.ts';
import type { FailureHandler } from './failure.ts';
import { MappingAnswers } from './iomap-begin.ts';
import { configure, type IomapSettings } from './iomap-config.ts';
import { LookupCounts } from './lookup-counts.ts';
import { inodeOf } from './nodes.ts';

const IOEND_FLAGS =
  IoendFlag.SHARED |
  IoendFlag.UNWRITTEN |
  IoendFlag.BOUNDARY |
  IoendFlag.DIRECT |
  IoendFlag.APPEND |
  IoendFlag.WRITEBACK |
  IoendFlag.SWAPOFF;

const PAGE_BYTES = 4096;

/** Which of ext4's inode flags the kernel enforces when it is told. */
const SHOWN_FLAGS: readonly (readonly [number, number])[] = Object.freeze([
  [InodeFlag.SYNC, AttributeFlag.SYNC],
  [InodeFlag.IMMUTABLE, AttributeFlag.IMMUTABLE],
  [InodeFlag.APPEND, AttributeFlag.APPEND],
]);

export interface MappedFilesSettings extends IomapSettings {
  readonly warn: (text: string) => void;
  readonly onFailure: FailureHandler;
  /** Nothing is to be changed any more. */
  readonly shutDown: () => void;
}

/** Files that the kernel reads and writes by itself: it asks where they are, and says what it has written. */
export class MappedFiles implements IomapOperations {
  readonly #engine: WritableEngine;
  readonly #settings: MappedFilesSettings;
  readonly #opens = new LookupCounts();
  /** Null before IOMAP_CONFIG, without which nothing else is asked. */
  #answers: MappingAnswers | null = null;
  #cache: MappingCache | null = null;
  #maxBytes = 0;
  #isFrozen = false;
  /** Closed while nothing could be changed. */
  readonly #closedInFrost = new Set<number>();

  constructor(engine: WritableEngine, settings: MappedFilesSettings) {
    this.#engine = engine;
    this.#settings = settings;
  }

  /** The image is to stay as it is. */
  get isFrozen(): boolean {
    return this.#isFrozen;
  }

  /** Attribute flags, the same every time. Files that have no mappings are the kernel's in no respect. */
  static attributeFlags(node: Attributes): number {
    let flags: number = AttributeFlag.EXCLUSIVE;
    if (isMappable(node)) flags |= AttributeFlag.IOMAP;
    else if ((node.mode & FileType.MASK) === FileType.REGULAR) return 0;
    for (const [inodeFlag, shown] of SHOWN_FLAGS) {
      if ((node.flags & inodeFlag) !== 0) flags |= shown;
    }
    return flags;
  }

  config(request: Request, reply: Reply): number {
    const configured = configure(this.#engine, this.#settings, request, reply);
    if (typeof configured === 'number') return configured;
    this.#maxBytes = configured.maxBytes;
    const { device } = configured;
    this.#engine.blocks.onMetadataFreed = (pblk, lenBlocks) => this.#forgetDeviceBlocks(device, pblk, lenBlocks);
    this.#cache = new MappingCache(this.#settings.kernel, configured.profile);
    this.#answers = new MappingAnswers(this.#engine, this.#cache, configured, this.#settings.startBytes);
    this.#settings.notice(`file data is read and written by the kernel (iomap ${configured.profile.name})`);
    return Errno.OK;
  }

  begin(request: Request, reply: Reply): number {
    return this.#answers === null ? Errno.EIO : this.#answers.begin(request, reply);
  }

  /** IOMAP_IOEND: data has reached the device and becomes part of the file, or has not. */
  ioend(request: Request, reply: Reply): number {
    const inode = inodeOf(this.#engine, request.nodeId);
    const flags = request.u32(IOMAP_IOEND_IN.flags);
    const pos = request.u64(IOMAP_IOEND_IN.pos);
    const written = request.u64(IOMAP_IOEND_IN.written);
    if ((flags & ~IOEND_FLAGS) !== 0 || request.u64(IOMAP_IOEND_IN.attr_ino) !== inode.ino) return Errno.EINVAL;
    if (!isMappable(inode)) return Errno.EINVAL;
    if (pos + written > this.#maxBytes) return Errno.EFBIG;
    if ((flags & IoendFlag.SHARED) !== 0) return Errno.EUCLEAN;
    const error = i32ne(request.view, request.bodyStart + IOMAP_IOEND_IN.error);
    const converts = (flags & IoendFlag.UNWRITTEN) !== 0;
    const grows = (flags & IoendFlag.APPEND) !== 0;
    if (error !== 0) this.#noteFailure(inode, pos, error);
    else if (written > 0 && (converts || grows)) this.#engine.files.finish(inode, pos, written, converts, grows);
    putU64ne(reply.view, reply.zeroed(IOMAP_IOEND_OUT.SIZE) + IOMAP_IOEND_OUT.newsize, inode.sizeBytes);
    return Errno.OK;
  }

  /** OPEN has succeeded. */
  opened(request: Request): void {
    this.#opens.add(request.nodeId);
    try {
      const inode = inodeOf(this.#engine, request.nodeId);
      if (isMappable(inode)) this.#answers?.tellBeginning(inode);
    } catch (error) {
      // A broken map is for those to hear of who read the file.
      this.#settings.onFailure(`mapping inode ${request.nodeId}`, error);
    }
  }

  /** The reply tells of a file that is opened as it is made. */
  openedNew(reply: Reply): void {
    this.#opens.add(u64ne(reply.view, OUT_HEADER.SIZE + ENTRY_OUT.nodeid));
  }

  isInline(request: Request): boolean {
    const inode = inodeOf(this.#engine, request.nodeId);
    return isMappable(inode) && inode.hasFlag(InodeFlag.INLINE_DATA);
  }

  /**
   * READ of an inline file, which the kernel asks for as a whole block when it was told that the file is one. It takes
   * no answer of no bytes.
   */
  readInline(request: Request, reply: Reply): number {
    const inode = inodeOf(this.#engine, request.nodeId);
    const lengthBytes = request.u32(READ_IN.size);
    const offset = request.u64(READ_IN.offset);
    if (lengthBytes > reply.capacityBytes || offset > Number.MAX_SAFE_INTEGER) return Errno.EINVAL;
    const area = reply.dataArea(lengthBytes).fill(0);
    if (offset < inode.sizeBytes) this.#engine.readFile(inode, offset, area);
    reply.payloadBytes = lengthBytes;
    return Errno.OK;
  }

  /** RELEASE: after the last one nobody writes to the file, and what was allocated ahead of its end is given back. */
  release(request: Request): number {
    if (!this.#opens.forget(request.nodeId, 1)) return Errno.OK;
    if (this.#isFrozen) this.#closedInFrost.add(request.nodeId);
    else this.#giveBackSurplus(request.nodeId);
    return Errno.OK;
  }

  /** Nobody writes to anything any more. */
  finish(): void {
    try {
      this.thaw();
    } catch (error) {
      this.#settings.onFailure('thawing', error);
    }
    for (const ino of this.#engine.files.withSurplus) this.#giveBackSurplus(ino);
  }

  /** FREEZE_FS, after all has been synced: what is on the device is a file system in order. */
  freeze(): number {
    const errno = this.#engine.freeze();
    this.#isFrozen = errno === Errno.OK;
    return errno;
  }

  thaw(): number {
    if (!this.#isFrozen) return Errno.OK;
    this.#isFrozen = false;
    this.#engine.thaw();
    for (const ino of this.#closedInFrost) {
      if (this.#opens.count(ino) === 0) this.#giveBackSurplus(ino);
    }
    this.#closedInFrost.clear();
    return Errno.OK;
  }

  shutdown(): number {
    this.#settings.shutDown();
    return Errno.OK;
  }

  /** The kernel forgets the mappings first: it would use them when the file is opened again. */
  #giveBackSurplus(ino: number): void {
    try {
      const inode = inodeOf(this.#engine, ino);
      const block = this.#engine.files.surplusBlock(inode);
      if (block >= 0) this.#cache?.forgetFrom(ino, block * this.#engine.blockSize);
      this.#engine.files.giveBackSurplus(inode);
    } catch (error) {
      this.#settings.onFailure(`giving back what was allocated ahead of inode ${ino}`, error);
    }
  }

  /** Whoever gets the blocks next may write them past the device's page cache; parts of pages belong to others. */
  #forgetDeviceBlocks(device: number, pblk: number, lenBlocks: number): void {
    const { blockSize } = this.#engine;
    const start = this.#settings.startBytes + pblk * blockSize;
    const first = Math.ceil(start / PAGE_BYTES) * PAGE_BYTES;
    const end = Math.floor((start + lenBlocks * blockSize) / PAGE_BYTES) * PAGE_BYTES;
    if (end > first) this.#cache?.forgetDevicePages(device, first, end - first);
  }

  /** The kernel tells the program. Blocks that were allocated for the data stay unwritten. */
  #noteFailure(inode: Inode, pos: number, error: number): void {
    this.#settings.warn(`inode ${inode.ino}: the kernel could not write at ${pos}: ${errnoName(Math.abs(error))}`);
  }
}
