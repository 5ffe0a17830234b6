import { u32be } from '../../../shared/bytes.ts';
import { CorruptionError } from '../errors.ts';
import { JOURNAL_REVOKE, JournalIncompat } from '../layout/journal.ts';
import type { Log } from './log.ts';
import { isNewer } from './sequence.ts';

/**
 * Blocks that were freed and perhaps reused as file data after they had been journalled: copies of the
 * revoking transaction and of earlier ones must not be replayed.
 */
export class RevokeTable {
  readonly #newestRevoke = new Map<number, number>();

  revoke(blockNr: number, sequence: number): void {
    const known = this.#newestRevoke.get(blockNr);
    if (known === undefined || isNewer(sequence, known)) this.#newestRevoke.set(blockNr, sequence);
  }

  isRevoked(blockNr: number, sequence: number): boolean {
    const revokedIn = this.#newestRevoke.get(blockNr);
    return revokedIn !== undefined && !isNewer(sequence, revokedIn);
  }
}

/**
 * Takes the records of the revoke block that the log stands at. Records of blocks that the log has no
 * copy of (`isLogged` says no) are left out, so that the table is never larger than the log.
 */
export function readRevokeBlock(
  log: Log,
  sequence: number,
  isLogged: (blockNr: number) => boolean,
  table: RevokeTable,
): void {
  const usedBytes = u32be(log.view, JOURNAL_REVOKE.r_count);
  const limit = log.bytes.length - log.checksum.tailSize;
  if (usedBytes > limit) {
    throw new CorruptionError('journal revoke block', `r_count is ${usedBytes}, the limit is ${limit}`);
  }
  const is64bit = log.superblock.hasIncompat(JournalIncompat.BIT64);
  const recordSize = is64bit ? 8 : 4;
  for (let at = JOURNAL_REVOKE.SIZE; at + recordSize <= usedBytes; at += recordSize) {
    const blockNr = is64bit ? u32be(log.view, at) * 2 ** 32 + u32be(log.view, at + 4) : u32be(log.view, at);
    if (isLogged(blockNr)) table.revoke(blockNr, sequence);
  }
}
