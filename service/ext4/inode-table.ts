import { i32le, u16le, u32le } from '../../shared/bytes.ts';
import { Errno } from '../../shared/errno.ts';
import type { BufferCache, CachedBlock } from './buffer-cache.ts';
import type { MetadataChecksum } from './checksum.ts';
import { CorruptionError, FsError } from './errors.ts';
import type { Geometry } from './geometry.ts';
import type { GroupDescriptors } from './group-descriptors.ts';
import { indirectReach } from './indirect-map.ts';
import { Inode } from './inode.ts';
import { EXTENT_LBLK_END } from './layout/extent.ts';
import { Incompat, RoCompat } from './layout/features.ts';
import { FileType, INODE, InodeFlag } from './layout/inode.ts';

/** Decoded inodes kept, about 500 bytes each. A power of two: an inode's place follows from its number. */
const CACHED_INODES = 8192;
/** Blocks of an inode table that are read ahead together, as the kernel's inode_readahead_blks. */
const READ_AHEAD_BLOCKS = 32;
/** s_default_mount_opts bit: user and group ids have 16 bits only. */
const DEFAULT_OPTION_UID16 = 0x10;
/** i_size_high from which on the size is no longer an exact number (2^53 and above). */
const SIZE_HIGH_LIMIT = 2 ** 21;
const MAX_NSEC = 999_999_999;
/** The inode that old boot loaders use has no links. */
const BOOT_LOADER_INODE = 5;
const I = INODE;

/** Finds, verifies, decodes and remembers inodes. */
export class InodeTable {
  readonly #geometry: Geometry;
  readonly #cache: BufferCache;
  readonly #checksum: MetadataChecksum;
  readonly #descriptors: GroupDescriptors;
  readonly #inodeSize: number;
  readonly #wideIds: boolean;
  readonly #hugeFiles: boolean;
  readonly #largeDirectories: boolean;
  readonly #projects: boolean;
  readonly #bit64: boolean;
  readonly #maxExtentSize: number;
  readonly #maxIndirectSize: number;
  readonly #remembered: (Inode | null)[] = new Array<Inode | null>(CACHED_INODES).fill(null);
  /** Inode number, generation, and the inode itself with an empty checksum: what the checksum covers. */
  readonly #checksummed: Uint8Array;
  #lastReadAhead = -1;

  constructor(geometry: Geometry, cache: BufferCache, checksum: MetadataChecksum, descriptors: GroupDescriptors) {
    const { superblock, blockSize } = geometry;
    this.#geometry = geometry;
    this.#cache = cache;
    this.#checksum = checksum;
    this.#descriptors = descriptors;
    this.#inodeSize = superblock.inodeSizeBytes;
    this.#wideIds = (superblock.defaultMountOptions & DEFAULT_OPTION_UID16) === 0;
    this.#hugeFiles = superblock.hasRoCompat(RoCompat.HUGE_FILE);
    this.#largeDirectories = superblock.hasIncompat(Incompat.LARGEDIR);
    this.#projects = superblock.hasRoCompat(RoCompat.PROJECT);
    this.#bit64 = superblock.hasIncompat(Incompat.BIT64);
    this.#maxExtentSize = EXTENT_LBLK_END * blockSize;
    this.#maxIndirectSize = indirectReach(blockSize) * blockSize;
    this.#checksummed = new Uint8Array(8 + this.#inodeSize);
  }

  /**
   * The inode numbered `ino`. Throws CorruptionError when it breaks the format's rules, FsError ESTALE
   * when there is no such inode any more.
   */
  get(ino: number): Inode {
    const slot = ino & (CACHED_INODES - 1);
    const remembered = this.#remembered[slot];
    if (remembered !== null && remembered.ino === ino) return remembered;
    const inode = this.#read(ino);
    this.#remembered[slot] = inode;
    return inode;
  }

  #read(ino: number): Inode {
    const geometry = this.#geometry;
    if (!(ino >= 1 && ino <= geometry.superblock.inodesCount)) {
      throw new CorruptionError('inode number', `${ino} is not in 1..${geometry.superblock.inodesCount}`);
    }
    const group = Math.floor((ino - 1) / geometry.inodesPerGroup);
    const index = ino - 1 - group * geometry.inodesPerGroup;
    if (this.#descriptors.inodesAreUninitialised(group)) throw noSuchInode(ino);
    const indexBlock = Math.floor(index / geometry.inodesPerBlock);
    const table = this.#descriptors.inodeTable(group);
    const blockNr = table + indexBlock;
    if (!this.#cache.has(blockNr)) this.#readAhead(table, indexBlock);
    const block = this.#cache.get(blockNr);
    const inode = new Inode(ino);
    inode.tableBlock = blockNr;
    inode.tableOffset = (index - indexBlock * geometry.inodesPerBlock) * this.#inodeSize;
    this.#decode(inode, block);
    return inode;
  }

  #readAhead(table: number, indexBlock: number): void {
    const first = indexBlock - (indexBlock % READ_AHEAD_BLOCKS);
    if (table + first === this.#lastReadAhead) return;
    this.#lastReadAhead = table + first;
    this.#cache.readAhead(table + first, Math.min(READ_AHEAD_BLOCKS, this.#geometry.inodeTableBlocks - first));
  }

  #decode(inode: Inode, block: CachedBlock): void {
    const { view } = block;
    const at = inode.tableOffset;
    inode.mode = u16le(view, at + I.i_mode);
    inode.linksCount = u16le(view, at + I.i_links_count);
    if (inode.mode === 0 && inode.linksCount === 0) throw noSuchInode(inode.ino);
    inode.generation = u32le(view, at + I.i_generation);
    inode.flags = u32le(view, at + I.i_flags);
    this.#checkExtraSize(inode, view, at);
    if (this.#checksum.enabled) this.#verify(inode, block, at);
    if (inode.linksCount === 0 && inode.ino !== BOOT_LOADER_INODE) throw noSuchInode(inode.ino);
    this.#decodeOwner(inode, view, at);
    this.#decodeSizes(inode, view, at);
    this.#decodeTimes(inode, view, at);
    checkType(inode, block);
    if (isDevice(inode)) decodeDevice(inode, view, at);
    inode.xattrBlock =
      u32le(view, at + I.i_file_acl_lo) + (this.#bit64 ? u16le(view, at + I.i_file_acl_high) * 2 ** 32 : 0);
  }

  #checkExtraSize(inode: Inode, view: DataView, at: number): void {
    if (this.#inodeSize === I.BASE_SIZE) return;
    const extra = u16le(view, at + I.i_extra_isize);
    if (extra % 4 !== 0 || I.BASE_SIZE + extra > this.#inodeSize) {
      throw corruptInode(inode, `extra size is ${extra} in inodes of ${this.#inodeSize} bytes`);
    }
    inode.extraSizeBytes = extra;
  }

  #verify(inode: Inode, block: CachedBlock, at: number): void {
    const covered = this.#checksummed;
    const fits = this.#fits(inode, I.i_checksum_hi + 2) && inode.extraSizeBytes > 0;
    putLe32(covered, 0, inode.ino);
    putLe32(covered, 4, inode.generation);
    covered.set(block.bytes.subarray(at, at + this.#inodeSize), 8);
    covered[8 + I.i_checksum_lo] = 0;
    covered[9 + I.i_checksum_lo] = 0;
    if (fits) {
      covered[8 + I.i_checksum_hi] = 0;
      covered[9 + I.i_checksum_hi] = 0;
    }
    const crc = this.#checksum.crc32c(this.#checksum.seed, covered, 0, covered.length);
    const low = u16le(block.view, at + I.i_checksum_lo);
    const found = fits ? u16le(block.view, at + I.i_checksum_hi) * 2 ** 16 + low : low;
    const expected = fits ? crc : crc & 0xffff;
    if (found === expected) return;
    throw corruptInode(inode, `bad checksum ${found.toString(16)}, expected ${expected.toString(16)}`, block.blockNr);
  }

  /**
   * True when the fields before offset `end` are in use. An extra size of zero leaves all known fields
   * usable, as the kernel has it; they are zero on disk then.
   */
  #fits(inode: Inode, end: number): boolean {
    if (this.#inodeSize === I.BASE_SIZE) return false;
    return inode.extraSizeBytes === 0 || I.BASE_SIZE + inode.extraSizeBytes >= end;
  }

  #decodeOwner(inode: Inode, view: DataView, at: number): void {
    inode.uid = u16le(view, at + I.i_uid);
    inode.gid = u16le(view, at + I.i_gid);
    if (this.#wideIds) {
      inode.uid += u16le(view, at + I.i_uid_high) * 2 ** 16;
      inode.gid += u16le(view, at + I.i_gid_high) * 2 ** 16;
    }
    if (this.#projects && this.#fits(inode, I.i_projid + 4)) inode.projectId = u32le(view, at + I.i_projid);
  }

  #decodeSizes(inode: Inode, view: DataView, at: number): void {
    inode.sizeBytes = u32le(view, at + I.i_size_lo);
    const type = inode.fileType;
    if (type === FileType.REGULAR || (type === FileType.DIRECTORY && this.#largeDirectories)) {
      const high = u32le(view, at + I.i_size_high);
      if (high >= SIZE_HIGH_LIMIT) throw corruptInode(inode, `size 0x${high.toString(16)}00000000 is impossible`);
      inode.sizeBytes += high * 2 ** 32;
    }
    const limit = (inode.flags & InodeFlag.EXTENTS) === 0 ? this.#maxIndirectSize : this.#maxExtentSize;
    if (inode.sizeBytes > limit) throw corruptInode(inode, `size is ${inode.sizeBytes}, above the map's ${limit}`);
    const blocksLow = u32le(view, at + I.i_blocks_lo);
    if (this.#hugeFiles) {
      const blocks = u16le(view, at + I.i_blocks_high) * 2 ** 32 + blocksLow;
      inode.allocatedBlocks512 =
        (inode.flags & InodeFlag.HUGE_FILE) === 0 ? blocks : blocks * (this.#geometry.blockSize / 512);
    } else {
      inode.allocatedBlocks512 = blocksLow;
    }
  }

  #decodeTimes(inode: Inode, view: DataView, at: number): void {
    inode.atimeSec = i32le(view, at + I.i_atime);
    inode.ctimeSec = i32le(view, at + I.i_ctime);
    inode.mtimeSec = i32le(view, at + I.i_mtime);
    if (this.#fits(inode, I.i_ctime_extra + 4)) {
      const extra = u32le(view, at + I.i_ctime_extra);
      inode.ctimeSec += epochOf(extra);
      inode.ctimeNsec = nsecOf(extra);
    }
    if (this.#fits(inode, I.i_mtime_extra + 4)) {
      const extra = u32le(view, at + I.i_mtime_extra);
      inode.mtimeSec += epochOf(extra);
      inode.mtimeNsec = nsecOf(extra);
    }
    if (this.#fits(inode, I.i_atime_extra + 4)) {
      const extra = u32le(view, at + I.i_atime_extra);
      inode.atimeSec += epochOf(extra);
      inode.atimeNsec = nsecOf(extra);
    }
    if (!this.#fits(inode, I.i_crtime + 4)) return;
    inode.hasCrtime = true;
    inode.crtimeSec = i32le(view, at + I.i_crtime);
    if (!this.#fits(inode, I.i_crtime_extra + 4)) return;
    const extra = u32le(view, at + I.i_crtime_extra);
    inode.crtimeSec += epochOf(extra);
    inode.crtimeNsec = nsecOf(extra);
  }
}

const noSuchInode = (ino: number): FsError => new FsError(Errno.ESTALE, `inode ${ino} is not in use`);

const corruptInode = (inode: Inode, finding: string, block = inode.tableBlock): CorruptionError =>
  new CorruptionError('inode', finding, { inode: inode.ino, block });

/** The two lowest bits of an extra time field count times 2^32 seconds, the rest are nanoseconds. */
const epochOf = (extra: number): number => (extra & 3) * 2 ** 32;
const nsecOf = (extra: number): number => Math.min(extra >>> 2, MAX_NSEC);

function putLe32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

function checkType(inode: Inode, block: CachedBlock): void {
  switch (inode.fileType) {
    case FileType.REGULAR:
    case FileType.DIRECTORY:
    case FileType.SYMLINK:
    case FileType.CHARACTER:
    case FileType.BLOCK:
    case FileType.FIFO:
    case FileType.SOCKET:
      return;
  }
  if (inode.ino === BOOT_LOADER_INODE) return;
  throw corruptInode(inode, `mode is 0${inode.mode.toString(8)}, of no known type`, block.blockNr);
}

const isDevice = (inode: Inode): boolean => inode.fileType === FileType.CHARACTER || inode.fileType === FileType.BLOCK;

/** Device numbers of 8 and 8 bits are in the first word of i_block, those of 12 and 20 bits in the second. */
function decodeDevice(inode: Inode, view: DataView, at: number): void {
  const old = u32le(view, at + I.i_block);
  if (old !== 0) {
    inode.rdevMajor = (old >>> 8) & 0xff;
    inode.rdevMinor = old & 0xff;
    return;
  }
  const wide = u32le(view, at + I.i_block + 4);
  inode.rdevMajor = (wide >>> 8) & 0xfff;
  inode.rdevMinor = (wide & 0xff) | ((wide >>> 12) & 0xfff00);
}
