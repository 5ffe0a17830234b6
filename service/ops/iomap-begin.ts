import { Errno } from '../../shared/errno.ts';
import type { Inode } from '../ext4/inode.ts';
import { isMappable } from '../ext4/mappable.ts';
import { Mapping, MappingType } from '../ext4/mapping.ts';
import { IOMAP_BEGIN_IN, IOMAP_BEGIN_OUT, IomapOperation, RecordFlag, RecordType } from '../fuse/iomap-abi.ts';
import { IomapRecord, putPlainRecord, putRecord } from '../fuse/iomap-records.ts';
import type { MappingCache } from '../fuse/mapping-cache.ts';
import type { Reply } from '../fuse/reply.ts';
import type { Request } from '../fuse/request.ts';
import type { WritableEngine } from './engine.ts';
import type { IomapConfiguration } from './iomap-config.ts';
import { inodeOf } from './nodes.ts';

const Op = IomapOperation;
/** What of a file the kernel gets to know when it is opened, so that small files need no question at all. */
const OPEN_BYTES = 64 * 1024;
/** ...in this many pieces at most. */
const OPEN_RECORDS = 4;

const RECORD_TYPES: readonly number[] = (() => {
  const types: number[] = [];
  types[MappingType.HOLE] = RecordType.HOLE;
  types[MappingType.WRITTEN] = RecordType.MAPPED;
  types[MappingType.UNWRITTEN] = RecordType.UNWRITTEN;
  types[MappingType.INLINE] = RecordType.INLINE;
  return Object.freeze(types);
})();

/** IOMAP_BEGIN: where a range of a file is, or shall be written. */
export class MappingAnswers {
  readonly #engine: WritableEngine;
  readonly #cache: MappingCache;
  readonly #configuration: IomapConfiguration;
  readonly #startBytes: number;
  readonly #mapping = new Mapping();
  readonly #record = new IomapRecord();
  /** Flags of the kernel's question that we know. */
  readonly #knownFlags: number;
  /** What needs a place to write to. */
  readonly #writingFlags: number;
  /** What must not go, or is of no use, by way of the kernel's cache. */
  readonly #uncachedFlags: number;

  constructor(engine: WritableEngine, cache: MappingCache, configuration: IomapConfiguration, startBytes: number) {
    const { WRITEBACK, SWAPFILE } = configuration.profile.operation;
    this.#engine = engine;
    this.#cache = cache;
    this.#configuration = configuration;
    this.#startBytes = startBytes;
    this.#writingFlags = Op.WRITE | WRITEBACK;
    this.#uncachedFlags = Op.REPORT | Op.ATOMIC | SWAPFILE;
    this.#knownFlags =
      this.#writingFlags |
      this.#uncachedFlags |
      Op.ZERO |
      Op.FAULT |
      Op.DIRECT |
      Op.NOWAIT |
      Op.OVERWRITE_ONLY |
      Op.DONTCACHE;
  }

  begin(request: Request, reply: Reply): number {
    const flags = request.u32(IOMAP_BEGIN_IN.opflags);
    const pos = request.u64(IOMAP_BEGIN_IN.pos);
    const inode = inodeOf(this.#engine, request.nodeId);
    const errno = this.#refusal(inode, flags, pos, request);
    if (errno !== Errno.OK) return errno;
    const count = Math.min(request.u64(IOMAP_BEGIN_IN.count), Number.MAX_SAFE_INTEGER - pos);
    const found = (flags & this.#writingFlags) === 0 ? this.#find(inode, pos) : this.#place(inode, flags, pos, count);
    if (found !== Errno.OK) return found;
    this.#fillRecord(inode, flags, pos, count);
    if ((flags & Op.ATOMIC) !== 0) {
      const atomic = this.#makeAtomic(pos, count);
      if (atomic !== Errno.OK) return atomic;
    }
    this.#answer(inode, flags, reply);
    return Errno.OK;
  }

  /** The kernel opens the file: it gets to know where it begins. */
  tellBeginning(inode: Inode): void {
    const end = Math.min(inode.sizeBytes, OPEN_BYTES);
    for (let pos = 0, records = 0; pos < end && records < OPEN_RECORDS; records++) {
      this.#find(inode, pos);
      if (this.#mapping.type === MappingType.INLINE) return;
      this.#fillRecord(inode, 0, pos, end - pos);
      if (!this.#cache.upsert(inode.ino, this.#record)) return;
      pos = this.#record.offset + this.#record.length;
    }
  }

  #refusal(inode: Inode, flags: number, pos: number, request: Request): number {
    const isUnknown = (flags & ~this.#knownFlags) !== 0 || request.u32(IOMAP_BEGIN_IN.reserved) !== 0;
    if (isUnknown || request.u64(IOMAP_BEGIN_IN.attr_ino) !== inode.ino) return Errno.EINVAL;
    if (!isMappable(inode)) return inode.isRegular ? Errno.EOPNOTSUPP : Errno.EINVAL;
    const writes = (flags & this.#writingFlags) !== 0;
    if (!(pos < this.#configuration.maxBytes)) return writes ? Errno.EFBIG : Errno.EINVAL;
    if (request.u64(IOMAP_BEGIN_IN.count) === 0) return Errno.EINVAL;
    return writes && this.#engine.isReadOnly ? Errno.EROFS : Errno.OK;
  }

  #find(inode: Inode, pos: number): number {
    this.#engine.mapBlocks(inode, Math.floor(pos / this.#engine.blockSize), this.#mapping);
    return Errno.OK;
  }

  /** Finds or makes a place for data. */
  #place(inode: Inode, flags: number, pos: number, count: number): number {
    if ((flags & Op.OVERWRITE_ONLY) !== 0) {
      this.#find(inode, pos);
      const { type } = this.#mapping;
      return type === MappingType.HOLE || type === MappingType.INLINE ? Errno.EAGAIN : Errno.OK;
    }
    this.#engine.files.provide(inode, pos, count, (flags & Op.WRITE) !== 0, this.#mapping);
    return Errno.OK;
  }

  #fillRecord(inode: Inode, flags: number, pos: number, count: number): void {
    const { blockSize } = this.#engine;
    const { type, lblk, pblk, lenBlocks } = this.#mapping;
    const record = this.#record;
    record.flags = 0;
    if (type === MappingType.INLINE) {
      this.#fillInline(inode, flags, pos, count);
      return;
    }
    record.offset = lblk * blockSize;
    record.length = lenBlocks * blockSize;
    record.type = RECORD_TYPES[type];
    if (type === MappingType.HOLE) {
      record.device = 0;
      record.length = this.#holeLength(inode, record.offset, record.length, pos + count);
      return;
    }
    record.device = this.#configuration.device;
    record.address = this.#startBytes + pblk * blockSize;
    if (this.#engine.needsCommit(inode, true)) record.flags = RecordFlag.DIRTY;
  }

  /** One block is inline. What lies behind is nowhere, and what is to be zeroed of it is zeroed by whoever resizes. */
  #fillInline(inode: Inode, flags: number, pos: number, count: number): void {
    const { blockSize } = this.#engine;
    const record = this.#record;
    record.device = 0;
    record.offset = pos < blockSize ? 0 : blockSize;
    record.length = blockSize;
    if (pos >= blockSize) record.length = this.#holeLength(inode, blockSize, Number.MAX_SAFE_INTEGER, pos + count);
    record.type = pos >= blockSize || (flags & Op.ZERO) !== 0 ? RecordType.HOLE : RecordType.INLINE;
  }

  /** The last hole of a file ends with the file, or with what was asked for. */
  #holeLength(inode: Inode, offset: number, length: number, end: number): number {
    const { blockSize } = this.#engine;
    const most = Math.ceil(Math.max(inode.sizeBytes, end) / blockSize) * blockSize;
    return Math.min(length, most - offset);
  }

  /** One block in one piece: what the device can't do in one piece the kernel does not ask for. */
  #makeAtomic(pos: number, count: number): number {
    const record = this.#record;
    const { blockSize } = this.#engine;
    const isCovered = record.device !== 0 && pos + count <= record.offset + record.length;
    if (!isCovered || count !== blockSize || pos % blockSize !== 0) return Errno.EINVAL;
    record.flags |= RecordFlag.ATOMIC_BIO;
    return Errno.OK;
  }

  #answer(inode: Inode, flags: number, reply: Reply): void {
    const record = this.#record;
    const { PURE_OVERWRITE, RETRY_CACHE } = this.#configuration.profile.type;
    const mayCache = (flags & this.#uncachedFlags) === 0 && record.type !== RecordType.INLINE;
    const isCached = mayCache && this.#cache.upsert(inode.ino, record);
    const at = reply.zeroed(IOMAP_BEGIN_OUT.SIZE);
    const { view } = reply;
    if (isCached) putPlainRecord(view, at + IOMAP_BEGIN_OUT.read, record.offset, record.length, RETRY_CACHE);
    else putRecord(view, at + IOMAP_BEGIN_OUT.read, record);
    putPlainRecord(view, at + IOMAP_BEGIN_OUT.write, record.offset, record.length, PURE_OVERWRITE);
  }
}
