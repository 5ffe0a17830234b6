import { putU32be, viewOf } from '../../../shared/bytes.ts';
import type { BlockDevice } from '../block-device.ts';
import type { BlockRedirect } from '../buffer-cache.ts';
import { DeviceError } from '../errors.ts';
import { JOURNAL_MAGIC } from '../layout/journal.ts';

/**
 * Where the newest copy of each block is that the journal holds: what a replay would write, without
 * writing it. An index only; the content stays in the journal.
 */
export class RecoveredBlocks implements BlockRedirect {
  readonly #device: BlockDevice;
  readonly #blockSize: number;
  /** Twice the device block of the copy, plus one when its first four bytes were blanked out. */
  readonly #copies = new Map<number, number>();

  constructor(device: BlockDevice, blockSize: number) {
    this.#device = device;
    this.#blockSize = blockSize;
  }

  get size(): number {
    return this.#copies.size;
  }

  /** Numbers of the blocks that a replay would write, in no particular order. */
  blockNumbers(): IterableIterator<number> {
    return this.#copies.keys();
  }

  /** Device block that holds the newest copy of `blockNr`, or -1 when the home location is current. */
  newestCopy(blockNr: number): number {
    const copy = this.#copies.get(blockNr);
    return copy === undefined ? -1 : Math.floor(copy / 2);
  }

  /** A block that begins with the journal's magic number has it replaced by zeros in the journal. */
  isEscaped(blockNr: number): boolean {
    return (this.#copies.get(blockNr) ?? 0) % 2 === 1;
  }

  readNewest(blockNr: number, into: Uint8Array): boolean {
    const copyBlock = this.newestCopy(blockNr);
    if (copyBlock === -1) return false;
    const offsetBytes = copyBlock * this.#blockSize;
    const errno = this.#device.read(offsetBytes, into);
    if (errno !== 0) throw new DeviceError(errno, 'read', offsetBytes, into.length);
    if (this.isEscaped(blockNr)) putU32be(viewOf(into), 0, JOURNAL_MAGIC);
    return true;
  }

  /** Called in log order: a later copy replaces an earlier one. */
  setCopy(blockNr: number, copyBlock: number, isEscaped: boolean): void {
    this.#copies.set(blockNr, copyBlock * 2 + (isEscaped ? 1 : 0));
  }
}
