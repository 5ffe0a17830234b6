/**
 * Performs random operations on files through the peer, and knows what each file must show: every read is compared.
 * The same seed does the same.
 */
import { Errno } from '../../shared/errno.ts';
import { Prng } from '../support/prng.ts';
import { runAlone, type Task } from './connection.ts';
import { checkOnDisk } from './disk-check.ts';
import { FallocateMode } from './file-size.ts';
import type { Machine } from './machine.ts';
import { distinctBytes, ModelFile } from './model-file.ts';
import type { PeerInode } from './peer-inode.ts';
import type { PeerKernel } from './peer-kernel.ts';
import { Violation } from './violation.ts';
import { errnoName } from './wire.ts';

const SECTOR_BYTES = 512;
const HISTORY_LINES = 80;

export interface ExerciserSettings {
  readonly seed: number;
  readonly files: number;
  /** Of a file. */
  readonly maxBytes: number;
  /** Of a read or write. */
  readonly maxIoBytes: number;
  /** fallocate is refused for block maps, but for holes. */
  readonly hasExtents: boolean;
}

/** Is told what happens to files. */
export interface Observer {
  before(): void;
  /** `file` may be without an inode: it has no name any more. */
  after(file: ModelFile): void;
  synced(file: ModelFile): void;
}

type Operation = readonly [weight: number, name: string, run: (file: ModelFile) => void];

export class Exerciser {
  readonly machine: Machine;
  readonly random: Prng;
  readonly history: string[] = [];
  readonly #settings: ExerciserSettings;
  readonly #files: ModelFile[] = [];
  readonly #operations: readonly Operation[];
  readonly #totalWeight: number;
  readonly #buffer: Uint8Array;
  readonly #data: Uint8Array;
  #created = 0;
  operations = 0;
  /** Operations that the server has refused for lack of space. */
  refusals = 0;
  observer: Observer | null = null;

  constructor(machine: Machine, settings: ExerciserSettings) {
    this.machine = machine;
    this.#settings = settings;
    this.random = new Prng(settings.seed);
    this.#buffer = new Uint8Array(Math.max(settings.maxIoBytes, 65536));
    this.#data = new Uint8Array(settings.maxIoBytes);
    this.#operations = this.#table();
    this.#totalWeight = this.#operations.reduce((sum, [weight]) => sum + weight, 0);
    for (let index = 0; index < settings.files; index++) this.#files.push(new ModelFile(`f${this.#created++}`));
  }

  get kernel(): PeerKernel {
    const { kernel } = this.machine;
    if (kernel === null) throw new Error('no service runs');
    return kernel;
  }

  run(operations: number): void {
    for (let count = 0; count < operations; count++) this.step();
  }

  step(): void {
    let choice = this.random.below(this.#totalWeight);
    for (const [weight, name, run] of this.#operations) {
      choice -= weight;
      if (choice >= 0) continue;
      this.operations++;
      const file = this.#files[this.random.below(this.#files.length)];
      this.#note(`${this.operations}: ${name} ${file.name}`);
      this.observer?.before();
      if (this.#ready(file)) run(file);
      this.observer?.after(file);
      return;
    }
  }

  /** Reads every file from its beginning to its end, without what is in the page cache if wanted. */
  checkAll(dropCache: boolean): void {
    if (dropCache) this.kernel.shrink(() => 0, 1);
    for (const file of this.#files) {
      if (file.inode === null && !this.#lookUp(file)) continue;
      for (let pos = 0; pos < file.size; pos += this.#buffer.length) {
        this.#read(file, pos, Math.min(this.#buffer.length, file.size - pos), 'read');
      }
      this.kernel.checkAttributes(this.#inode(file));
    }
  }

  /** Unmounts and has e2fsck look at the disk. */
  async unmount(): Promise<void> {
    const { usesIomap, blockBytes } = this.kernel;
    const nodeIds = this.#nodeIds();
    this.kernel.unmount();
    for (const file of this.#files) file.inode = null;
    // With iomap umount(2) returns when DESTROY is answered: everything is on the disk then.
    if (usesIomap) this.#check('L-3');
    const code = await this.machine.stop();
    if (code !== 0) throw new Violation('L-3', `the service ends with ${code}: ${this.machine.stderr}`);
    this.#check('B-4');
    if (usesIomap) checkOnDisk(this.machine.imagePath, blockBytes, nodeIds, this.machine.ledger);
    this.machine.ledger.restart();
  }

  #nodeIds(): number[] {
    return this.#files
      .filter((file) => file.inode !== null || this.#lookUp(file))
      .map((file) => this.#inode(file).nodeId);
  }

  #check(id: string): void {
    const complaints = this.machine.fsck();
    if (complaints !== '') throw new Violation(id, complaints);
  }

  /** Unmounts, and starts another service. */
  async remount(): Promise<void> {
    await this.unmount();
    this.machine.start();
    this.#note('remounted');
  }

  /** What was done last, for a failure's text. */
  describe(): string {
    return `${this.history.join('\n')}\n${this.machine.kernel?.connection.trace.slice(-40).join('\n') ?? ''}`;
  }

  #table(): Operation[] {
    const table: Operation[] = [
      [30, 'read', (file) => this.#readSomewhere(file)],
      [28, 'write', (file) => this.#writeSomewhere(file)],
      [12, 'append', (file) => this.#write(file, file.size, this.#length(), 'append')],
      [12, 'mapped write', (file) => this.#mappedWrite(file)],
      [3, 'direct read', (file) => this.#directRead(file)],
      [3, 'direct write', (file) => this.#directWrite(file)],
      [3, 'truncate', (file) => this.#truncate(file)],
      [3, 'punch', (file) => this.#fallocate(file, FallocateMode.PUNCH_HOLE | FallocateMode.KEEP_SIZE)],
      [1, 'shrink', () => this.kernel.shrink(() => this.random.u32() / 2 ** 32, 0.5)],
      [2, 'write back', (file) => this.#writeBack(file)],
      [1, 'fsync', (file) => this.#fsync(file)],
      [1, 'sync', () => this.#sync()],
      [1, 'seek', (file) => this.#seek(file)],
      [2, 'reopen', (file) => this.#reopen(file)],
      [1, 'replace', (file) => this.#replace(file)],
    ];
    if (this.#settings.hasExtents) {
      table.push(
        [2, 'allocate', (file) => this.#fallocate(file, 0)],
        [1, 'allocate behind the end', (file) => this.#fallocate(file, FallocateMode.KEEP_SIZE)],
        [2, 'zero', (file) => this.#fallocate(file, FallocateMode.ZERO_RANGE)],
        [1, 'zero within', (file) => this.#fallocate(file, FallocateMode.ZERO_RANGE | FallocateMode.KEEP_SIZE)],
      );
    }
    return table;
  }

  #note(line: string): void {
    this.history.push(line);
    if (this.history.length > 2 * HISTORY_LINES) this.history.splice(0, HISTORY_LINES);
  }

  #detail(text: string): void {
    this.history[this.history.length - 1] += ` ${text}`;
  }

  #inode(file: ModelFile): PeerInode {
    if (file.inode === null) throw new Error(`${file.name} is not known`);
    return file.inode;
  }

  #lookUp(file: ModelFile): boolean {
    const found = this.kernel.lookup(this.kernel.rootNodeId, file.name);
    if (typeof found === 'number') {
      if (found !== -Errno.ENOENT) throw new Violation('P-1', `LOOKUP fails with ${errnoName(-found)}`);
      if (file.size > 0) throw new Violation('D-3', `${file.name} is gone`);
      return false;
    }
    if (found.size !== file.size) {
      throw new Violation('D-3', `${file.name} has ${found.size} bytes in place of ${file.size}`);
    }
    file.inode = found;
    return true;
  }

  /** Makes the file if need be, and opens it. */
  #ready(file: ModelFile): boolean {
    if (file.inode === null && !this.#lookUp(file)) {
      const made = this.kernel.create(this.kernel.rootNodeId, file.name);
      if (typeof made === 'number') return this.#refused(-made);
      file.inode = made;
      file.size = 0;
    }
    const inode = this.#inode(file);
    if (inode.opens > 0) return true;
    const errno = this.kernel.open(inode);
    if (errno !== 0) throw new Violation('P-1', `OPEN fails with ${errnoName(errno)}`);
    return true;
  }

  /** Lack of space is part of life. */
  #refused(errno: number): boolean {
    this.#detail(errnoName(errno));
    if (errno !== Errno.ENOSPC) throw new Violation('D-1', `refused with ${errnoName(errno)}`);
    this.refusals++;
    return false;
  }

  #do<T>(task: Task<T>): T {
    return runAlone(task);
  }

  #length(): number {
    const { maxIoBytes } = this.#settings;
    const kind = this.random.below(4);
    if (kind === 0) return 1 + this.random.below(64);
    if (kind === 1) return 1 + this.random.below(Math.min(4096, maxIoBytes));
    if (kind === 2) return Math.min(maxIoBytes, 1024 * (1 + this.random.below(8)));
    return 1 + this.random.below(maxIoBytes);
  }

  #position(limit: number): number {
    const pos = this.random.below(limit + 1);
    return this.random.oneIn(3) ? pos - (pos % 4096) : pos;
  }

  /** Bytes that say which operation wrote them. */
  #bytes(length: number): Uint8Array {
    return distinctBytes(this.#data.subarray(0, length), this.random.u32());
  }

  #read(file: ModelFile, pos: number, length: number, how: string): void {
    const into = this.#buffer.subarray(0, length);
    const task =
      how === 'direct read'
        ? this.kernel.directRead(this.#inode(file), pos, into)
        : this.kernel.read(this.#inode(file), pos, into);
    const count = this.#do(task);
    if (count < 0) throw new Violation('D-1', `${how} fails with ${errnoName(-count)}`);
    const expected = Math.max(0, Math.min(length, file.size - pos));
    if (count !== expected) throw new Violation('D-1', `${how} of ${file.name}: ${count} bytes, not ${expected}`);
    file.compare(pos, into.subarray(0, count), how);
  }

  #readSomewhere(file: ModelFile): void {
    this.#read(file, this.#position(file.size), this.#length(), 'read');
  }

  #directRead(file: ModelFile): void {
    const pos = this.random.below(Math.ceil(file.size / SECTOR_BYTES) + 1) * SECTOR_BYTES;
    const length = Math.ceil(this.#length() / SECTOR_BYTES) * SECTOR_BYTES;
    this.#read(file, pos, Math.min(length, this.#buffer.length), 'direct read');
  }

  #clipped(pos: number, length: number): number {
    return Math.min(length, this.#settings.maxBytes - pos);
  }

  #written(file: ModelFile, pos: number, data: Uint8Array, result: number): void {
    this.#detail(`${pos}+${data.length}=${result}`);
    if (result < 0) {
      this.#refused(-result);
      return;
    }
    file.write(pos, data.subarray(0, result));
  }

  #write(file: ModelFile, pos: number, wanted: number, how: string): void {
    const length = this.#clipped(pos, wanted);
    if (length <= 0) return;
    const data = this.#bytes(length);
    const sizeBefore = file.size;
    const result = this.#do(this.kernel.write(this.#inode(file), pos, data));
    this.#written(file, pos, data, result);
    if (how === 'append' && result > 0 && file.size < sizeBefore) throw new Error('the model shrinks');
  }

  #writeSomewhere(file: ModelFile): void {
    const limit = this.random.oneIn(4) ? this.#settings.maxBytes : Math.min(file.size, this.#settings.maxBytes);
    this.#write(file, this.#position(limit), this.#length(), 'write');
  }

  #mappedWrite(file: ModelFile): void {
    if (file.size === 0) return;
    const pos = this.random.below(file.size);
    const data = this.#bytes(Math.min(this.#length(), file.size - pos, 16384));
    const result = this.#do(this.kernel.mappedWrite(this.#inode(file), pos, data));
    this.#written(file, pos, data, result);
  }

  #directWrite(file: ModelFile): void {
    const { maxBytes } = this.#settings;
    const limit = this.random.oneIn(4) ? maxBytes : Math.min(file.size, maxBytes);
    const pos = this.random.below(Math.floor(limit / SECTOR_BYTES) + 1) * SECTOR_BYTES;
    const wanted = Math.ceil(this.#length() / SECTOR_BYTES) * SECTOR_BYTES;
    const length = Math.min(this.#clipped(pos, wanted), this.#data.length);
    if (length < SECTOR_BYTES) return;
    const data = this.#bytes(length - (length % SECTOR_BYTES));
    const result = this.#do(this.kernel.directWrite(this.#inode(file), pos, data));
    this.#written(file, pos, data, result);
  }

  #truncate(file: ModelFile): void {
    const size = this.#position(this.random.oneIn(2) ? file.size : this.#settings.maxBytes);
    const errno = this.#do(this.kernel.truncate(this.#inode(file), size));
    this.#detail(`${file.size}->${size}`);
    if (errno !== 0) this.#refused(errno);
    file.resize(size);
  }

  #fallocate(file: ModelFile, mode: number): void {
    const offset = this.#position(Math.min(this.#settings.maxBytes - 1, file.size + 8192));
    const length = this.#clipped(offset, this.#length());
    if (length <= 0) return;
    const errno = this.#do(this.kernel.fallocate(this.#inode(file), mode, offset, length));
    this.#detail(`${offset}+${length}=${errno}`);
    if (errno !== 0) {
      this.#refused(errno);
      return;
    }
    file.allocated(mode, offset, length);
  }

  #writeBack(file: ModelFile): void {
    const inode = this.#inode(file);
    if (inode.usesIomap) this.#do(this.kernel.buffered.writeback.run(inode));
  }

  #fsync(file: ModelFile): void {
    const errno = this.#do(this.kernel.fsync(this.#inode(file), this.random.oneIn(2)));
    if (errno !== 0) throw new Violation('D-1', `fsync fails with ${errnoName(errno)}`);
    this.kernel.checkAttributes(this.#inode(file));
    this.observer?.synced(file);
  }

  #sync(): void {
    const errno = this.#do(this.kernel.syncfs());
    if (errno !== 0) throw new Violation('D-1', `sync fails with ${errnoName(errno)}`);
    for (const file of this.#files) if (file.inode !== null) this.observer?.synced(file);
  }

  /** Nothing that is not zero may lie in a hole. */
  #seek(file: ModelFile): void {
    const inode = this.#inode(file);
    if (!inode.usesIomap) return;
    this.#do(this.kernel.buffered.writeback.run(inode));
    let at = 0;
    for (const [from, to] of [...this.#do(this.kernel.dataRanges(inode)), [file.size, file.size] as const]) {
      const hole = file.content.subarray(at, Math.min(from, file.size));
      const index = hole.findIndex((byte) => byte !== 0);
      if (index >= 0) throw new Violation('D-1', `byte ${at + index} of ${file.name} is reported as a hole`);
      at = Math.min(to, file.size);
    }
  }

  #close(file: ModelFile): void {
    const inode = this.#inode(file);
    const errno = this.#do(this.kernel.close(inode));
    if (errno !== 0) throw new Violation('D-1', `close fails with ${errnoName(errno)}`);
  }

  /** Closes it, and perhaps lets the kernel forget it. */
  #reopen(file: ModelFile): void {
    this.#close(file);
    if (this.random.oneIn(2)) return;
    this.kernel.forget(this.#inode(file));
    file.inode = null;
  }

  /** Removes the file, open as it is, goes on with it for a little, and makes another of that name. */
  #replace(file: ModelFile): void {
    const inode = this.#inode(file);
    const errno = this.kernel.unlink(this.kernel.rootNodeId, file.name, inode);
    if (errno !== 0) throw new Violation('P-1', `UNLINK fails with ${errnoName(errno)}`);
    this.#write(file, this.#position(file.size), this.#length(), 'write to a file without a name');
    // Until the name is gone for good, it shows this.
    this.observer?.after(file);
    this.#read(file, 0, this.#length(), 'read');
    this.#close(file);
    this.kernel.forget(inode);
    file.inode = null;
    file.size = 0;
  }
}
