import { createContext, Script } from 'node:vm';
import { crc32c } from '../../native/crc32c.ts';
import { type BlockDevice, MemoryBlockDevice } from '../../service/ext4/block-device.ts';
import type { DirectorySink } from '../../service/ext4/directory-sink.ts';
import { CorruptionError, DeviceError, FsError, IncompatibleError } from '../../service/ext4/errors.ts';
import { Filesystem } from '../../service/ext4/filesystem.ts';
import type { Inode } from '../../service/ext4/inode.ts';
import { Mapping } from '../../service/ext4/mapping.ts';
import { StatFs } from '../../service/ext4/statfs.ts';

/** The engine did what it must never do: the text says in which call. */
export class EngineFault extends Error {}

/** CPU time that no single call may reach; calls on images this small take well below a millisecond. */
const MAX_CALL_CPU_MSEC = 2000;
/** After this much time in one image the engine is stopped from outside, wherever it is. */
const MAX_IMAGE_MSEC = 30_000;
/** Reads per call, in multiples of the image's blocks: opening may go over the journal several times. */
const MAX_READS_PER_BLOCK = 8;
const CACHE_BYTES = 256 * 1024;

const MAX_INODES = 400;
const MAX_BATCHES = 60;
const MAX_ENTRIES_PER_BATCH = 50;
const MAX_MAPPINGS = 100;
const MAX_FILE_BYTES = 128 * 1024;

class CountingDevice implements BlockDevice {
  readonly #inner: MemoryBlockDevice;
  readonly #maxReadsPerCall: number;
  readsInCall = 0;

  constructor(bytes: Uint8Array) {
    this.#inner = new MemoryBlockDevice(bytes);
    this.#maxReadsPerCall = (MAX_READS_PER_BLOCK * bytes.length) / 1024;
  }

  get sizeBytes(): number {
    return this.#inner.sizeBytes;
  }

  read(offsetBytes: number, into: Uint8Array): number {
    if (++this.readsInCall > this.#maxReadsPerCall) throw new EngineFault(`more than ${this.#maxReadsPerCall} reads`);
    if (!Number.isSafeInteger(offsetBytes) || offsetBytes < 0) throw new EngineFault(`read at offset ${offsetBytes}`);
    return this.#inner.read(offsetBytes, into);
  }

  readAhead(offsetBytes: number, lengthBytes: number): void {
    if (!(offsetBytes >= 0 && lengthBytes >= 0))
      throw new EngineFault(`read-ahead of ${lengthBytes} at ${offsetBytes}`);
  }
}

const isTyped = (error: unknown): boolean =>
  error instanceof CorruptionError ||
  error instanceof IncompatibleError ||
  error instanceof FsError ||
  error instanceof DeviceError;

/** What a walk found, to show that it reached something. */
export interface WalkResult {
  readonly opened: boolean;
  readonly inodes: number;
  readonly calls: number;
  readonly refusals: number;
}

const sandbox = createContext({ walk: () => {} });
const runWalk = new Script('walk()');

/** Opens and walks an image as a client would. Throws EngineFault when the engine misbehaves. */
export function walkImage(bytes: Uint8Array, noRecovery = false): WalkResult {
  const walk = new HostileWalk(bytes, noRecovery);
  sandbox.walk = () => walk.run();
  try {
    runWalk.runInContext(sandbox, { timeout: MAX_IMAGE_MSEC });
  } catch (error) {
    if (error instanceof EngineFault) throw error;
    throw new EngineFault(`in ${walk.currentCall}: ${error instanceof Error ? error.stack : error}`, { cause: error });
  }
  return walk.result;
}

class HostileWalk {
  currentCall = 'nothing';
  readonly #device: CountingDevice;
  readonly #noRecovery: boolean;
  readonly #mapping = new Mapping();
  readonly #content = new Uint8Array(16 * 1024);
  readonly #seen = new Set<number>();
  #filesystem: Filesystem | null = null;
  #calls = 0;
  #refusals = 0;

  constructor(bytes: Uint8Array, noRecovery: boolean) {
    this.#device = new CountingDevice(bytes);
    this.#noRecovery = noRecovery;
  }

  get result(): WalkResult {
    const opened = this.#filesystem !== null;
    return { opened, inodes: this.#seen.size, calls: this.#calls, refusals: this.#refusals };
  }

  run(): void {
    const filesystem = this.#call('open', () => this.#open());
    if (filesystem === null) return;
    this.#filesystem = filesystem;
    this.#call('statfs', () => filesystem.statfs(new StatFs(), false));
    const queue = [2];
    for (let ino = 1; ino <= 40; ino++) queue.push(ino);
    for (let index = 0; index < queue.length && this.#seen.size < MAX_INODES; index++) {
      this.#visit(filesystem, queue[index], queue);
    }
  }

  #open(): Filesystem {
    return Filesystem.open(this.#device, {
      crc32c,
      cacheBytes: CACHE_BYTES,
      superblockKiB: 0,
      noRecovery: this.#noRecovery,
      log: () => {},
    });
  }

  /** One call of the engine: null when it refused with one of its own errors. */
  #call<T>(name: string, call: () => T): T | null {
    this.currentCall = name;
    this.#calls++;
    this.#device.readsInCall = 0;
    this.#filesystem?.beginOperation();
    const before = process.cpuUsage();
    const answer = this.#answerOrRefusal(name, call);
    const { user, system } = process.cpuUsage(before);
    if (user + system > MAX_CALL_CPU_MSEC * 1000) throw new EngineFault(`${name} took ${(user + system) / 1000} ms`);
    return answer;
  }

  #answerOrRefusal<T>(name: string, call: () => T): T | null {
    try {
      return call();
    } catch (error) {
      if (error instanceof EngineFault) throw new EngineFault(`in ${name}: ${error.message}`);
      if (!isTyped(error)) throw error;
      this.#refusals++;
      return null;
    }
  }

  #visit(filesystem: Filesystem, ino: number, queue: number[]): void {
    if (this.#seen.has(ino)) return;
    const inode = this.#call(`inode ${ino}`, () => filesystem.inode(ino));
    if (inode === null) return;
    this.#seen.add(ino);
    this.#attributes(filesystem, inode);
    if (inode.isDirectory) this.#directory(filesystem, inode, queue);
    else if (inode.isSymlink) this.#symlink(filesystem, inode);
    else this.#file(filesystem, inode);
    this.#mappings(filesystem, inode);
  }

  #attributes(filesystem: Filesystem, inode: Inode): void {
    const list = this.#call(`listXattrs ${inode.ino}`, () => filesystem.listXattrs(inode));
    if (list === null) return;
    const names = Buffer.from(list).toString('latin1').split('\0').slice(0, 50);
    for (const name of [...names.filter((each) => each !== ''), 'user.absent', 'system.posix_acl_access']) {
      this.#call(`getXattr ${inode.ino} ${name}`, () => filesystem.getXattr(inode, Buffer.from(name, 'latin1')));
    }
  }

  #symlink(filesystem: Filesystem, inode: Inode): void {
    const target = this.#call(`readLink ${inode.ino}`, () => filesystem.readLink(inode));
    if (target !== null && (target.length === 0 || target.length > 65536)) {
      throw new EngineFault(`readLink ${inode.ino} answered ${target.length} bytes`);
    }
  }

  #directory(filesystem: Filesystem, dir: Inode, queue: number[]): void {
    const listing = new Listing();
    for (let batch = 0; batch < MAX_BATCHES && !listing.isAtEnd; batch++) {
      listing.beginBatch();
      const label = `readDirectory ${dir.ino} from ${listing.high}:${listing.low}`;
      const high = listing.high;
      const low = listing.low;
      const done = this.#call(label, () => {
        filesystem.readDirectory(dir, high, low, listing);
        return true;
      });
      if (done === null) break;
    }
    for (const { ino, name } of listing.entries) {
      this.#call(`lookup in ${dir.ino}`, () => filesystem.lookup(dir, name, 0, name.length));
      queue.push(ino);
    }
    const absent = Buffer.from('there is no such name');
    this.#call(`lookup of an absent name in ${dir.ino}`, () => filesystem.lookup(dir, absent, 0, absent.length));
  }

  #file(filesystem: Filesystem, inode: Inode): void {
    if (!inode.isRegular) return;
    const content = this.#content;
    const last = Math.max(0, inode.sizeBytes - content.length);
    for (let at = 0; at < Math.min(inode.sizeBytes, MAX_FILE_BYTES); at += content.length) {
      this.#call(`readFile ${inode.ino} at ${at}`, () => filesystem.readFile(inode, at, content));
    }
    this.#call(`readFile ${inode.ino} at ${last}`, () => filesystem.readFile(inode, last, content));
    for (const at of [0, Math.floor(inode.sizeBytes / 2), inode.sizeBytes]) {
      this.#call(`seekData ${inode.ino} at ${at}`, () => filesystem.seekData(inode, at));
      this.#call(`seekHole ${inode.ino} at ${at}`, () => filesystem.seekHole(inode, at));
    }
  }

  #mappings(filesystem: Filesystem, inode: Inode): void {
    const mapping = this.#mapping;
    const endLblk = Math.ceil(inode.sizeBytes / filesystem.blockSize);
    let lblk = 0;
    for (let count = 0; count < MAX_MAPPINGS && lblk < endLblk; count++) {
      if (!this.#map(filesystem, inode, lblk)) return;
      lblk = mapping.lblk + mapping.lenBlocks;
    }
    for (const far of [endLblk - 1, endLblk + 1, 2 ** 31, 2 ** 32 - 1]) {
      if (far >= 0) this.#map(filesystem, inode, far);
    }
  }

  #map(filesystem: Filesystem, inode: Inode, lblk: number): boolean {
    const mapping = this.#mapping;
    const label = `mapBlocks ${inode.ino} at ${lblk}`;
    const done = this.#call(label, () => {
      filesystem.mapBlocks(inode, lblk, mapping);
      return true;
    });
    if (done === null) return false;
    const covers = mapping.lblk <= lblk && lblk < mapping.lblk + mapping.lenBlocks;
    const isInline = mapping.type === 3;
    if (!covers && !isInline) {
      throw new EngineFault(`${label} answered ${mapping.lenBlocks} blocks from ${mapping.lblk}`);
    }
    const isInside = mapping.pblk >= 0 && mapping.pblk + mapping.lenBlocks <= filesystem.superblock.blocksCount;
    const hasBlocks = mapping.type === 1 || mapping.type === 2;
    if (hasBlocks && (!isInside || mapping.pblk === 0)) {
      throw new EngineFault(`${label} answered ${mapping.lenBlocks} device blocks from ${mapping.pblk}`);
    }
    return true;
  }
}

/** A readdir client that takes a few entries at a time. Cookies must go forward, or a listing never ends. */
class Listing implements DirectorySink {
  readonly entries: { readonly ino: number; readonly name: Uint8Array }[] = [];
  high = 0;
  low = 0;
  isAtEnd = false;
  #inBatch = 0;

  beginBatch(): void {
    this.#inBatch = 0;
    this.isAtEnd = true;
  }

  entry(
    ino: number,
    _fileType: number,
    bytes: Uint8Array,
    nameStart: number,
    nameEnd: number,
    nextCookieHigh: number,
    nextCookieLow: number,
  ): boolean {
    if (this.#inBatch >= MAX_ENTRIES_PER_BATCH) {
      this.isAtEnd = false;
      return false;
    }
    this.#inBatch++;
    if (nameEnd <= nameStart || nameEnd - nameStart > 255 || nameStart < 0 || nameEnd > bytes.length) {
      throw new EngineFault(`entry with name ${nameStart} to ${nameEnd} of ${bytes.length} bytes`);
    }
    const isForward = nextCookieHigh > this.high || (nextCookieHigh === this.high && nextCookieLow > this.low);
    if (!isForward) {
      throw new EngineFault(`cookie ${nextCookieHigh}:${nextCookieLow} after ${this.high}:${this.low}`);
    }
    this.high = nextCookieHigh;
    this.low = nextCookieLow;
    if (this.entries.length < 300) this.entries.push({ ino, name: bytes.slice(nameStart, nameEnd) });
    return true;
  }
}
