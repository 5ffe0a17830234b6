import {
  JOURNAL_HEADER,
  JOURNAL_TAG_UUID_SIZE,
  JournalIncompat,
  JournalTagFlag,
  journalTagBlockNr,
  journalTagFlags,
  journalTagSize,
} from '../layout/journal.ts';
import type { JournalSuperblock } from './journal-superblock.ts';

/**
 * Walks the tags of one descriptor block after the other: `begin` points it at a block, each `next`
 * moves to a tag. The walk ends at LAST_TAG or where no further tag fits.
 */
export class DescriptorTags {
  /** Byte offset of the current tag in its block. */
  at = 0;
  blockNr = 0;
  isEscaped = false;
  #view: DataView = new DataView(new ArrayBuffer(0));
  #nextAt = 0;
  readonly #tagSize: number;
  readonly #is64bit: boolean;
  readonly #limit: number;

  /** `tailSize`: bytes at the end of the block that hold no tags. */
  constructor(superblock: JournalSuperblock, tailSize: number) {
    this.#tagSize = journalTagSize(superblock.incompat);
    this.#is64bit = superblock.hasIncompat(JournalIncompat.BIT64);
    this.#limit = superblock.blockSizeBytes - tailSize;
  }

  begin(view: DataView): void {
    this.#view = view;
    this.#nextAt = JOURNAL_HEADER.SIZE;
  }

  next(): boolean {
    const at = this.#nextAt;
    if (at + this.#tagSize > this.#limit) return false;
    const flags = journalTagFlags(this.#view, at);
    this.at = at;
    this.blockNr = journalTagBlockNr(this.#view, at, this.#is64bit);
    this.isEscaped = (flags & JournalTagFlag.ESCAPE) !== 0;
    const uuidSize = (flags & JournalTagFlag.SAME_UUID) !== 0 ? 0 : JOURNAL_TAG_UUID_SIZE;
    this.#nextAt = (flags & JournalTagFlag.LAST_TAG) !== 0 ? this.#limit : at + this.#tagSize + uuidSize;
    return true;
  }

  count(view: DataView): number {
    this.begin(view);
    let count = 0;
    while (this.next()) count++;
    return count;
  }
}
