import { Errno } from '../../shared/errno.ts';
import type { Connection, Reply, Task } from './connection.ts';
import type { Ledger } from './ledger.ts';
import {
  covers,
  decodeRecord,
  encodeRecord,
  endOf,
  isWithAddress,
  type Mapping,
  type MappingLimits,
  NO_ADDRESS,
  putU64,
  RECORD,
  roleOf,
  u64,
} from './mapping.ts';
import type { PeerInode } from './peer-inode.ts';
import { IoendFlag, type IomapNumbers, MappingFlag, MappingType, OpFlag } from './profile.ts';
import { Violation } from './violation.ts';
import { Op } from './wire.ts';

const BEGIN_BYTES = 32;
const END_BYTES = 72;
const IOEND_BYTES = 48;
/** So often may a server say "look again" before it is taken to say so for ever. */
const RETRIES_MAX = 16;
/** Lookups that change nothing are tested for that by chance. */
const ALLOCATION_CHECKS_ONE_IN = 61;

/** How a write to the device ended, for IOEND. */
export interface Completion {
  readonly pos: number;
  readonly written: number;
  readonly flags: number;
  readonly errno: number;
  readonly device: number;
  readonly address: number;
}

/** BEGIN, END and IOEND, as a kernel sends them and takes their answers. */
export class MappingRequests {
  readonly limits: MappingLimits;
  readonly #connection: Connection;
  readonly #ledger: Ledger;
  readonly #numbers: IomapNumbers;
  #noEnd = false;
  #lookups = 0;

  constructor(connection: Connection, ledger: Ledger, limits: MappingLimits) {
    this.#connection = connection;
    this.#ledger = ledger;
    this.limits = limits;
    this.#numbers = limits.numbers;
  }

  /** Where `pos` is, for what `opflags` say; or an errno. */
  *begin(inode: PeerInode, pos: number, count: number, opflags: number): Task<Mapping | number> {
    for (let round = 0; ; round++) {
      const cached = this.#lookUp(inode, pos, opflags);
      if (cached !== null) return cached;
      if (round === 1 && !this.#connection.isConcurrent) {
        throw new Violation('P-5', `"look again" for ${opflags} at ${pos} of inode ${inode.nodeId} without a mapping`);
      }
      if (round === RETRIES_MAX) throw new Violation('P-5', `${round} times "look again" at ${pos}`);
      const answer = yield* this.#ask(inode, pos, count, opflags);
      if (answer !== null) return answer;
    }
  }

  #isWrite(opflags: number): boolean {
    return (opflags & (OpFlag.WRITE | OpFlag.ZERO)) !== 0 || this.#isWriteback(opflags);
  }

  #isWriteback(opflags: number): boolean {
    return (opflags & this.#numbers.WRITEBACK) !== 0;
  }

  #isCacheable(opflags: number): boolean {
    if ((opflags & (OpFlag.ATOMIC | this.#numbers.SWAPFILE)) !== 0) return false;
    return (opflags & OpFlag.REPORT) === 0 || !this.#numbers.reportsUncached;
  }

  #lookUp(inode: PeerInode, pos: number, opflags: number): Mapping | null {
    if (inode.cache === null || !this.#isCacheable(opflags)) return null;
    const found = inode.cache.find(pos);
    if (found === null) return null;
    const needsPlace = this.#isWrite(opflags) && (opflags & OpFlag.ZERO) === 0;
    return needsPlace && found.type === MappingType.HOLE ? null : found;
  }

  /** Null: the mapping has come into the cache. */
  *#ask(inode: PeerInode, pos: number, count: number, opflags: number): Task<Mapping | null | number> {
    const mayAllocate = (opflags & OpFlag.WRITE) !== 0 || this.#isWriteback(opflags);
    const isChecked =
      !mayAllocate && !this.#connection.isConcurrent && ++this.#lookups % ALLOCATION_CHECKS_ONE_IN === 0;
    const before = isChecked ? this.freeBlocks() : 0;
    const body = this.#connection.begin(BEGIN_BYTES);
    body.setUint32(0, opflags >>> 0, true);
    putU64(body, 8, inode.attrIno);
    putU64(body, 16, pos);
    putU64(body, 24, count);
    let mapping: Mapping | null = null;
    const take = (view: DataView, at: number): void => {
      mapping = this.#take(inode, pos, opflags, view, at);
    };
    const reply = yield* this.#connection.ask(Op.IOMAP_BEGIN, inode.nodeId, BEGIN_BYTES, 0, take);
    // There may be more than before: what was freed becomes free with a commit of the server's own accord.
    if (isChecked && this.freeBlocks() < before) {
      throw new Violation('P-4', `BEGIN ${opflags} at ${pos} of inode ${inode.nodeId} allocates blocks`);
    }
    return reply.errno === 0 ? mapping : reply.errno;
  }

  #take(inode: PeerInode, pos: number, opflags: number, view: DataView, at: number): Mapping | null {
    const read = decodeRecord(view, at, this.limits);
    const write = decodeRecord(view, at + RECORD.SIZE, this.limits);
    const where = `BEGIN ${opflags} at ${pos} of inode ${inode.nodeId}`;
    if (!covers(read, pos) || !covers(write, pos)) throw new Violation('P-2', `${where}: the answer is of elsewhere`);
    const writeRole = roleOf(view, at + RECORD.SIZE, this.#numbers);
    const readRole = roleOf(view, at, this.#numbers);
    if (writeRole !== 'pure overwrite') throw new Violation('P-2', `${where}: the write record is a ${writeRole}`);
    if (readRole === 'retry') {
      if (inode.cache === null) throw new Violation('P-5', `${where}: "look again" without a mapping cache`);
      if (!this.#isCacheable(opflags)) throw new Violation('P-5', `${where}: "look again" where nobody looks`);
      return null;
    }
    if (readRole !== 'mapping') throw new Violation('P-2', `${where}: the read record is a ${readRole}`);
    this.#requireFit(read, opflags, where);
    this.#ledger.note(inode.nodeId, read);
    return read;
  }

  /** P-3, P-5. */
  #requireFit(mapping: Mapping, opflags: number, where: string): void {
    const isDirectWrite = (opflags & (OpFlag.WRITE | OpFlag.DIRECT)) === (OpFlag.WRITE | OpFlag.DIRECT);
    const needsBlock = isDirectWrite || this.#isWriteback(opflags);
    if (needsBlock && mapping.type === MappingType.HOLE) throw new Violation('P-3', `${where}: answered with a hole`);
    // For writes through the page cache a hole would do for now, but nobody could be told of a lack of space later.
    if ((opflags & OpFlag.WRITE) !== 0 && mapping.type === MappingType.HOLE) {
      throw new Violation('P-3', `${where}: nothing was allocated`);
    }
    if (this.#isWriteback(opflags) && mapping.type === MappingType.INLINE) {
      throw new Violation('P-3', `${where}: answered inline`);
    }
    if ((opflags & OpFlag.ATOMIC) !== 0 && (mapping.flags & MappingFlag.ATOMIC_BIO) === 0) {
      throw new Violation('P-5', `${where}: not to be written in one piece`);
    }
  }

  /** Free blocks by STATFS. */
  freeBlocks(): number {
    const reply = this.#connection.askNow(Op.STATFS, this.rootNodeId, 0);
    return u64(reply.view, reply.at + 8);
  }

  rootNodeId = 1;

  /** Tells how much of a mapping was used; an errno when nothing was and the server minds. */
  *end(
    inode: PeerInode,
    pos: number,
    count: number,
    written: number,
    opflags: number,
    mapping: Mapping,
    extraFlags: number,
  ): Task<number> {
    if (this.#noEnd) return 0;
    const isDue = this.#isWriteback(opflags)
      ? this.#numbers.endsWriteback
      : this.#isWrite(opflags) && ((extraFlags & MappingFlag.SIZE_CHANGED) !== 0 || written < count);
    if (!isDue || mapping.type === MappingType.INLINE) return 0;
    const body = this.#connection.begin(END_BYTES);
    body.setUint32(0, opflags >>> 0, true);
    putU64(body, 8, inode.attrIno);
    putU64(body, 16, pos);
    putU64(body, 24, count);
    putU64(body, 32, written);
    encodeRecord(body, 40, mapping, extraFlags);
    const { errno } = yield* this.#connection.ask(Op.IOMAP_END, inode.nodeId, END_BYTES);
    if (errno === Errno.ENOSYS) {
      this.#noEnd = true;
      return 0;
    }
    return written > 0 ? 0 : errno;
  }

  /** Data has reached the device, or could not. Returns an errno of the server's. */
  *ioend(inode: PeerInode, completion: Completion): Task<number> {
    const { pos, written } = completion;
    const end = pos + written;
    const grows = written > 0 && end > inode.diskSize;
    const flags = completion.flags | (grows ? IoendFlag.APPEND : 0);
    let newSize = Math.max(inode.diskSize, end);
    const changes = written > 0 && (flags & (IoendFlag.UNWRITTEN | IoendFlag.APPEND)) !== 0;
    const isDue = changes || completion.errno !== 0 || (flags & IoendFlag.SWAPOFF) !== 0;
    if (isDue) {
      const reply = yield* this.#tellIoend(inode, completion, flags);
      if (reply.errno !== 0) return reply.errno;
      newSize = u64(reply.view, reply.at);
    }
    if (completion.errno !== 0) return 0;
    inode.diskSize = this.#numbers.trustsNewSize ? newSize : Math.max(inode.diskSize, newSize);
    // What the page cache has written may have been cut off by a truncation meanwhile.
    if ((flags & IoendFlag.DIRECT) !== 0 && end > inode.size) inode.size = end;
    inode.cache?.drop(this.#blockStart(pos), this.#blockEnd(end) - this.#blockStart(pos));
    return 0;
  }

  *#tellIoend(inode: PeerInode, completion: Completion, flags: number): Task<Reply> {
    const { pos, written, errno } = completion;
    const end = pos + written;
    const body = this.#connection.begin(IOEND_BYTES);
    body.setUint32(0, flags, true);
    body.setInt32(4, -errno, true);
    putU64(body, 8, inode.attrIno);
    putU64(body, 16, pos);
    if (completion.address === NO_ADDRESS) {
      body.setUint32(24, 0xffffffff, true);
      body.setUint32(28, 0xffffffff, true);
      // Sectors, whatever the header says.
    } else putU64(body, 24, completion.address / 512);
    putU64(body, 32, written);
    body.setUint32(40, completion.device, true);
    return yield* this.#connection.ask(Op.IOMAP_IOEND, inode.nodeId, IOEND_BYTES, 0, (view, at) => {
      const said = u64(view, at);
      const grows = errno === 0 && (flags & IoendFlag.APPEND) !== 0;
      const expected = grows ? Math.max(inode.serverSize, end) : inode.serverSize;
      if (said !== expected) {
        throw new Violation('P-10', `IOEND ${flags} of ${pos}+${written}: size ${said} and not ${expected}`);
      }
      inode.serverSize = said;
      if (errno === 0 && (flags & IoendFlag.UNWRITTEN) !== 0) {
        this.#ledger.converted(inode.nodeId, this.#blockStart(pos), this.#blockEnd(end));
      }
    });
  }

  #blockStart(pos: number): number {
    return pos - (pos % this.limits.blockBytes);
  }

  #blockEnd(pos: number): number {
    return Math.ceil(pos / this.limits.blockBytes) * this.limits.blockBytes;
  }
}

/** How much of `count` bytes from `pos` on the mapping has. */
export const usable = (mapping: Mapping, pos: number, count: number): number => Math.min(count, endOf(mapping) - pos);

export const addressOf = (mapping: Mapping, pos: number): number => mapping.address + (pos - mapping.offset);

/** Reads as zeros: nothing was ever written there. */
export const readsAsZeros = (mapping: Mapping): boolean =>
  !isWithAddress(mapping.type) || mapping.type === MappingType.UNWRITTEN || (mapping.flags & MappingFlag.NEW) !== 0;
