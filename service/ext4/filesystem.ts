import { type JournalStatistics, NO_JOURNAL } from '../../shared/mount-statistics.ts';
import type { BlockDevice } from './block-device.ts';
import { fileBlock, mapBlocks } from './block-map.ts';
import { BlockValidity } from './block-validity.ts';
import { BufferCache, type CachedBlock } from './buffer-cache.ts';
import type { Crc32c, MetadataChecksum } from './checksum.ts';
import type { Ext4Context } from './context.ts';
import { lookup, readDirectory } from './directory.ts';
import type { DirectorySink } from './directory-sink.ts';
import { CorruptionError, FsError, IncompatibleError } from './errors.ts';
import { readOnlyFeatures } from './features.ts';
import { FileData } from './file-data.ts';
import { Geometry } from './geometry.ts';
import { GroupDescriptors } from './group-descriptors.ts';
import type { Inode } from './inode.ts';
import { InodeTable } from './inode-table.ts';
import type { JournalFile } from './journal/journal-superblock.ts';
import { checkCleanJournal, type RecoveredBlocks, recoverInMemory } from './journal/recovery.ts';
import { openJournalFile } from './journal-file.ts';
import { Compat, Incompat } from './layout/features.ts';
import { SpecialInode } from './layout/inode.ts';
import { SUPERBLOCK, Superblock, SuperblockState } from './layout/superblock.ts';
import type { Mapping } from './mapping.ts';
import { SpaceAccount, type StatFs } from './statfs.ts';
import {
  hasInternalJournal,
  metadataChecksum,
  readSuperblock,
  superblockBlock,
  validateSuperblock,
} from './superblock.ts';
import { readSymlink } from './symlink.ts';
import { getXattr, listXattrs } from './xattr.ts';

export interface OpenOptions {
  readonly crc32c: Crc32c;
  /** Budget of the metadata cache. */
  readonly cacheBytes: number;
  /** Which superblock to use, in units of 1 KiB from the start of the device (option sb=); 0 for the primary. */
  readonly superblockKiB: number;
  /** Show the file system as it is on disk, without what the journal holds. */
  readonly noRecovery: boolean;
  /** Takes lines that the administrator should see. */
  readonly log: (text: string) => void;
}

export const superblockOffset = (superblockKiB: number): number =>
  superblockKiB === 0 ? SUPERBLOCK.PRIMARY_OFFSET : superblockKiB * 1024;

/** An ext2, ext3 or ext4 file system, opened for reading. */
export class Filesystem implements Ext4Context {
  readonly superblock: Superblock;
  readonly blockSize: number;
  readonly cache: BufferCache;
  readonly checksum: MetadataChecksum;
  /** Blocks whose current content is in the journal; null when nothing was recovered. */
  readonly recovered: RecoveredBlocks | null;
  /** Names of the features because of which this file system must never be written by us. */
  readonly readOnlyFeatures: readonly string[];
  readonly geometry: Geometry;
  readonly inodes: InodeTable;
  protected readonly descriptors: GroupDescriptors;
  protected readonly validity: BlockValidity;
  protected readonly space: SpaceAccount;
  /** How changes become durable. */
  journalStatistics: JournalStatistics = NO_JOURNAL;
  readonly #data: FileData;

  /** Throws FsError, IncompatibleError, CorruptionError or DeviceError, whose text says why it can't be opened. */
  static open(device: BlockDevice, options: OpenOptions): Filesystem {
    const offsetBytes = superblockOffset(options.superblockKiB);
    const onDisk = readSuperblock(device, offsetBytes, options.crc32c);
    const cache = new BufferCache(device, onDisk.blockSizeBytes, options.cacheBytes);
    const recovered = Filesystem.#recover(device, onDisk, cache, options);
    let superblock = onDisk;
    if (recovered !== null) {
      cache.redirectThrough(recovered);
      superblock = cachedSuperblock(device, cache, onDisk, offsetBytes, options.crc32c);
    }
    const filesystem = new Filesystem(device, superblock, cache, recovered, options);
    warn(superblock, options.log);
    filesystem.requireRoot();
    return filesystem;
  }

  /** What the journal holds, or null when it is clean, absent or not wanted. */
  static #recover(
    device: BlockDevice,
    superblock: Superblock,
    cache: BufferCache,
    options: OpenOptions,
  ): RecoveredBlocks | null {
    const dirty = superblock.hasIncompat(Incompat.RECOVER);
    if (!superblock.hasCompat(Compat.HAS_JOURNAL)) {
      if (dirty) options.log('journal needs recovery, but there is no journal; running e2fsck is recommended');
      return null;
    }
    if (options.noRecovery) {
      if (dirty) options.log('journal needs recovery; not recovered as asked, files may be stale or damaged');
      return null;
    }
    if (!hasInternalJournal(superblock)) {
      if (dirty) throw new IncompatibleError('external journal needs recovery, which is not supported');
      return null;
    }
    const { blockSizeBytes, blocksCount } = superblock;
    const journal = Filesystem.journalOf(device, superblock, cache, options);
    if (dirty) {
      options.log('recovering journal in memory');
      return recoverInMemory(device, blockSizeBytes, blocksCount, options.crc32c, journal);
    }
    checkCleanJournal(device, blockSizeBytes, blocksCount, options.crc32c, journal);
    return null;
  }

  /** The internal journal, found in the file system as it was before the journal's changes. */
  protected static journalOf(
    device: BlockDevice,
    superblock: Superblock,
    cache: BufferCache,
    options: OpenOptions,
  ): JournalFile {
    const before = new Filesystem(device, superblock, cache, null, options);
    return openJournalFile(before, superblockOffset(options.superblockKiB));
  }

  protected constructor(
    device: BlockDevice,
    superblock: Superblock,
    cache: BufferCache,
    recovered: RecoveredBlocks | null,
    options: OpenOptions,
  ) {
    const geometry = new Geometry(superblock, superblockBlock(superblock, superblockOffset(options.superblockKiB)));
    const checksum = metadataChecksum(superblock, options.crc32c);
    const descriptors = new GroupDescriptors(geometry, cache, checksum);
    this.geometry = geometry;
    this.descriptors = descriptors;
    this.superblock = superblock;
    this.blockSize = superblock.blockSizeBytes;
    this.cache = cache;
    this.checksum = checksum;
    this.recovered = recovered;
    this.readOnlyFeatures = readOnlyFeatures(superblock);
    this.validity = new BlockValidity(geometry, descriptors);
    this.inodes = new InodeTable(geometry, cache, checksum, descriptors);
    this.space = new SpaceAccount(geometry, descriptors, cache);
    this.#data = new FileData(this, device, recovered !== null && recovered.size > 0);
  }

  protected requireRoot(): void {
    if (this.inode(SpecialInode.ROOT).isDirectory) return;
    throw new CorruptionError('root directory', 'is no directory', { inode: SpecialInode.ROOT });
  }

  /** Marks where one request ends and the next begins: blocks touched before may now leave the cache. */
  beginOperation(): void {
    this.cache.beginOperation();
  }

  /** Memory is short: gives up what can be read again. Between operations only. */
  shrink(): void {
    this.inodes.shrink();
    this.cache.shrink();
  }

  inode(ino: number): Inode {
    return this.inodes.get(ino);
  }

  /** True for inodes that belong to the file system itself and never to its directory tree. */
  isReservedInode(ino: number): boolean {
    return ino < this.superblock.firstInode && ino !== SpecialInode.ROOT;
  }

  mapBlocks(inode: Inode, lblk: number, out: Mapping): void {
    mapBlocks(this, inode, lblk, out);
  }

  fileBlock(inode: Inode, lblk: number): CachedBlock | null {
    return fileBlock(this, inode, lblk);
  }

  checkDataBlocks(pblk: number, lenBlocks: number, structure: string, ino: number): void {
    this.validity.check(pblk, lenBlocks, structure, ino);
  }

  /** Inode number that the name bytes[start, end) has in `dir`, 0 when it is absent. */
  lookup(dir: Inode, name: Uint8Array, start: number, end: number): number {
    return lookup(this, dir, name, start, end);
  }

  readDirectory(dir: Inode, cookieHigh: number, cookieLow: number, sink: DirectorySink): void {
    readDirectory(this, dir, cookieHigh, cookieLow, sink);
  }

  readLink(inode: Inode): Uint8Array {
    return readSymlink(this, inode);
  }

  getXattr(inode: Inode, name: Uint8Array): Uint8Array | null {
    return getXattr(this, inode, name);
  }

  listXattrs(inode: Inode): Uint8Array {
    return listXattrs(this, inode);
  }

  /** `minixDf`: count the file system's own structures as space. */
  statfs(out: StatFs, minixDf: boolean): void {
    this.space.fill(out, minixDf, this.#journalBlocks());
  }

  #journalBlocks(): number {
    if (!hasInternalJournal(this.superblock)) return 0;
    try {
      return Math.floor(this.inode(this.superblock.journalInode).sizeBytes / this.blockSize);
    } catch (error) {
      if (error instanceof CorruptionError || error instanceof FsError) return 0;
      throw error;
    }
  }

  /** Fills `into` from `offsetBytes` of a file; returns how many bytes there were before its end. */
  readFile(inode: Inode, offsetBytes: number, into: Uint8Array): number {
    return this.#data.read(inode, offsetBytes, into);
  }

  /** Offset of the first data at or behind `offsetBytes`, -1 when there is none (ENXIO). */
  seekData(inode: Inode, offsetBytes: number): number {
    return this.#data.seekData(inode, offsetBytes);
  }

  /** Offset of the first hole at or behind `offsetBytes`, -1 behind the end of the file (ENXIO). */
  seekHole(inode: Inode, offsetBytes: number): number {
    return this.#data.seekHole(inode, offsetBytes);
  }
}

/** The superblock after recovery: the journal may hold a newer one, of a file system resized meanwhile. */
function cachedSuperblock(
  device: BlockDevice,
  cache: BufferCache,
  onDisk: Superblock,
  offsetBytes: number,
  crc32c: Crc32c,
): Superblock {
  const blockNr = superblockBlock(onDisk, offsetBytes);
  const at = offsetBytes - blockNr * cache.blockSize;
  const { bytes, view } = cache.get(blockNr);
  const superblock = new Superblock(view, at);
  validateSuperblock(superblock, bytes, at, offsetBytes, device.sizeBytes, crc32c);
  if (superblock.blockSizeBytes !== cache.blockSize) {
    throw new CorruptionError('superblock', 'the copy in the journal has another block size');
  }
  return superblock;
}

export function warn(superblock: Superblock, log: (text: string) => void): void {
  const errors = (superblock.state & SuperblockState.ERROR) !== 0;
  if (errors) log('errors detected; running e2fsck is required');
  const hasJournal = superblock.hasCompat(Compat.HAS_JOURNAL);
  if ((superblock.state & SuperblockState.CLEAN) === 0 && !hasJournal && !errors) {
    log('not cleanly unmounted; running e2fsck is recommended');
  }
  if (superblock.lastOrphan !== 0) log('orphans detected; running e2fsck is recommended');
}
