import type { BlockDevice } from '../block-device.ts';
import type { Crc32c } from '../checksum.ts';
import { CorruptionError } from '../errors.ts';
import { refuseFastCommits } from './fast-commit.ts';
import { type JournalFile, readJournalSuperblock } from './journal-superblock.ts';
import { Log } from './log.ts';
import { RecoveredBlocks } from './recovered-blocks.ts';
import { RevokeTable, readRevokeBlock } from './revoke-table.ts';
import { findEndOfLog } from './scan.ts';

export type { JournalFile } from './journal-superblock.ts';
export { RecoveredBlocks } from './recovered-blocks.ts';

/** What a journal holds. */
export interface RecoveredLog {
  readonly blocks: RecoveredBlocks;
  /** Number of the first transaction that is not complete. */
  readonly endSequence: number;
}

/**
 * Recovery of a dirty journal without writing: finds out which blocks a replay would overwrite with what.
 * Goes over the log as jbd2 does: find its end, gather the revoke records, take the blocks that are not
 * revoked. Before the second pass the logged block numbers are collected, which bounds the revoke table.
 *
 * Throws CorruptionError where the kernel would refuse to recover, IncompatibleError for features and fast
 * commits that this reader has no support for.
 */
export function recoverInMemory(
  device: BlockDevice,
  blockSize: number,
  fsBlocksCount: number,
  crc32c: Crc32c,
  journal: JournalFile,
): RecoveredBlocks {
  return recoverLog(device, blockSize, fsBlocksCount, crc32c, journal).blocks;
}

export function recoverLog(
  device: BlockDevice,
  blockSize: number,
  fsBlocksCount: number,
  crc32c: Crc32c,
  journal: JournalFile,
): RecoveredLog {
  const superblock = readJournalSuperblock(device, blockSize, fsBlocksCount, crc32c, journal);
  const blocks = new RecoveredBlocks(device, blockSize);
  if (superblock.startBlock === 0) return { blocks, endSequence: superblock.sequence };
  const log = new Log(device, journal, superblock, crc32c);
  const endSequence = findEndOfLog(log);
  refuseFastCommits(log, crc32c, endSequence);
  const revokes = gatherRevokes(log, endSequence, loggedBlocks(log, endSequence));
  // A transaction that grows the file system logs blocks beyond the size in the superblock that it replaces.
  const blockLimit = Math.max(fsBlocksCount, Math.floor(device.sizeBytes / blockSize));
  takeCopies(log, endSequence, revokes, blockLimit, blocks);
  return { blocks, endSequence };
}

/** The journal of a file system that needs no recovery must be sound and empty. */
export function checkCleanJournal(
  device: BlockDevice,
  blockSize: number,
  fsBlocksCount: number,
  crc32c: Crc32c,
  journal: JournalFile,
): void {
  const { startBlock } = readJournalSuperblock(device, blockSize, fsBlocksCount, crc32c, journal);
  if (startBlock !== 0) {
    throw new CorruptionError(
      'journal superblock',
      `the log begins at block ${startBlock}, but the file system is marked as needing no recovery`,
    );
  }
}

function loggedBlocks(log: Log, endSequence: number): ReadonlySet<number> {
  const logged = new Set<number>();
  log.walk(endSequence, {
    descriptor() {
      log.tags.begin(log.view);
      while (log.tags.next()) logged.add(log.tags.blockNr);
    },
  });
  return logged;
}

function gatherRevokes(log: Log, endSequence: number, logged: ReadonlySet<number>): RevokeTable {
  const table = new RevokeTable();
  const isLogged = (blockNr: number): boolean => logged.has(blockNr);
  log.walk(endSequence, {
    revoke(sequence) {
      readRevokeBlock(log, sequence, isLogged, table);
    },
  });
  return table;
}

function takeCopies(
  log: Log,
  endSequence: number,
  revokes: RevokeTable,
  blockLimit: number,
  recovered: RecoveredBlocks,
): void {
  const { tags, checksum } = log;
  const data = new Uint8Array(log.bytes.length);
  log.walk(endSequence, {
    descriptor(sequence, firstDataBlock) {
      tags.begin(log.view);
      for (let index = 0; tags.next(); index++) {
        if (revokes.isRevoked(tags.blockNr, sequence)) continue;
        const logBlock = log.advance(firstDataBlock, index);
        if (tags.blockNr >= blockLimit) {
          throw new CorruptionError('journal', `transaction ${sequence} writes block ${tags.blockNr} of ${blockLimit}`);
        }
        if (checksum.coversData) {
          log.readInto(logBlock, data);
          if (!checksum.dataMatches(data, sequence, log.view, tags.at)) {
            throw new CorruptionError(
              'journal',
              `transaction ${sequence}: checksum mismatch in the copy of block ${tags.blockNr}; run e2fsck -fy`,
            );
          }
        }
        recovered.setCopy(tags.blockNr, log.physicalBlock(logBlock), tags.isEscaped);
      }
    },
  });
}
