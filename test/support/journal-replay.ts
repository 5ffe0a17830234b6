import { copyFileSync, readFileSync } from 'node:fs';
import { MemoryBlockDevice } from '../../service/ext4/block-device.ts';
import { type JournalFile, type RecoveredBlocks, recoverInMemory } from '../../service/ext4/journal/recovery.ts';
import { referenceCrc32c } from './crc32c.ts';
import { e2fsck, e2fsprogs } from './e2fsprogs.ts';

/** The journal's block map as debugfs prints it: "(0-4095):24673-28768" for extents and for indirect blocks. */
export function journalFileOf(image: string): JournalFile {
  const blocks: number[] = [];
  // A superblock that the journal holds a newer copy of need not match its checksum at home: -n.
  const listing = e2fsprogs('debugfs', ['-n', '-R', 'stat <8>', image]);
  for (const [, first, last, physical] of listing.matchAll(/\((\d+)(?:-(\d+))?\):(\d+)/g)) {
    for (let nr = Number(first); nr <= Number(last ?? first); nr++) {
      blocks[nr] = Number(physical) + nr - Number(first);
    }
  }
  return { lengthBlocks: blocks.length, physicalBlock: (nr) => blocks[nr] };
}

export interface RecoveredImage {
  readonly bytes: Uint8Array;
  readonly blockSize: number;
  readonly journal: JournalFile;
  readonly recovered: RecoveredBlocks;
}

export function recoverImage(image: string): RecoveredImage {
  const bytes = new Uint8Array(readFileSync(image));
  const view = new DataView(bytes.buffer);
  const blockSize = 1024 << view.getUint32(1024 + 0x18, true);
  const blocksCount = view.getUint32(1024 + 0x4, true);
  const journal = journalFileOf(image);
  const recovered = recoverInMemory(new MemoryBlockDevice(bytes), blockSize, blocksCount, referenceCrc32c, journal);
  return { bytes, blockSize, journal, recovered };
}

/**
 * What a superblock says about checks and mounts, not about content, and so changes when a tool replays:
 * write time, state, needs_recovery, orphan_present, kilobytes written, free counts (recounted), checksum.
 */
const BOOKKEEPING: readonly (readonly [number, number])[] = [
  [0x0c, 8],
  [0x2c, 8],
  [0x34, 2],
  [0x3a, 2],
  [0x60, 1],
  [0x66, 1],
  [0x178, 8],
  [0x3fc, 4],
];

/** How an image looks through in-memory recovery, compared with what a replay by e2fsck makes of it. */
export interface ReplayComparison {
  /** Blocks that differ between our view and the replayed image. */
  readonly differing: readonly number[];
  /** Blocks that the replay changed on disk: 0 would mean that nothing was tested. */
  readonly changedByReplay: number;
  readonly recovered: RecoveredBlocks;
}

export function compareWithReplay(image: string): ReplayComparison {
  const replayedImage = `${image}.replayed`;
  copyFileSync(image, replayedImage);
  e2fsck(replayedImage, '-y', '-E', 'journal_only');
  const { bytes, blockSize, journal, recovered } = recoverImage(image);
  const replayed = new Uint8Array(readFileSync(replayedImage));
  const journalBlocks = new Set(Array.from({ length: journal.lengthBlocks }, (_, nr) => journal.physicalBlock(nr)));
  const ours = new Uint8Array(blockSize);
  const differing: number[] = [];
  let changedByReplay = 0;
  for (let blockNr = 0; blockNr < bytes.length / blockSize; blockNr++) {
    if (journalBlocks.has(blockNr)) continue;
    const home = bytes.subarray(blockNr * blockSize, (blockNr + 1) * blockSize);
    const theirs = replayed.slice(blockNr * blockSize, (blockNr + 1) * blockSize);
    if (!recovered.readNewest(blockNr, ours)) ours.set(home);
    if (Buffer.compare(home, theirs) !== 0) changedByReplay++;
    if (Buffer.compare(ours, theirs) === 0) continue;
    maskBookkeeping(ours, blockNr);
    maskBookkeeping(theirs, blockNr);
    if (Buffer.compare(ours, theirs) !== 0) differing.push(blockNr);
  }
  return { differing, changedByReplay, recovered };
}

/** Zeroes the bookkeeping of a primary or backup superblock; leaves other blocks as they are. */
function maskBookkeeping(block: Uint8Array, blockNr: number): void {
  const at = blockNr === 0 && block.length > 1024 ? 1024 : 0;
  if (block[at + 0x38] !== 0x53 || block[at + 0x39] !== 0xef) return;
  for (const [offset, length] of BOOKKEEPING) block.fill(0, at + offset, at + offset + length);
}
