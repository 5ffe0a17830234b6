import { crc32c } from '../../native/crc32c.ts';
import { MemoryBlockDevice } from '../../service/ext4/block-device.ts';
import { fileBlock, mapBlocks } from '../../service/ext4/block-map.ts';
import { BufferCache, type CachedBlock } from '../../service/ext4/buffer-cache.ts';
import { MetadataChecksum } from '../../service/ext4/checksum.ts';
import type { Ext4Context } from '../../service/ext4/context.ts';
import { CorruptionError } from '../../service/ext4/errors.ts';
import { Inode } from '../../service/ext4/inode.ts';
import { EXTENT_MAGIC } from '../../service/ext4/layout/extent.ts';
import { FileType, INODE, InodeFlag } from '../../service/ext4/layout/inode.ts';
import { Superblock } from '../../service/ext4/layout/superblock.ts';
import { Mapping } from '../../service/ext4/mapping.ts';

/** An entry of a leaf. */
export interface LeafEntry {
  readonly lblk: number;
  readonly pblk: number;
  readonly len: number;
  readonly unwritten?: boolean;
}

/** An entry of an inner node: everything from `lblk` on is under the node in block `leaf`. */
export interface IndexEntry {
  readonly lblk: number;
  readonly leaf: number;
}

export interface MapAnswer {
  readonly type: number;
  readonly lblk: number;
  readonly pblk: number;
  readonly lenBlocks: number;
}

/** Block of the made-up inode table; files may own the blocks behind it. */
export const TABLE_BLOCK = 1;
export const FIRST_FREE_BLOCK = 2;
/** Data blocks are never read, so the made-up file system may have more blocks than its device. */
export const FS_BLOCKS = 2 ** 47;

/**
 * Just enough of a file system to hold one inode and the nodes of its block map, written by hand. The
 * inode's number is 12 and its generation 7.
 */
export class MapImage implements Ext4Context {
  readonly superblock = new Superblock(new DataView(new ArrayBuffer(1024)), 0);
  readonly blockSize: number;
  readonly checksum: MetadataChecksum;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly file = new Inode(12);
  cache: BufferCache;

  constructor(blockSize: number, deviceBlocks: number, checksums: boolean) {
    this.blockSize = blockSize;
    this.checksum = new MetadataChecksum(checksums, 0x12345678, crc32c);
    this.bytes = new Uint8Array(blockSize * deviceBlocks);
    this.view = new DataView(this.bytes.buffer);
    this.cache = new BufferCache(new MemoryBlockDevice(this.bytes), blockSize, 64 * blockSize);
    this.file.tableBlock = TABLE_BLOCK;
    this.file.tableOffset = 256;
    this.file.mode = FileType.REGULAR | 0o644;
    this.file.generation = 7;
  }

  get rootAt(): number {
    return TABLE_BLOCK * this.blockSize + this.file.tableOffset + INODE.i_block;
  }

  /** Must be called when bytes were changed after something was read. */
  forgetCache(): void {
    this.cache = new BufferCache(new MemoryBlockDevice(this.bytes), this.blockSize, 64 * this.blockSize);
  }

  useExtents(): void {
    this.file.flags = InodeFlag.EXTENTS;
  }

  leafRoot(entries: readonly LeafEntry[]): void {
    this.useExtents();
    this.#leaf(this.rootAt, 4, entries);
  }

  indexRoot(depth: number, entries: readonly IndexEntry[]): void {
    this.useExtents();
    this.#index(this.rootAt, 4, depth, entries);
  }

  leaf(block: number, entries: readonly LeafEntry[]): void {
    this.#leaf(block * this.blockSize, this.nodeCapacity, entries);
    this.seal(block);
  }

  index(block: number, depth: number, entries: readonly IndexEntry[]): void {
    this.#index(block * this.blockSize, this.nodeCapacity, depth, entries);
    this.seal(block);
  }

  get nodeCapacity(): number {
    return Math.floor((this.blockSize - 12) / 12);
  }

  /** Makes the checksum of the node in `block` match its content. */
  seal(block: number, ino = this.file.ino): void {
    const at = block * this.blockSize;
    const tail = Math.min(12 + 12 * this.view.getUint16(at + 4, true), this.blockSize - 4);
    const crc = crc32c(this.checksum.inodeSeed(ino, this.file.generation), this.bytes, at, at + tail);
    this.view.setUint32(at + tail, crc, true);
  }

  /** Sets pointer number `index` of an indirect block. */
  pointer(block: number, index: number, target: number): void {
    this.view.setUint32(block * this.blockSize + 4 * index, target, true);
  }

  /** Sets one of the 15 pointers in the inode. */
  rootPointer(index: number, target: number): void {
    this.view.setUint32(this.rootAt + 4 * index, target, true);
  }

  ask(lblk: number): MapAnswer {
    const out = new Mapping();
    this.mapBlocks(this.file, lblk, out);
    return { type: out.type, lblk: out.lblk, pblk: out.pblk, lenBlocks: out.lenBlocks };
  }

  mapBlocks(inode: Inode, lblk: number, out: Mapping): void {
    mapBlocks(this, inode, lblk, out);
  }

  fileBlock(inode: Inode, lblk: number): CachedBlock | null {
    return fileBlock(this, inode, lblk);
  }

  inode(): Inode {
    return this.file;
  }

  checkDataBlocks(pblk: number, lenBlocks: number, structure: string, ino: number): void {
    if (pblk >= FIRST_FREE_BLOCK && pblk + lenBlocks <= FS_BLOCKS) return;
    throw new CorruptionError(structure, 'blocks are outside the file system', { inode: ino, block: pblk });
  }

  #header(at: number, entries: number, max: number, depth: number): void {
    this.view.setUint16(at, EXTENT_MAGIC, true);
    this.view.setUint16(at + 2, entries, true);
    this.view.setUint16(at + 4, max, true);
    this.view.setUint16(at + 6, depth, true);
  }

  #leaf(at: number, max: number, entries: readonly LeafEntry[]): void {
    this.#header(at, entries.length, max, 0);
    for (const [index, { lblk, pblk, len, unwritten }] of entries.entries()) {
      const entryAt = at + 12 + 12 * index;
      this.view.setUint32(entryAt, lblk, true);
      this.view.setUint16(entryAt + 4, unwritten === true ? len + 32768 : len, true);
      this.view.setUint16(entryAt + 6, Math.floor(pblk / 2 ** 32), true);
      this.view.setUint32(entryAt + 8, pblk >>> 0, true);
    }
  }

  #index(at: number, max: number, depth: number, entries: readonly IndexEntry[]): void {
    this.#header(at, entries.length, max, depth);
    for (const [index, { lblk, leaf }] of entries.entries()) {
      const entryAt = at + 12 + 12 * index;
      this.view.setUint32(entryAt, lblk, true);
      this.view.setUint32(entryAt + 4, leaf >>> 0, true);
      this.view.setUint16(entryAt + 8, Math.floor(leaf / 2 ** 32), true);
    }
  }
}
