import { putU32le, u32le } from '../../shared/bytes.ts';
import { BlockCheck, BlockRole, type CachedBlock } from './buffer-cache.ts';
import type { Ext4Context } from './context.ts';
import { CorruptionError } from './errors.ts';
import type { Inode } from './inode.ts';
import { ORPHAN_BLOCK_MAGIC, ORPHAN_BLOCK_TAIL, orphansPerBlock } from './layout/orphan-file.ts';
import type { WriteContext } from './write-context.ts';

/** All of it is read at the mount. What mke2fs makes of its own accord is at most this large. */
const MAX_BYTES = 32 * 2 ** 20;

/** The checksum covers where the block is and its entries, not the tail. */
function checksumOf(ctx: Ext4Context, block: CachedBlock, ino: number, generation: number): number {
  const { checksum } = ctx;
  const place = checksum.u32(checksum.inodeSeed(ino, generation), block.blockNr >>> 0);
  const seed = checksum.u32(place, Math.floor(block.blockNr / 2 ** 32));
  return checksum.crc32c(seed, block.bytes, 0, 4 * orphansPerBlock(ctx.blockSize));
}

/** Makes the checksum of a block of the role ORPHAN_BLOCK. */
export function sealOrphanBlock(ctx: Ext4Context, block: CachedBlock): void {
  if (!ctx.checksum.enabled) return;
  const tail = ctx.blockSize - ORPHAN_BLOCK_TAIL.SIZE;
  const checksum = checksumOf(ctx, block, block.owner, block.ownerGeneration);
  putU32le(block.view, tail + ORPHAN_BLOCK_TAIL.ob_checksum, checksum);
}

/**
 * The hidden file whose blocks list orphans. Which entry an inode has is kept in memory; so is how many entries of
 * each block are free, and where it is worth to look for one.
 */
export class OrphanFile {
  readonly #ctx: WriteContext;
  readonly #file: Inode;
  readonly #perBlock: number;
  readonly #freeEntries: Uint32Array;
  /** No entry of the block before this one is free. */
  readonly #firstFree: Uint32Array;
  /** Entries of orphans, counted over all blocks. */
  readonly #entryOf = new Map<number, number>();
  readonly #unusable = new Set<number>();
  #used = 0;
  /** The block that took the last orphan. */
  #current = 0;

  /**
   * `file`: the inode that the superblock names. Reads all blocks; bad ones are reported and left alone. Throws
   * CorruptionError when it can be no orphan file.
   */
  constructor(ctx: WriteContext, file: Inode, report: (error: CorruptionError) => void) {
    this.#ctx = ctx;
    this.#file = file;
    this.#perBlock = orphansPerBlock(ctx.blockSize);
    if (!file.isRegular || file.sizeBytes > MAX_BYTES) {
      throw new CorruptionError('orphan file', `has ${file.sizeBytes} bytes or is no file`, { inode: file.ino });
    }
    const blocks = Math.floor(file.sizeBytes / ctx.blockSize);
    this.#freeEntries = new Uint32Array(blocks);
    this.#firstFree = new Uint32Array(blocks);
    for (let lblk = 0; lblk < blocks; lblk++) this.#freeEntries[lblk] = this.#countFree(lblk, report);
  }

  /** Entries in use, those that make no sense included. */
  get used(): number {
    return this.#used;
  }

  has(ino: number): boolean {
    return this.#entryOf.has(ino);
  }

  /** The first entry from number `from` on that names an inode, -1 when there is none. */
  firstUsed(from: number): number {
    const perBlock = this.#perBlock;
    for (let lblk = Math.floor(from / perBlock); lblk < this.#freeEntries.length; lblk++) {
      if (this.#unusable.has(lblk) || this.#freeEntries[lblk] === perBlock) continue;
      const block = this.#readable(lblk);
      for (let index = Math.max(0, from - lblk * perBlock); block !== null && index < perBlock; index++) {
        if (u32le(block.view, 4 * index) !== 0) return lblk * perBlock + index;
      }
    }
    return -1;
  }

  /** The inode that a used entry names. */
  inodeAt(entry: number): number {
    const lblk = Math.floor(entry / this.#perBlock);
    const block = this.#readable(lblk);
    return block === null ? 0 : u32le(block.view, 4 * (entry - lblk * this.#perBlock));
  }

  isAt(ino: number, entry: number): boolean {
    return this.#entryOf.get(ino) === entry;
  }

  /** Takes note of an orphan that the file names already. */
  know(ino: number, entry: number): void {
    this.#entryOf.set(ino, entry);
  }

  forgetAbout(ino: number): void {
    this.#entryOf.delete(ino);
  }

  /** Within the open handle. Returns false when the file is full. */
  add(ino: number): boolean {
    const blocks = this.#freeEntries.length;
    for (let step = 0; step < blocks; step++) {
      const lblk = (this.#current + step) % blocks;
      if (this.#freeEntries[lblk] === 0) continue;
      this.#current = lblk;
      this.#addTo(lblk, ino);
      return true;
    }
    return false;
  }

  /** Within the open handle. Returns the entry that was freed. */
  remove(ino: number): number {
    const entry = this.#entryOf.get(ino);
    if (entry === undefined) throw new Error(`inode ${ino} is not in the orphan file`);
    const lblk = Math.floor(entry / this.#perBlock);
    const index = entry - lblk * this.#perBlock;
    putU32le(this.#changeable(lblk).view, 4 * index, 0);
    this.#noteFreed(ino, lblk, index);
    return entry;
  }

  /** The handle that added the inode was cancelled; the blocks are as they were. */
  undoAdd(ino: number): void {
    const entry = this.#entryOf.get(ino);
    if (entry === undefined) return;
    const lblk = Math.floor(entry / this.#perBlock);
    this.#noteFreed(ino, lblk, entry - lblk * this.#perBlock);
  }

  /** The handle that removed the inode from `entry` was cancelled. */
  undoRemove(ino: number, entry: number): void {
    this.#entryOf.set(ino, entry);
    this.#freeEntries[Math.floor(entry / this.#perBlock)]--;
    this.#used++;
  }

  #noteFreed(ino: number, lblk: number, index: number): void {
    this.#entryOf.delete(ino);
    this.#freeEntries[lblk]++;
    this.#used--;
    if (index < this.#firstFree[lblk]) this.#firstFree[lblk] = index;
  }

  #addTo(lblk: number, ino: number): void {
    const block = this.#changeable(lblk);
    let index = this.#firstFree[lblk];
    while (index < this.#perBlock && u32le(block.view, 4 * index) !== 0) index++;
    if (index === this.#perBlock) throw this.#corrupt(block, 'has fewer free entries than it had');
    putU32le(block.view, 4 * index, ino);
    this.#firstFree[lblk] = index + 1;
    this.#freeEntries[lblk]--;
    this.#used++;
    this.#entryOf.set(ino, lblk * this.#perBlock + index);
  }

  #changeable(lblk: number): CachedBlock {
    const block = this.#readable(lblk);
    if (block === null) throw this.#hole(lblk);
    this.#ctx.handle.modify(block);
    block.role = BlockRole.ORPHAN_BLOCK;
    block.owner = this.#file.ino;
    block.ownerGeneration = this.#file.generation;
    return block;
  }

  /** The file's block, verified; null for a hole. */
  #readable(lblk: number): CachedBlock | null {
    const block = this.#ctx.fileBlock(this.#file, lblk);
    if (block === null || (block.checked & BlockCheck.ORPHAN_BLOCK) !== 0) return block;
    const tail = this.#ctx.blockSize - ORPHAN_BLOCK_TAIL.SIZE;
    const magic = u32le(block.view, tail + ORPHAN_BLOCK_TAIL.ob_magic);
    if (magic !== ORPHAN_BLOCK_MAGIC) throw this.#corrupt(block, `magic is ${magic.toString(16)}`);
    if (this.#ctx.checksum.enabled) {
      const found = u32le(block.view, tail + ORPHAN_BLOCK_TAIL.ob_checksum);
      const expected = checksumOf(this.#ctx, block, this.#file.ino, this.#file.generation);
      if (found !== expected) {
        throw this.#corrupt(block, `bad checksum ${found.toString(16)}, expected ${expected.toString(16)}`);
      }
    }
    block.checked |= BlockCheck.ORPHAN_BLOCK;
    return block;
  }

  #hole(lblk: number): CorruptionError {
    return new CorruptionError('orphan file', `block ${lblk} is a hole`, { inode: this.#file.ino });
  }

  #corrupt(block: CachedBlock, finding: string): CorruptionError {
    return new CorruptionError('orphan file', finding, { inode: this.#file.ino, block: block.blockNr });
  }

  #countFree(lblk: number, report: (error: CorruptionError) => void): number {
    try {
      const block = this.#readable(lblk);
      if (block === null) throw this.#hole(lblk);
      let free = 0;
      for (let index = 0; index < this.#perBlock; index++) if (u32le(block.view, 4 * index) === 0) free++;
      this.#used += this.#perBlock - free;
      return free;
    } catch (error) {
      if (!(error instanceof CorruptionError)) throw error;
      report(error);
      this.#unusable.add(lblk);
      return 0;
    }
  }
}
