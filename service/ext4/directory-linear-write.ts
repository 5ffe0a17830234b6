/** Adding names to a directory that is searched block by block. */

import { allocateDirectoryBlock, appendDirectoryBlock } from './directory-append.ts';
import { blocksToScan, directoryBlock, letBlocksGo } from './directory-block.ts';
import { initLeaf, insertIntoLeaf } from './directory-leaf-write.ts';
import type { NewEntry } from './dirent-chain.ts';
import { CorruptionError } from './errors.ts';
import type { Inode } from './inode.ts';
import type { WriteContext } from './write-context.ts';

/** Blocks before `lblk` have no room for an entry of `sizeBytes`: what makes adding many names bearable. */
class KnownFull {
  lblk = 0;
  sizeBytes = 0;
}

/** A memory, not a state: where it is too cautious, room stays unused; it is never relied upon. */
const knownFull = new WeakMap<Inode, KnownFull>();

/** Puts the entry into a block that exists; false, with nothing changed, when all of them are full. */
export function addToBlocks(ctx: WriteContext, dir: Inode, entry: NewEntry): boolean {
  const blocks = blocksToScan(ctx, dir);
  if (blocks === 0) throw new CorruptionError('directory', 'has no blocks', { inode: dir.ino });
  for (let lblk = firstCandidate(dir, entry.sizeBytes); lblk < blocks; lblk++) {
    const block = directoryBlock(ctx, dir, lblk);
    if (block === null) {
      fillHole(ctx, dir, lblk, entry);
      return true;
    }
    if (insertIntoLeaf(ctx, dir, block, entry)) {
      remember(dir, lblk, entry.sizeBytes);
      return true;
    }
    letBlocksGo(ctx, lblk);
  }
  remember(dir, blocks, entry.sizeBytes);
  return false;
}

export function addToAppendedBlock(ctx: WriteContext, dir: Inode, entry: NewEntry): void {
  const block = appendDirectoryBlock(ctx, dir);
  initLeaf(ctx, dir, block);
  insertIntoLeaf(ctx, dir, block, entry);
}

/** To be told when an entry of the directory's block `lblk` was removed. */
export function noteRoomInBlock(dir: Inode, lblk: number): void {
  const known = knownFull.get(dir);
  if (known !== undefined && known.lblk > lblk) known.lblk = lblk;
}

function fillHole(ctx: WriteContext, dir: Inode, lblk: number, entry: NewEntry): void {
  const block = allocateDirectoryBlock(ctx, dir, lblk);
  initLeaf(ctx, dir, block);
  insertIntoLeaf(ctx, dir, block, entry);
}

function firstCandidate(dir: Inode, sizeBytes: number): number {
  const known = knownFull.get(dir);
  return known !== undefined && sizeBytes >= known.sizeBytes ? known.lblk : 0;
}

/** Of two facts the one about more blocks is kept. */
function remember(dir: Inode, lblk: number, sizeBytes: number): void {
  if (lblk === 0) return;
  let known = knownFull.get(dir);
  if (known === undefined) {
    known = new KnownFull();
    knownFull.set(dir, known);
  }
  if (lblk < known.lblk) return;
  if (lblk > known.lblk || sizeBytes < known.sizeBytes) known.sizeBytes = sizeBytes;
  known.lblk = lblk;
}
