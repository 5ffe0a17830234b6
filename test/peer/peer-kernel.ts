import { Errno } from '../../shared/errno.ts';
import { BufferedIo, type DataContext } from './buffered-io.ts';
import { Connection, type Ends, type Reply, runAlone, type Task } from './connection.ts';
import { DirectIo, FALL_BACK } from './direct-io.ts';
import { FileSize } from './file-size.ts';
import { KernelControl } from './kernel-control.ts';
import type { Ledger } from './ledger.ts';
import { endOf, putU64, u64 } from './mapping.ts';
import { MappingRequests } from './mapping-requests.ts';
import { PageCache } from './page-cache.ts';
import type { PeerDevice } from './peer-device.ts';
import { PeerInode } from './peer-inode.ts';
import { AttrFlag, BIT_43, type IomapNumbers, MappingType, OpFlag, type Profile } from './profile.ts';
import { StockIo } from './stock-io.ts';
import { Violation } from './violation.ts';
import { Op, opName, SetattrBit } from './wire.ts';

const REGULAR = 0o100000;
const ATTR_AT = 16;
const ENTRY_ATTR_AT = 40;
const SETATTR_BYTES = 88;
const CONFIG_BYTES = 64;
const CONFIG_REPLY_MAX_BYTES = 104;
/** All that a kernel of today offers in the first word. */
const FLAGS = 0x77ffffff;
const INIT_EXT = 2 ** 30;
const VFS_MAX_BYTES = 2 ** 53 - 1;
const ConfigFlag = Object.freeze({ ALL: 0x7f, BLOCK_SIZE: 4, MAX_BYTES: 0x20, CACHE_BYTES: 0x40 });
const OpenReply = Object.freeze({ DIRECT_IO: 1, KEEP_CACHE: 2, FORBIDDEN: 0x4 | 0x10 | 0x80 });

export interface PeerSettings {
  readonly profile: Profile;
  readonly folioBytes: number;
  readonly rootNodeId: number;
}

/** A mount as the kernel sees it: what programs do, in terms of requests. */
export class PeerKernel {
  readonly profile: Profile;
  readonly connection: Connection;
  readonly control: KernelControl;
  readonly ledger: Ledger;
  readonly device: PeerDevice;
  readonly inodes = new Map<number, PeerInode>();
  readonly rootNodeId: number;
  /** Of the mappings; known after CONFIG. */
  blockBytes = 4096;
  maxBytes = VFS_MAX_BYTES;
  #folioBytes: number;
  #acceptsIomap = false;
  readonly #spareFolios: Uint8Array[] = [];
  #requests: MappingRequests | null = null;
  #buffered: BufferedIo | null = null;
  #direct: DirectIo | null = null;
  #size: FileSize | null = null;
  readonly #stock: StockIo;
  #opensAreAsked = true;
  #flushIsAsked = true;

  constructor(ends: Ends, device: PeerDevice, ledger: Ledger, settings: PeerSettings) {
    this.profile = settings.profile;
    this.#folioBytes = settings.folioBytes;
    this.rootNodeId = settings.profile.iomap === null ? 1 : settings.rootNodeId;
    this.connection = new Connection(settings.profile, ends);
    this.device = device;
    this.ledger = ledger;
    this.control = new KernelControl(settings.profile, ledger, this.inodes);
    this.connection.handleControlBy(this.control);
    this.#stock = new StockIo(this.connection);
  }

  /** INIT and CONFIG. */
  initialise(): void {
    const body = this.connection.begin(64);
    body.setUint32(0, 7, true);
    body.setUint32(4, this.profile.minor, true);
    body.setUint32(8, 128 * 1024, true);
    body.setUint32(12, FLAGS, true);
    body.setUint32(16, this.profile.flags2, true);
    const reply = this.connection.askNow(Op.INIT, 0, 64);
    if (reply.errno !== 0) throw new Violation('P-1', `INIT fails with errno ${reply.errno}`);
    this.#takeInit(reply);
    if (this.#acceptsIomap) this.#configure();
    this.control.stage = 'live';
    const root = this.#getattr(this.rootNodeId);
    if (this.#acceptsIomap && (root.flags & AttrFlag.EXCLUSIVE) === 0) {
      throw new Violation('P-6', 'the root directory is not exclusive');
    }
  }

  #takeInit(reply: Reply): void {
    const flags = reply.view.getUint32(reply.at + 12, true);
    const flags2 = reply.view.getUint32(reply.at + 32, true);
    if ((flags & ~FLAGS) !== 0) throw new Violation('P-1', `INIT accepts ${flags.toString(16)}, more than offered`);
    const isExtended = (flags & INIT_EXT) !== 0;
    if (isExtended && (flags2 & ~this.profile.flags2) !== 0) {
      throw new Violation('P-1', `INIT accepts ${flags2.toString(16)} of the second word, more than offered`);
    }
    const hasBit = isExtended && (flags2 & BIT_43) !== 0;
    if (hasBit && this.profile.iomap === null) throw new Violation('P-8', 'bit 43 echoed to a kernel without iomap');
    const minor = reply.view.getUint32(reply.at + 4, true);
    this.#acceptsIomap = hasBit && minor >= 99;
    if (hasBit && minor < 99) throw new Violation('P-8', `iomap accepted with minor ${minor}: no file would use it`);
  }

  get usesIomap(): boolean {
    return this.#acceptsIomap;
  }

  #configure(): void {
    const { iomap } = this.profile;
    if (iomap === null) return;
    this.control.stage = 'configuring';
    const body = this.connection.begin(CONFIG_BYTES);
    putU64(body, 0, ConfigFlag.ALL);
    putU64(body, 8, VFS_MAX_BYTES);
    body.setUint32(16, this.control.cacheBytes, true);
    const reply = this.connection.askNow(Op.IOMAP_CONFIG, 0, CONFIG_BYTES, CONFIG_REPLY_MAX_BYTES);
    if (reply.errno === Errno.ENOSYS) throw new Violation('P-8', 'CONFIG is answered ENOSYS: no block size');
    if (reply.errno !== 0) throw new Violation('P-8', `CONFIG fails with errno ${reply.errno}`);
    const bytes = new Uint8Array(CONFIG_REPLY_MAX_BYTES);
    bytes.set(reply.bytes.subarray(reply.at, reply.at + reply.length));
    this.#takeConfig(new DataView(bytes.buffer), iomap);
  }

  #takeConfig(view: DataView, numbers: IomapNumbers): void {
    const flags = u64(view, 0);
    const refuse = (why: string): Violation => new Violation('P-2', `CONFIG: ${why}`);
    if (flags > ConfigFlag.ALL) throw refuse(`flags ${flags}`);
    if (view.getUint8(56) > 16 || view.getUint8(57) + view.getUint8(58) + view.getUint8(59) > 0)
      throw refuse('padding');
    if ((flags & ConfigFlag.BLOCK_SIZE) === 0) throw refuse('no block size');
    const blockBytes = view.getUint32(60, true);
    if (blockBytes < 512 || blockBytes > 4096 || (blockBytes & (blockBytes - 1)) !== 0) {
      throw refuse(`blocks of ${blockBytes} bytes`);
    }
    const granularity = view.getUint32(68, true);
    if ((flags & 0x10) !== 0 && (granularity === 0 || granularity > 1e9)) throw refuse(`times of ${granularity} ns`);
    if ((flags & ConfigFlag.MAX_BYTES) !== 0) this.maxBytes = u64(view, 88);
    if (this.maxBytes > VFS_MAX_BYTES) throw refuse(`files of ${this.maxBytes} bytes`);
    if ((flags & ConfigFlag.CACHE_BYTES) !== 0) {
      const wanted = view.getUint32(96, true);
      if (wanted !== 0) this.control.cacheBytes = Math.min(Math.max(wanted, 256), 2 * 2 ** 20);
    }
    this.blockBytes = blockBytes;
    const limits = {
      numbers,
      blockBytes,
      maxBytes: this.maxBytes,
      deviceBytes: (id: number) => this.control.deviceBytes(id),
    };
    this.control.limits = limits;
    this.#requests = new MappingRequests(this.connection, this.ledger, limits);
    this.#requests.rootNodeId = this.rootNodeId;
    const context: DataContext = {
      connection: this.connection,
      requests: this.#requests,
      device: this.device,
      blockBytes,
    };
    this.#buffered = new BufferedIo(context);
    this.#direct = new DirectIo(context, this.#buffered);
    this.#size = new FileSize(context, this.#buffered, this.ledger);
    this.#folioBytes = Math.max(this.#folioBytes, blockBytes);
  }

  get requests(): MappingRequests {
    return present(this.#requests);
  }

  get buffered(): BufferedIo {
    return present(this.#buffered);
  }

  // Names. ---------------------------------------------------------------------------------------------------------

  /** The inode of a name, or a negative errno. */
  lookup(parent: number, name: string): PeerInode | number {
    this.connection.begin(0);
    const reply = this.connection.askNow(Op.LOOKUP, parent, this.connection.putName(0, name));
    if (reply.errno !== 0) return -reply.errno;
    return u64(reply.view, reply.at) === 0 ? -Errno.ENOENT : this.#instantiate(reply);
  }

  create(parent: number, name: string, mode = 0o644): PeerInode | number {
    const body = this.connection.begin(16);
    body.setUint32(0, REGULAR | mode, true);
    const reply = this.connection.askNow(Op.MKNOD, parent, this.connection.putName(16, name));
    return reply.errno !== 0 ? -reply.errno : this.#instantiate(reply);
  }

  mkdir(parent: number, name: string): PeerInode | number {
    const body = this.connection.begin(8);
    body.setUint32(0, 0o755, true);
    const reply = this.connection.askNow(Op.MKDIR, parent, this.connection.putName(8, name));
    return reply.errno !== 0 ? -reply.errno : this.#instantiate(reply);
  }

  /** An errno. `inode`: whose only name it is. */
  unlink(parent: number, name: string, inode: PeerInode): number {
    this.connection.begin(0);
    const { errno } = this.connection.askNow(Op.UNLINK, parent, this.connection.putName(0, name));
    if (errno === 0) inode.hasName = false;
    return errno;
  }

  /** The inode with one more name, or a negative errno. */
  link(inode: PeerInode, parent: number, name: string): PeerInode | number {
    putU64(this.connection.begin(8), 0, inode.nodeId);
    const reply = this.connection.askNow(Op.LINK, parent, this.connection.putName(8, name));
    return reply.errno !== 0 ? -reply.errno : this.#instantiate(reply);
  }

  /** An errno. `victim`: the inode whose only name is taken by this. */
  rename(parent: number, from: string, to: string, victim: PeerInode | null): number {
    const body = this.connection.begin(16);
    putU64(body, 0, parent);
    const at = this.connection.putName(16, from);
    const { errno } = this.connection.askNow(Op.RENAME2, parent, this.connection.putName(at, to));
    if (errno === 0 && victim !== null) victim.hasName = false;
    return errno;
  }

  #instantiate(reply: Reply): PeerInode {
    const { view, at } = reply;
    const nodeId = u64(view, at);
    const attr = at + ENTRY_ATTR_AT;
    const flags = view.getUint32(attr + 84, true);
    const mode = view.getUint32(attr + 60, true);
    const known = this.inodes.get(nodeId);
    if (known !== undefined) {
      this.#requireFlags(known, flags);
      known.lookups++;
      return known;
    }
    if ((flags & AttrFlag.IOMAP) !== 0 && (flags & AttrFlag.EXCLUSIVE) === 0) {
      throw new Violation('P-6', `inode ${nodeId} uses iomap and is not exclusive`);
    }
    if (!this.usesIomap && flags !== 0) throw new Violation('P-8', `flags ${flags} of inode ${nodeId} without iomap`);
    if (this.usesIomap && (flags & AttrFlag.EXCLUSIVE) === 0) {
      throw new Violation('P-6', `inode ${nodeId} is not exclusive`);
    }
    const pages = new PageCache(this.#folioBytes, Math.min(this.blockBytes, this.#folioBytes), this.#spareFolios);
    const inode = new PeerInode(nodeId, u64(view, attr), flags, mode, u64(view, attr + 8), pages);
    if (this.usesIomap && inode.attrIno !== nodeId) throw new Violation('P-6', `inode ${nodeId} is ${inode.attrIno}`);
    inode.lookups = 1;
    this.inodes.set(nodeId, inode);
    return inode;
  }

  #requireFlags(inode: PeerInode, flags: number): void {
    if (flags !== inode.flags) {
      throw new Violation('P-6', `the flags of inode ${inode.nodeId} change from ${inode.flags} to ${flags}`);
    }
  }

  // Attributes. ----------------------------------------------------------------------------------------------------

  #getattr(nodeId: number): { size: number; flags: number } {
    this.connection.begin(16);
    const reply = this.connection.askNow(Op.GETATTR, nodeId, 16);
    if (reply.errno !== 0) throw new Violation('P-1', `GETATTR of ${nodeId} fails with errno ${reply.errno}`);
    const at = reply.at + ATTR_AT;
    return { size: u64(reply.view, at + 8), flags: reply.view.getUint32(at + 84, true) };
  }

  /** The server's attributes must be what it was told (P-6, P-10). */
  checkAttributes(inode: PeerInode): void {
    const { size, flags } = this.#getattr(inode.nodeId);
    this.#requireFlags(inode, flags);
    if (inode.usesIomap && size !== inode.serverSize) {
      throw new Violation('P-10', `inode ${inode.nodeId} has ${size} bytes after it was told ${inode.serverSize}`);
    }
  }

  *#writeTimes(inode: PeerInode): Task<number> {
    if (!inode.timesAreDirty || !inode.usesIomap) return 0;
    inode.timesAreDirty = false;
    inode.mtimeSec = 1_700_000_000 + (this.connection.count(Op.SETATTR) % 1000);
    const body = this.connection.begin(SETATTR_BYTES);
    body.setUint32(0, SetattrBit.ATIME | SetattrBit.MTIME | SetattrBit.CTIME, true);
    for (const at of [32, 40, 48]) putU64(body, at, inode.mtimeSec);
    const { errno } = yield* this.connection.ask(Op.SETATTR, inode.nodeId, SETATTR_BYTES, 0, (view, at) => {
      const told = u64(view, at + ATTR_AT + 8);
      const flags = view.getUint32(at + ATTR_AT + 84, true);
      this.#requireFlags(inode, flags);
      if (told !== inode.serverSize) {
        throw new Violation('P-10', `SETATTR of times: inode ${inode.nodeId} has ${told}, not ${inode.serverSize}`);
      }
    });
    return errno;
  }

  // Opening and closing. -------------------------------------------------------------------------------------------

  /** An errno. */
  open(inode: PeerInode): number {
    inode.opens++;
    if (!this.#opensAreAsked) return 0;
    const body = this.connection.begin(8);
    body.setUint32(0, 2, true);
    const reply = this.connection.askNow(Op.OPEN, inode.nodeId, 8);
    if (reply.errno === Errno.ENOSYS) {
      this.#opensAreAsked = false;
      return 0;
    }
    if (reply.errno !== 0) {
      inode.opens--;
      return reply.errno;
    }
    const flags = reply.view.getUint32(reply.at + 8, true);
    if (!inode.usesIomap) return 0;
    if ((flags & OpenReply.FORBIDDEN) !== 0) throw new Violation('P-7', `OPEN answered with flags ${flags}`);
    if ((flags & OpenReply.KEEP_CACHE) === 0) inode.pages.removeWithin(0, Number.MAX_SAFE_INTEGER);
    return 0;
  }

  /** The first error of a writeback since somebody asked, or of the server's. */
  *close(inode: PeerInode): Task<number> {
    if (inode.usesIomap) {
      yield* this.buffered.writeback.run(inode);
      yield* this.#writeTimes(inode);
    }
    const error = takeError(inode);
    if (this.#flushIsAsked) {
      this.connection.begin(24);
      const { errno } = yield* this.connection.ask(Op.FLUSH, inode.nodeId, 24);
      if (errno === Errno.ENOSYS) this.#flushIsAsked = false;
    }
    inode.opens--;
    if (inode.opens === 0 && inode.usesIomap) {
      // Space behind the end is the server's to take back now.
      const { blockBytes } = this;
      const end = Math.ceil(Math.max(inode.size, inode.diskSize) / blockBytes) * blockBytes;
      this.ledger.loosen(inode.nodeId, end, Number.MAX_SAFE_INTEGER);
    }
    if (this.#opensAreAsked) {
      const body = this.connection.begin(24);
      body.setUint32(8, 2, true);
      this.connection.tell(Op.RELEASE, inode.nodeId, 24);
    }
    return error;
  }

  /** The kernel forgets the inode: nobody has it open, and nothing is dirty. */
  forget(inode: PeerInode): void {
    const body = this.connection.begin(8);
    putU64(body, 0, inode.lookups);
    this.connection.tell(Op.FORGET, inode.nodeId, 8);
    inode.pages.removeWithin(0, Number.MAX_SAFE_INTEGER);
    this.inodes.delete(inode.nodeId);
    if (!inode.hasName) this.ledger.forget(inode.nodeId);
  }

  /** Drops clean folios by chance, as when memory is short. */
  shrink(random: () => number, chance: number): void {
    for (const inode of this.inodes.values()) {
      for (const folio of [...inode.pages.folios]) {
        if (folio.dirty === 0 && !folio.isLocked && !folio.isUnderWriteback && random() < chance) {
          inode.pages.remove(folio);
        }
      }
    }
  }

  // Data. ----------------------------------------------------------------------------------------------------------

  *read(inode: PeerInode, pos: number, into: Uint8Array): Task<number> {
    if (!inode.usesIomap) return this.#stock.read(inode, pos, into);
    yield* inode.lock.share();
    const result = yield* this.buffered.read(inode, pos, into);
    inode.lock.unshare();
    return result;
  }

  *write(inode: PeerInode, pos: number, data: Uint8Array): Task<number> {
    if (!inode.usesIomap) return this.#stock.write(inode, pos, data);
    yield* inode.lock.lock();
    let result = -(yield* this.#prepareWrite(inode, pos));
    if (result === 0) result = yield* this.buffered.write(inode, pos, data);
    inode.lock.unlock();
    return result;
  }

  *mappedWrite(inode: PeerInode, pos: number, data: Uint8Array): Task<number> {
    if (!inode.usesIomap) return this.#stock.write(inode, pos, data);
    return yield* this.buffered.mappedWrite(inode, pos, data);
  }

  *directRead(inode: PeerInode, pos: number, into: Uint8Array): Task<number> {
    if (!inode.usesIomap) return this.#stock.read(inode, pos, into);
    yield* inode.lock.share();
    let result = yield* present(this.#direct).read(inode, pos, into);
    if (result === FALL_BACK) result = yield* this.buffered.read(inode, pos, into);
    inode.lock.unshare();
    return result;
  }

  *directWrite(inode: PeerInode, pos: number, data: Uint8Array): Task<number> {
    if (!inode.usesIomap) return this.#stock.write(inode, pos, data);
    yield* inode.lock.lock();
    let result = -(yield* this.#prepareWrite(inode, pos));
    if (result === 0) result = yield* present(this.#direct).write(inode, pos, data);
    if (result === FALL_BACK) {
      result = yield* this.buffered.write(inode, pos, data);
      yield* this.buffered.writeback.run(inode, pos, pos + data.length);
    }
    inode.lock.unlock();
    return result;
  }

  /** Capabilities go, and what lies between the end and `pos` reads as zeros. */
  *#prepareWrite(inode: PeerInode, pos: number): Task<number> {
    if (!inode.knowsCapability) {
      inode.knowsCapability = true;
      this.connection.begin(8);
      const bodyBytes = this.connection.putName(8, 'security.capability');
      yield* this.connection.ask(Op.GETXATTR, inode.nodeId, bodyBytes, 8);
    }
    return pos > inode.size ? yield* this.buffered.zero(inode, inode.size, pos - inode.size) : 0;
  }

  *truncate(inode: PeerInode, size: number): Task<number> {
    if (!inode.usesIomap) return this.#stock.truncate(inode, size);
    yield* inode.lock.lock();
    const errno = yield* present(this.#size).truncate(inode, size, inode.opens > 0);
    inode.lock.unlock();
    return errno;
  }

  *fallocate(inode: PeerInode, mode: number, offset: number, length: number): Task<number> {
    if (!inode.usesIomap) return this.#stock.fallocate(inode, mode, offset, length);
    yield* inode.lock.lock();
    const errno = yield* present(this.#size).fallocate(inode, mode, offset, length);
    inode.lock.unlock();
    return errno;
  }

  *fsync(inode: PeerInode, dataOnly = false): Task<number> {
    if (inode.usesIomap) {
      yield* this.buffered.writeback.run(inode);
      yield* this.#writeTimes(inode);
    }
    const error = takeError(inode);
    const body = this.connection.begin(16);
    body.setUint32(8, dataOnly ? 1 : 0, true);
    const { errno } = yield* this.connection.ask(Op.FSYNC, inode.nodeId, 16);
    if (errno === 0 && !this.connection.isConcurrent) this.ledger.synced(inode.nodeId);
    return error || errno;
  }

  /** Ranges of data as SEEK_DATA and SEEK_HOLE find them; only where nothing is dirty. */
  *dataRanges(inode: PeerInode): Task<[from: number, to: number][]> {
    const found: [number, number][] = [];
    for (let at = 0; at < inode.size; ) {
      const mapping = yield* this.requests.begin(inode, at, inode.size - at, OpFlag.REPORT);
      if (typeof mapping === 'number') throw new Violation('P-1', `REPORT fails with errno ${mapping}`);
      const end = endOf(mapping);
      if (mapping.type === MappingType.MAPPED || mapping.type === MappingType.INLINE) found.push([at, end]);
      at = end;
    }
    return found;
  }

  // The whole file system. -----------------------------------------------------------------------------------------

  /** An errno. */
  *syncfs(): Task<number> {
    for (const inode of [...this.inodes.values()]) {
      if (!inode.usesIomap) continue;
      yield* this.buffered.writeback.run(inode);
      yield* this.#writeTimes(inode);
    }
    const errno = yield* this.#plain(Op.SYNCFS, this.rootNodeId, 8);
    if (errno === 0 && !this.connection.isConcurrent)
      for (const nodeId of this.inodes.keys()) this.ledger.synced(nodeId);
    return errno;
  }

  *freeze(): Task<number> {
    const errno = yield* this.syncfs();
    if (errno !== 0) return errno;
    const unlinked = [...this.inodes.values()].filter((inode) => !inode.hasName).length;
    const body = this.connection.begin(8);
    putU64(body, 0, unlinked);
    return (yield* this.connection.ask(Op.FREEZE_FS, this.rootNodeId, 8)).errno;
  }

  *thaw(): Task<number> {
    return yield* this.#plain(Op.UNFREEZE_FS, this.rootNodeId, 0);
  }

  *#plain(opcode: number, nodeId: number, bodyBytes: number): Task<number> {
    this.connection.begin(bodyBytes);
    return (yield* this.connection.ask(opcode, nodeId, bodyBytes)).errno;
  }

  /** As umount(8) does: everything is written, forgotten, and DESTROY answered. */
  unmount(): void {
    for (const inode of [...this.inodes.values()]) while (inode.opens > 0) runAlone(this.close(inode));
    const errno = runAlone(this.syncfs());
    if (errno !== 0) throw new Violation('L-3', `SYNCFS fails with errno ${errno}`);
    for (const inode of [...this.inodes.values()]) this.forget(inode);
    // Replies to RELEASE are not waited for: DESTROY comes behind them all the same.
    const outcome = runAlone(this.#plain(Op.DESTROY, this.rootNodeId, 0));
    if (outcome !== 0) throw new Violation('L-3', `${opName(Op.DESTROY)} fails with errno ${outcome}`);
    this.control.closeBackings();
  }
}

function present<T>(value: T | null): T {
  if (value === null) throw new Error('the connection does not use iomap');
  return value;
}

function takeError(inode: PeerInode): number {
  const { error } = inode;
  inode.error = 0;
  return error;
}
