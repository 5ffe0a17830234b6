import { MemoryBlockDevice } from '../../service/ext4/block-device.ts';
import { BufferCache, type CachedBlock } from '../../service/ext4/buffer-cache.ts';
import { MetadataChecksum } from '../../service/ext4/checksum.ts';
import type { Ext4Context } from '../../service/ext4/context.ts';
import { CorruptionError } from '../../service/ext4/errors.ts';
import { Inode } from '../../service/ext4/inode.ts';
import { Compat, Incompat } from '../../service/ext4/layout/features.ts';
import { FileType, InodeFlag } from '../../service/ext4/layout/inode.ts';
import { SUPERBLOCK, Superblock } from '../../service/ext4/layout/superblock.ts';
import { type Mapping, MappingType } from '../../service/ext4/mapping.ts';
import { putU16le, putU32le, viewOf } from '../../shared/bytes.ts';
import { referenceCrc32c } from './crc32c.ts';

export interface FakeOptions {
  readonly blockSize: number;
  readonly blocks: number;
  readonly checksums: boolean;
  readonly compat: number;
  readonly incompat: number;
  readonly hashVersion: number;
  readonly superblockFlags: number;
  readonly inodeSize: number;
}

const DEFAULTS: FakeOptions = Object.freeze({
  blockSize: 1024,
  blocks: 512,
  checksums: true,
  compat: Compat.EXT_ATTR | Compat.DIR_INDEX,
  incompat: Incompat.FILETYPE | Incompat.EXTENTS,
  hashVersion: 1,
  superblockFlags: 1,
  inodeSize: 256,
});

export const INODES_COUNT = 100_000;

/** One opened file system, in memory, whose inodes are mapped by a table and not by extents. */
export class FakeExt4Context implements Ext4Context {
  readonly superblock: Superblock;
  readonly blockSize: number;
  readonly cache: BufferCache;
  readonly checksum: MetadataChecksum;
  /** Runs that were asked for ahead, as [first block, count]. */
  readonly readAheads: [number, number][] = [];
  readonly #memory: Uint8Array;
  readonly #inodes = new Map<number, Inode>();
  readonly #maps = new Map<number, number[]>();
  #nextFree = 1;

  constructor(options: Partial<FakeOptions> = {}) {
    const settings = { ...DEFAULTS, ...options };
    this.superblock = new Superblock(superblockView(settings), 0);
    this.blockSize = settings.blockSize;
    this.#memory = new Uint8Array(settings.blocks * settings.blockSize);
    const device = new MemoryBlockDevice(this.#memory);
    const noted = {
      sizeBytes: this.#memory.length,
      read: (offset: number, into: Uint8Array) => device.read(offset, into),
      readAhead: (offset: number, length: number) => {
        this.readAheads.push([offset / settings.blockSize, length / settings.blockSize]);
      },
    };
    this.cache = new BufferCache(noted, settings.blockSize, 64 * 2 ** 20);
    this.checksum = new MetadataChecksum(settings.checksums, 0x1234abcd, referenceCrc32c);
  }

  /** A new inode with a record of its own in a block of the inode table. */
  addInode(ino: number, mode: number, flags = 0): Inode {
    const inode = new Inode(ino);
    inode.mode = mode;
    inode.flags = flags;
    inode.generation = (ino * 7919) >>> 0;
    inode.extraSizeBytes = 32;
    inode.tableBlock = this.allocate();
    inode.tableOffset = this.superblock.inodeSizeBytes <= this.blockSize / 2 ? this.superblock.inodeSizeBytes : 0;
    this.#inodes.set(ino, inode);
    this.#maps.set(ino, []);
    return inode;
  }

  addDirectory(ino: number, flags = 0): Inode {
    return this.addInode(ino, FileType.DIRECTORY | 0o755, flags);
  }

  allocate(): number {
    if ((this.#nextFree + 1) * this.blockSize > this.#memory.length) throw new Error('fake device is full');
    return this.#nextFree++;
  }

  /** Puts content behind the inode's block `lblk`; the size grows with it. */
  setFileBlock(inode: Inode, lblk: number, bytes: Uint8Array): number {
    const map = this.#mapOf(inode);
    while (map.length <= lblk) map.push(0);
    if (map[lblk] === 0) map[lblk] = this.allocate();
    this.writeBlock(map[lblk], bytes);
    inode.sizeBytes = Math.max(inode.sizeBytes, (lblk + 1) * this.blockSize);
    return map[lblk];
  }

  punchHole(inode: Inode, lblk: number): void {
    this.#mapOf(inode)[lblk] = 0;
  }

  /** Changes a block as a writer does: the cache has it at once, unverified. */
  writeBlock(pblk: number, bytes: Uint8Array, offset = 0): void {
    this.#memory.set(bytes, pblk * this.blockSize + offset);
    if (!this.cache.has(pblk)) return;
    const cached = this.cache.get(pblk);
    cached.bytes.set(bytes, offset);
    cached.checked = 0;
  }

  /** Copy of a block as it is on the device. */
  readBlock(pblk: number): Uint8Array {
    return this.#memory.slice(pblk * this.blockSize, (pblk + 1) * this.blockSize);
  }

  pblkOf(inode: Inode, lblk: number): number {
    return this.#mapOf(inode)[lblk] ?? 0;
  }

  mapBlocks(inode: Inode, lblk: number, out: Mapping): void {
    const map = this.#mapOf(inode);
    const pblk = map[lblk] ?? 0;
    let count = 1;
    if (pblk === 0) {
      while (lblk + count < map.length && map[lblk + count] === 0) count++;
      out.set(MappingType.HOLE, lblk, 0, count);
      return;
    }
    while (map[lblk + count] === pblk + count) count++;
    out.set(MappingType.WRITTEN, lblk, pblk, count);
  }

  fileBlock(inode: Inode, lblk: number): CachedBlock | null {
    const pblk = this.pblkOf(inode, lblk);
    return pblk === 0 ? null : this.cache.get(pblk);
  }

  inode(ino: number): Inode {
    const inode = this.#inodes.get(ino);
    if (inode === undefined) throw new CorruptionError('inode', 'unused', { inode: ino });
    return inode;
  }

  checkDataBlocks(pblk: number, lenBlocks: number, structure: string, ino: number): void {
    if ((pblk + lenBlocks) * this.blockSize > this.#memory.length) {
      throw new CorruptionError(structure, `block ${pblk} is behind the end`, { inode: ino });
    }
  }

  #mapOf(inode: Inode): number[] {
    const map = this.#maps.get(inode.ino);
    if (map === undefined) throw new Error(`inode ${inode.ino} was never added`);
    return map;
  }
}

function superblockView(settings: FakeOptions): DataView {
  const bytes = new Uint8Array(SUPERBLOCK.SIZE);
  const view = viewOf(bytes);
  putU32le(view, SUPERBLOCK.s_inodes_count, INODES_COUNT);
  putU32le(view, SUPERBLOCK.s_blocks_count_lo, settings.blocks);
  putU32le(view, SUPERBLOCK.s_log_block_size, Math.log2(settings.blockSize / 1024));
  putU32le(view, SUPERBLOCK.s_rev_level, 1);
  putU32le(view, SUPERBLOCK.s_first_ino, 11);
  putU16le(view, SUPERBLOCK.s_inode_size, settings.inodeSize);
  putU32le(view, SUPERBLOCK.s_feature_compat, settings.compat);
  putU32le(view, SUPERBLOCK.s_feature_incompat, settings.incompat);
  for (let word = 0; word < 4; word++) putU32le(view, SUPERBLOCK.s_hash_seed + 4 * word, 0x9e3779b9 * (word + 1));
  bytes[SUPERBLOCK.s_def_hash_version] = settings.hashVersion;
  putU32le(view, SUPERBLOCK.s_flags, settings.superblockFlags);
  return view;
}

export const INDEXED = InodeFlag.INDEX;
export const INLINE = InodeFlag.INLINE_DATA;
