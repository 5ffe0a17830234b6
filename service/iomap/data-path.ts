import type { Ext4Context } from '../ext4/context.ts';
import type { Inode } from '../ext4/inode.ts';
import type { RecoveredBlocks } from '../ext4/journal/recovered-blocks.ts';
import { Mapping, MappingType } from '../ext4/mapping.ts';

/** Moves file data between device and kernel without passing through JavaScript, and answers the request itself. */
export interface DataMover {
  /**
   * `segments` holds `count` pairs of device offset (-1: zeros) and length, both in bytes. Copied before it
   * returns.
   */
  replyRead(uniqueLow: number, uniqueHigh: number, segments: Float64Array, count: number): void;
  /** Blocks until no read is under way. */
  waitUntilIdle(): void;
}

export interface DataSource extends Ext4Context {
  readonly recovered: RecoveredBlocks | null;
}

const ZEROS = -1;

/** READ on kernels without iomap: turns (inode, offset, length) into device ranges and hands them to the mover. */
export class DataPath {
  readonly #fs: DataSource;
  readonly #mover: DataMover;
  readonly #startBytes: number;
  readonly #mapping = new Mapping();
  readonly #segments: Float64Array;
  #count = 0;

  /**
   * `startBytes`: where the file system begins on the device. `maxReadBytes`: the longest read that the kernel
   * may ask for.
   */
  constructor(fs: DataSource, mover: DataMover, startBytes: number, maxReadBytes: number) {
    this.#fs = fs;
    this.#mover = mover;
    this.#startBytes = startBytes;
    this.#segments = new Float64Array(2 * (Math.ceil(maxReadBytes / fs.blockSize) + 2));
  }

  /**
   * Starts the read of a regular file without inline data, cut at the end of the file; the mover
   * answers. Returns false when nothing was started because a block has to be restored from its
   * escaped copy in the journal: the caller then answers from memory.
   */
  read(inode: Inode, offsetBytes: number, sizeBytes: number, uniqueLow: number, uniqueHigh: number): boolean {
    const endBytes = Math.min(offsetBytes + sizeBytes, inode.sizeBytes);
    this.#count = 0;
    let position = offsetBytes;
    while (position < endBytes) {
      position = this.#appendRun(inode, position, endBytes);
      if (position < 0) return false;
    }
    this.#mover.replyRead(uniqueLow, uniqueHigh, this.#segments, this.#count);
    return true;
  }

  waitForReads(): void {
    this.#mover.waitUntilIdle();
  }

  /** Appends what one mapping covers of [position, endBytes) and returns where it ends, or -1 (see `read`). */
  #appendRun(inode: Inode, position: number, endBytes: number): number {
    const { blockSize, recovered } = this.#fs;
    const mapping = this.#mapping;
    const lblk = Math.floor(position / blockSize);
    this.#fs.mapBlocks(inode, lblk, mapping);
    const runEndBytes = Math.min(endBytes, (mapping.lblk + mapping.lenBlocks) * blockSize);
    if (mapping.type !== MappingType.WRITTEN) {
      this.#append(ZEROS, runEndBytes - position);
      return runEndBytes;
    }
    const deviceBytes = mapping.pblk * blockSize + (position - mapping.lblk * blockSize);
    if (recovered === null || recovered.size === 0) {
      this.#append(this.#startBytes + deviceBytes, runEndBytes - position);
      return runEndBytes;
    }
    return this.#appendRecovered(recovered, deviceBytes, position, runEndBytes);
  }

  /** Block by block: the newest copy of some may still lie in the journal. */
  #appendRecovered(recovered: RecoveredBlocks, deviceBytes: number, position: number, endBytes: number): number {
    const { blockSize } = this.#fs;
    let at = deviceBytes;
    let done = position;
    while (done < endBytes) {
      const blockNr = Math.floor(at / blockSize);
      const within = at - blockNr * blockSize;
      const length = Math.min(blockSize - within, endBytes - done);
      if (recovered.isEscaped(blockNr)) return -1;
      const copy = recovered.newestCopy(blockNr);
      this.#append(this.#startBytes + (copy < 0 ? blockNr : copy) * blockSize + within, length);
      at += length;
      done += length;
    }
    return done;
  }

  #append(deviceBytes: number, lengthBytes: number): void {
    const segments = this.#segments;
    const last = 2 * this.#count - 2;
    if (this.#count > 0 && continues(segments[last], segments[last + 1], deviceBytes)) {
      segments[last + 1] += lengthBytes;
      return;
    }
    segments[last + 2] = deviceBytes;
    segments[last + 3] = lengthBytes;
    this.#count++;
  }
}

function continues(previousBytes: number, previousLength: number, deviceBytes: number): boolean {
  if (previousBytes === ZEROS || deviceBytes === ZEROS) return previousBytes === deviceBytes;
  return previousBytes + previousLength === deviceBytes;
}
