import { endOf, isWithAddress, type Mapping } from './mapping.ts';
import { MappingType } from './profile.ts';
import { Violation } from './violation.ts';

/** What is known of a block of a file. LOOSE: the server may have given its place away, nobody has seen it since. */
const State = Object.freeze({ UNKNOWN: 0, MAPPED: 1, UNWRITTEN: 2, LOOSE: 3 });

const NOBODY = 0;
/** Fits file blocks below 2^21 and node ids below 2^31 in one number. */
const FILE_BLOCKS = 2 ** 21;

/** Where the blocks of a file were said to be. */
class FileBlocks {
  device = new Int32Array(64);
  state = new Uint8Array(64);
  count = 0;

  grow(blocks: number): void {
    if (blocks > this.count) this.count = blocks;
    if (blocks <= this.state.length) return;
    const size = Math.max(blocks, 2 * this.state.length);
    const device = new Int32Array(size);
    device.set(this.device);
    const state = new Uint8Array(size);
    state.set(this.state);
    this.device = device;
    this.state = state;
  }
}

/**
 * Who owns which block of the device, as the server has said in mappings: no block has two owners (B-1), none is given
 * out again before its release is on the disk (B-3), and none changes its kind without reason (D-5).
 */
export class Ledger {
  readonly #blockBytes: number;
  readonly #files = new Map<number, FileBlocks>();
  /** By device block: node id and file block of the owner. */
  readonly #owners: Float64Array;
  /** By device block: how many commits had been seen when it was released; a release is on the disk after the next. */
  readonly #released: Int32Array;
  /** By device block: 1 when its owner has been committed for certain. Who has it in no commit may lose it at once. */
  readonly #committed: Uint8Array;
  /** Counts commits that reached the disk. */
  commits = 1;
  /** Releases are followed only where commits can be seen. */
  followsReleases = false;
  /** Called before blocks change owners: what has been written by then is judged by the owners before. */
  catchUp: () => void = () => {};

  constructor(deviceBytes: number, blockBytes: number) {
    this.#blockBytes = blockBytes;
    this.#owners = new Float64Array(Math.ceil(deviceBytes / blockBytes));
    this.#released = new Int32Array(this.#owners.length);
    this.#committed = new Uint8Array(this.#owners.length);
  }

  /** The server has said where a range is; `fileBytes`: what the kernel may use of it. */
  note(nodeId: number, mapping: Mapping): void {
    const file = this.#file(nodeId);
    const first = mapping.offset / this.#blockBytes;
    if (!isWithAddress(mapping.type)) {
      this.#noteHole(nodeId, file, first, Math.min(file.count, endOf(mapping) / this.#blockBytes), mapping.type);
      return;
    }
    const count = mapping.length / this.#blockBytes;
    file.grow(first + count);
    const start = mapping.address / this.#blockBytes;
    const state = mapping.type === MappingType.MAPPED ? State.MAPPED : State.UNWRITTEN;
    for (let index = 0; index < count; index++) this.#noteBlock(nodeId, file, first + index, start + index, state);
  }

  /** IOEND was answered: what was unwritten in the range is written. */
  converted(nodeId: number, from: number, to: number): void {
    const file = this.#file(nodeId);
    const end = Math.min(file.count, Math.ceil(to / this.#blockBytes));
    for (let block = Math.floor(from / this.#blockBytes); block < end; block++) {
      if (file.state[block] === State.UNWRITTEN) file.state[block] = State.MAPPED;
    }
  }

  /** The kernel has asked for the blocks to be given back, and has been told that they were. */
  release(nodeId: number, from: number, to: number): void {
    const file = this.#files.get(nodeId);
    if (file === undefined) return;
    this.catchUp();
    const end = Math.min(file.count, Math.floor(to / this.#blockBytes));
    for (let block = Math.ceil(from / this.#blockBytes); block < end; block++) {
      if (file.state[block] !== State.UNKNOWN) {
        const device = file.device[block];
        if (this.#owners[device] === key(nodeId, block)) {
          this.#owners[device] = NOBODY;
          if (file.state[block] !== State.LOOSE && this.#committed[device] !== 0) {
            this.#released[device] = this.commits;
          }
        }
      }
      file.state[block] = State.UNKNOWN;
    }
    if (to >= file.count * this.#blockBytes) file.count = Math.min(file.count, Math.ceil(from / this.#blockBytes));
  }

  /** The server may do what it likes with them: convert, move, or give back. */
  loosen(nodeId: number, from: number, to: number): void {
    const file = this.#files.get(nodeId);
    if (file === undefined) return;
    const end = Math.min(file.count, Math.ceil(to / this.#blockBytes));
    for (let block = Math.floor(from / this.#blockBytes); block < end; block++) {
      if (file.state[block] !== State.UNKNOWN) file.state[block] = State.LOOSE;
    }
  }

  /** A sync of the file has returned: its blocks are committed. */
  synced(nodeId: number): void {
    const file = this.#files.get(nodeId);
    for (let block = 0; file !== undefined && block < file.count; block++) {
      if (file.state[block] === State.MAPPED) this.#committed[file.device[block]] = 1;
    }
  }

  forget(nodeId: number): void {
    this.release(nodeId, 0, Number.MAX_SAFE_INTEGER);
    this.#files.delete(nodeId);
  }

  /** A server was started anew: it owes nothing to what another one has said, but the blocks are where they were. */
  restart(): void {
    this.#files.clear();
    this.#owners.fill(NOBODY);
    this.#released.fill(0);
    this.#committed.fill(0);
  }

  /** Device bytes that a live mapping owns within the range: file and offset, or '' when none. */
  ownerWithin(offset: number, length: number): string {
    const end = Math.min(this.#owners.length, Math.ceil((offset + length) / this.#blockBytes));
    for (let block = Math.floor(offset / this.#blockBytes); block < end; block++) {
      const owner = this.#owners[block];
      if (owner === NOBODY) continue;
      const nodeId = Math.floor(owner / FILE_BLOCKS);
      const fileBlock = owner % FILE_BLOCKS;
      if (this.#files.get(nodeId)?.state[fileBlock] === State.LOOSE) continue;
      return `block ${fileBlock} of inode ${nodeId} (device block ${block})`;
    }
    return '';
  }

  /** Blocks of a file that were last said to be written, for comparison with what others find. */
  writtenBlocks(nodeId: number): [fileBlock: number, deviceBlock: number][] {
    const file = this.#files.get(nodeId);
    const found: [number, number][] = [];
    for (let block = 0; file !== undefined && block < file.count; block++) {
      if (file.state[block] === State.MAPPED) found.push([block, file.device[block]]);
    }
    return found;
  }

  /** Device block of a written block, or -1. */
  deviceBlock(nodeId: number, fileBlock: number): number {
    const file = this.#files.get(nodeId);
    if (file === undefined || fileBlock >= file.count || file.state[fileBlock] !== State.MAPPED) return -1;
    return file.device[fileBlock];
  }

  #file(nodeId: number): FileBlocks {
    let file = this.#files.get(nodeId);
    if (file === undefined) {
      file = new FileBlocks();
      this.#files.set(nodeId, file);
    }
    return file;
  }

  #noteHole(nodeId: number, file: FileBlocks, from: number, to: number, type: number): void {
    for (let block = from; block < to; block++) {
      const state = file.state[block];
      if (state === State.MAPPED || (state === State.UNWRITTEN && type === MappingType.INLINE)) {
        throw new Violation('D-5', `block ${block} of inode ${nodeId} was written and is type ${type} now`);
      }
      if (state === State.UNKNOWN) continue;
      // Unwritten blocks behind the end are the server's to give back.
      const device = file.device[block];
      if (this.#owners[device] === key(nodeId, block)) this.#owners[device] = NOBODY;
      file.state[block] = State.UNKNOWN;
    }
  }

  #noteBlock(nodeId: number, file: FileBlocks, block: number, device: number, state: number): void {
    const before = file.state[block];
    const mine = key(nodeId, block);
    if (before === state && file.device[block] === device && this.#owners[device] === mine) return;
    if (before !== State.UNKNOWN && file.device[block] !== device) {
      if (before === State.MAPPED) {
        throw new Violation('D-5', `block ${block} of inode ${nodeId} moves from ${file.device[block]} to ${device}`);
      }
      if (this.#owners[file.device[block]] === mine) this.#owners[file.device[block]] = NOBODY;
    } else if (before === State.MAPPED && state === State.UNWRITTEN) {
      throw new Violation('D-5', `block ${block} of inode ${nodeId} was written and is unwritten now`);
    } else if (before === State.UNWRITTEN && state === State.MAPPED) {
      throw new Violation('D-5', `block ${block} of inode ${nodeId} was unwritten and is written without an IOEND`);
    }
    this.#take(mine, block, device, nodeId);
    file.device[block] = device;
    file.state[block] = state;
  }

  #take(mine: number, block: number, device: number, nodeId: number): void {
    if (this.#owners[device] !== mine) this.catchUp();
    const owner = this.#owners[device];
    if (owner !== NOBODY && owner !== mine) {
      const other = Math.floor(owner / FILE_BLOCKS);
      const otherBlock = owner % FILE_BLOCKS;
      if (this.#files.get(other)?.state[otherBlock] !== State.LOOSE) {
        throw new Violation(
          'B-1',
          `device block ${device} is block ${block} of inode ${nodeId} and block ${otherBlock} of inode ${other}`,
        );
      }
      const file = this.#file(other);
      file.state[otherBlock] = State.UNKNOWN;
    }
    if (owner !== mine && this.followsReleases && this.#released[device] === this.commits) {
      throw new Violation(
        'B-3',
        `device block ${device} is given to inode ${nodeId} before its release is on the disk`,
      );
    }
    if (owner !== mine) this.#committed[device] = 0;
    this.#released[device] = 0;
    this.#owners[device] = mine;
  }
}

const key = (nodeId: number, block: number): number => nodeId * FILE_BLOCKS + block;
