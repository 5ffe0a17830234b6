import { CorruptionError } from '../errors.ts';
import type { JournalFile } from './journal-superblock.ts';

/**
 * Where the journal's blocks are, looked up once: who writes the log must not depend on metadata that changes, and
 * nothing may be found missing in the middle of a commit.
 */
export class JournalExtents implements JournalFile {
  readonly lengthBlocks: number;
  /** Of each run of neighbouring blocks: its first block in the journal and on the device. */
  readonly #firstBlocks: number[] = [];
  readonly #deviceBlocks: number[] = [];
  #current = 0;

  /** Throws CorruptionError when the first `lengthBlocks` blocks aren't all there, within the file system. */
  constructor(file: JournalFile, lengthBlocks: number, fsBlocksCount: number) {
    this.lengthBlocks = lengthBlocks;
    let expected = -1;
    for (let blockNr = 0; blockNr < lengthBlocks; blockNr++) {
      const deviceBlock = file.physicalBlock(blockNr);
      if (deviceBlock < 1 || deviceBlock >= fsBlocksCount) {
        throw new CorruptionError('journal', `block ${blockNr} lies at ${deviceBlock} of ${fsBlocksCount}`);
      }
      if (deviceBlock !== expected) {
        this.#firstBlocks.push(blockNr);
        this.#deviceBlocks.push(deviceBlock);
      }
      expected = deviceBlock + 1;
    }
  }

  physicalBlock(blockNr: number): number {
    if (!this.#isIn(this.#current, blockNr)) this.#current = this.#find(blockNr);
    return this.#deviceBlocks[this.#current] + (blockNr - this.#firstBlocks[this.#current]);
  }

  /** Is a block of the device one of the journal's? */
  holds(deviceBlock: number): boolean {
    return this.#deviceBlocks.some((first, run) => {
      return deviceBlock >= first && deviceBlock < first + this.#endOf(run) - this.#firstBlocks[run];
    });
  }

  #endOf(run: number): number {
    return run + 1 < this.#firstBlocks.length ? this.#firstBlocks[run + 1] : this.lengthBlocks;
  }

  #isIn(run: number, blockNr: number): boolean {
    return blockNr >= this.#firstBlocks[run] && blockNr < this.#endOf(run);
  }

  /** The last run that begins at or before the block. */
  #find(blockNr: number): number {
    let low = 0;
    let high = this.#firstBlocks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#firstBlocks[middle] <= blockNr) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}
