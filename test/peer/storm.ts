/**
 * Several programs at work on few files at the same time: requests of one inode overlap, and replies reach who waits
 * for them late and out of order. What is read is compared all the same, for locks make every operation atomic.
 */
import { Errno } from '../../shared/errno.ts';
import { Prng } from '../support/prng.ts';
import type { Task } from './connection.ts';
import { FallocateMode } from './file-size.ts';
import { distinctBytes, ModelFile } from './model-file.ts';
import type { PeerInode } from './peer-inode.ts';
import type { PeerKernel } from './peer-kernel.ts';
import { RangeClaims } from './range-claims.ts';
import { Violation } from './violation.ts';
import { errnoName } from './wire.ts';

const SECTOR_BYTES = 512;
const PUNCH = FallocateMode.PUNCH_HOLE | FallocateMode.KEEP_SIZE;

export interface StormSettings {
  readonly seed: number;
  readonly files: number;
  readonly maxBytes: number;
  readonly maxIoBytes: number;
  readonly hasExtents: boolean;
}

export class Storm {
  readonly #kernel: PeerKernel;
  readonly #settings: StormSettings;
  readonly #random: Prng;
  readonly files: ModelFile[] = [];
  readonly #claims = new Map<ModelFile, RangeClaims>();
  readonly history: string[] = [];

  constructor(kernel: PeerKernel, settings: StormSettings) {
    this.#kernel = kernel;
    this.#settings = settings;
    this.#random = new Prng(settings.seed);
    for (let index = 0; index < settings.files; index++) this.files.push(this.#make(`s${settings.seed}-${index}`));
  }

  /** `workers` tasks of `operations` each. */
  run(workers: number, operations: number): void {
    const tasks = Array.from({ length: workers }, (_, worker) => this.#work(worker, operations));
    this.#kernel.connection.runBesideEachOther(tasks, () => this.#random.u32() / 2 ** 32);
  }

  #make(name: string): ModelFile {
    const file = new ModelFile(name);
    const inode = this.#kernel.create(this.#kernel.rootNodeId, name);
    if (typeof inode === 'number') throw new Violation('P-1', `MKNOD fails with ${errnoName(-inode)}`);
    file.inode = inode;
    const errno = this.#kernel.open(inode);
    if (errno !== 0) throw new Violation('P-1', `OPEN fails with ${errnoName(errno)}`);
    return file;
  }

  *#work(worker: number, operations: number): Task<void> {
    for (let count = 0; count < operations; count++) {
      const file = this.#random.pick(this.files);
      if (file.inode === null) continue;
      const name = yield* this.#operate(file, file.inode);
      this.history.push(`worker ${worker}: ${name} ${file.name}`);
      if (this.history.length > 400) this.history.splice(0, 200);
      // Memory is short now and then.
      if (this.#random.oneIn(6)) this.#kernel.shrink(() => this.#random.u32() / 2 ** 32, 0.5);
    }
  }

  *#operate(file: ModelFile, inode: PeerInode): Task<string> {
    switch (this.#random.below(this.#settings.hasExtents ? 13 : 11)) {
      case 0:
      case 1:
      case 2:
        return yield* this.#read(file, inode, false);
      case 3:
        return yield* this.#read(file, inode, true);
      case 4:
      case 5:
        return yield* this.#write(file, inode, this.#random.below(this.#settings.maxBytes));
      case 6:
      case 7:
        // Programs that do both to one file at the same time are promised nothing.
        return yield* this.files.indexOf(file) % 2 === 0
          ? this.#mappedWrite(file, inode)
          : this.#directWrite(file, inode);
      case 8:
        return yield* this.#truncate(file, inode);
      case 9:
        return yield* this.#sync(inode);
      case 10:
        return yield* this.#fallocate(file, inode, PUNCH);
      case 11:
        return yield* this.#fallocate(file, inode, 0);
      default:
        return yield* this.#fallocate(file, inode, FallocateMode.ZERO_RANGE);
    }
  }

  /** Another operation than a store through a mapping. */
  #claiming<T>(file: ModelFile, from: number, to: number, task: Task<T>): Task<T> {
    return this.#claimsOf(file).during(false, from, to, task);
  }

  #claimsOf(file: ModelFile): RangeClaims {
    let claims = this.#claims.get(file);
    if (claims === undefined) {
      claims = new RangeClaims();
      this.#claims.set(file, claims);
    }
    return claims;
  }

  #length(): number {
    return 1 + this.#random.below(this.#settings.maxIoBytes);
  }

  *#read(file: ModelFile, inode: PeerInode, direct: boolean): Task<string> {
    const grain = direct ? SECTOR_BYTES : 1;
    const pos = Math.floor(this.#random.below(file.size + 1) / grain) * grain;
    const into = new Uint8Array(Math.ceil(this.#length() / grain) * grain);
    const task = direct ? this.#kernel.directRead(inode, pos, into) : this.#kernel.read(inode, pos, into);
    const count = yield* this.#claiming(file, pos, pos + into.length, task);
    if (count < 0) throw new Violation('D-1', `a read fails with ${errnoName(-count)}`);
    if (count !== Math.max(0, Math.min(into.length, file.size - pos))) {
      throw new Violation('D-1', `a read at ${pos} of ${file.size}: ${count} bytes`);
    }
    file.compare(pos, into.subarray(0, count), direct ? 'direct read' : 'read');
    return `read ${pos}+${count}`;
  }

  *#write(file: ModelFile, inode: PeerInode, pos: number): Task<string> {
    const data = this.#bytes(Math.min(this.#length(), this.#settings.maxBytes - pos));
    const task = this.#kernel.write(inode, pos, data);
    const written = yield* this.#claiming(file, pos, pos + data.length, task);
    return this.#written(file, 'write', pos, data, written);
  }

  /** Within one folio: more would not be one operation for those who look. */
  *#mappedWrite(file: ModelFile, inode: PeerInode): Task<string> {
    if (file.size === 0) return 'nothing to map';
    const pos = this.#random.below(file.size);
    const { folioBytes } = inode.pages;
    const data = this.#bytes(Math.min(this.#length(), file.size - pos, folioBytes - (pos % folioBytes)));
    const task = this.#kernel.mappedWrite(inode, pos, data);
    const written = yield* this.#claimsOf(file).during(true, pos, pos + data.length, task);
    // The file may have become shorter before the program came to it.
    if (written === -14) return 'a mapped write behind the end';
    return this.#written(file, 'mapped write', pos, data, written);
  }

  *#directWrite(file: ModelFile, inode: PeerInode): Task<string> {
    const sectors = Math.floor(this.#settings.maxBytes / SECTOR_BYTES);
    const first = this.#random.below(sectors);
    const count = Math.min(1 + this.#random.below(this.#settings.maxIoBytes / SECTOR_BYTES), sectors - first);
    const data = this.#bytes(count * SECTOR_BYTES);
    const written = yield* this.#kernel.directWrite(inode, first * SECTOR_BYTES, data);
    return this.#written(file, 'direct write', first * SECTOR_BYTES, data, written);
  }

  #bytes(length: number): Uint8Array {
    return distinctBytes(new Uint8Array(length), this.#random.u32());
  }

  #written(file: ModelFile, how: string, pos: number, data: Uint8Array, written: number): string {
    if (written < 0 && written !== -Errno.ENOSPC) {
      throw new Violation('D-1', `a ${how} fails with ${errnoName(-written)}`);
    }
    if (written > 0) file.write(pos, data.subarray(0, written));
    return `${how} ${pos}+${data.length}=${written}`;
  }

  *#truncate(file: ModelFile, inode: PeerInode): Task<string> {
    const size = this.#random.below(this.#settings.maxBytes);
    const task = this.#kernel.truncate(inode, size);
    const errno = yield* this.#claiming(file, size, Number.MAX_SAFE_INTEGER, task);
    if (errno !== 0) throw new Violation('D-1', `truncation fails with ${errnoName(errno)}`);
    file.resize(size);
    return `truncate to ${size}`;
  }

  *#sync(inode: PeerInode): Task<string> {
    if (this.#random.oneIn(2)) {
      yield* this.#kernel.buffered.writeback.run(inode);
      return 'write back';
    }
    const errno = yield* this.#kernel.fsync(inode);
    if (errno !== 0) throw new Violation('D-1', `fsync fails with ${errnoName(errno)}`);
    return 'fsync';
  }

  *#fallocate(file: ModelFile, inode: PeerInode, mode: number): Task<string> {
    const offset = this.#random.below(this.#settings.maxBytes);
    const length = Math.min(this.#length(), this.#settings.maxBytes - offset);
    const task = this.#kernel.fallocate(inode, mode, offset, length);
    const errno = yield* this.#claiming(file, offset, offset + length, task);
    if (errno !== 0 && errno !== Errno.ENOSPC) throw new Violation('D-1', `fallocate: ${errnoName(errno)}`);
    if (errno === 0) file.allocated(mode, offset, length);
    return `fallocate ${mode} ${offset}+${length}=${errno}`;
  }
}
