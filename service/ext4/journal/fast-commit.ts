import { u16le, u32le } from '../../../shared/bytes.ts';
import type { Crc32c } from '../checksum.ts';
import { IncompatibleError } from '../errors.ts';
import {
  FAST_COMMIT_HEAD,
  FAST_COMMIT_RECORD,
  FAST_COMMIT_TAIL,
  FastCommitTag,
  JournalIncompat,
} from '../layout/journal.ts';
import type { Log } from './log.ts';

/**
 * Fast commits are changes that were made durable outside the log, in the blocks behind it, after the
 * last complete transaction. They describe operations, not blocks, so replaying them means allocating and
 * writing. This reader only finds out whether there are any and refuses the file system then.
 *
 * `endSequence` is the transaction that they would have become part of. Leftovers of earlier transactions
 * and a first fast commit that was cut short count as none: nobody was told that they are durable.
 */
export function refuseFastCommits(log: Log, crc32c: Crc32c, endSequence: number): void {
  if (!log.superblock.hasIncompat(JournalIncompat.FAST_COMMIT)) return;
  if (!holdsFastCommit(log, crc32c, endSequence)) return;
  throw new IncompatibleError(
    `journal holds fast commits after transaction ${(endSequence - 1) >>> 0}, which can't be replayed in memory; ` +
      'mount it once with the kernel driver or run e2fsck -fy',
  );
}

const MINIMUM_VALUE_SIZE: ReadonlyMap<number, number> = new Map([
  [FastCommitTag.ADD_RANGE, 16],
  [FastCommitTag.DEL_RANGE, 12],
  [FastCommitTag.CREAT, 8],
  [FastCommitTag.LINK, 8],
  [FastCommitTag.UNLINK, 8],
  [FastCommitTag.INODE, 4],
  [FastCommitTag.PAD, 0],
  [FastCommitTag.TAIL, FAST_COMMIT_TAIL.SIZE],
  [FastCommitTag.HEAD, FAST_COMMIT_HEAD.SIZE],
]);

/** What the records of one block lead to. */
const Verdict = Object.freeze({ NEXT_BLOCK: 0, NONE: 1, VALID: 2 });

/** Is there a head for `endSequence`, followed by records and a tail with their checksum? */
function holdsFastCommit(log: Log, crc32c: Crc32c, endSequence: number): boolean {
  const first = log.superblock.fastCommitFirstBlock;
  const records = new FastCommitRecords(log, crc32c, endSequence);
  for (let blockNr = first; blockNr < log.superblock.lengthBlocks; blockNr++) {
    log.readBlock(blockNr);
    if (blockNr === first && u16le(log.view, FAST_COMMIT_RECORD.fc_tag) !== FastCommitTag.HEAD) return false;
    const verdict = records.readBlock();
    if (verdict !== Verdict.NEXT_BLOCK) return verdict === Verdict.VALID;
  }
  return false;
}

class FastCommitRecords {
  readonly #log: Log;
  readonly #crc32c: Crc32c;
  readonly #sequence: number;
  /** Over all records since the head. */
  #crc = 0;

  constructor(log: Log, crc32c: Crc32c, sequence: number) {
    this.#log = log;
    this.#crc32c = crc32c;
    this.#sequence = sequence;
  }

  readBlock(): number {
    const { view, bytes } = this.#log;
    let at = 0;
    while (at + FAST_COMMIT_RECORD.SIZE <= bytes.length) {
      const tag = u16le(view, at + FAST_COMMIT_RECORD.fc_tag);
      const valueSize = u16le(view, at + FAST_COMMIT_RECORD.fc_len);
      const valueAt = at + FAST_COMMIT_RECORD.SIZE;
      const minimumSize = MINIMUM_VALUE_SIZE.get(tag);
      if (minimumSize === undefined || valueSize < minimumSize || valueAt + valueSize > bytes.length)
        return Verdict.NONE;
      if (tag === FastCommitTag.TAIL) return this.#tail(at, valueAt);
      if (tag === FastCommitTag.HEAD && u32le(view, valueAt + FAST_COMMIT_HEAD.fc_tid) !== this.#sequence) {
        return Verdict.NONE;
      }
      this.#crc = this.#crc32c(this.#crc, bytes, at, valueAt + valueSize);
      at = valueAt + valueSize;
    }
    return Verdict.NEXT_BLOCK;
  }

  /** The checksum covers the tail as well, up to the checksum itself. */
  #tail(at: number, valueAt: number): number {
    const { view, bytes } = this.#log;
    const crc = this.#crc32c(this.#crc, bytes, at, valueAt + FAST_COMMIT_TAIL.fc_crc) >>> 0;
    const matches =
      u32le(view, valueAt + FAST_COMMIT_TAIL.fc_tid) === this.#sequence &&
      u32le(view, valueAt + FAST_COMMIT_TAIL.fc_crc) === crc;
    return matches ? Verdict.VALID : Verdict.NONE;
  }
}
