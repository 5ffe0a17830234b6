import { MemoryBlockDevice } from '../../service/ext4/block-device.ts';
import { fileBlock, mapBlocks } from '../../service/ext4/block-map.ts';
import { sealBlock } from '../../service/ext4/block-seal.ts';
import type { CachedBlock } from '../../service/ext4/buffer-cache.ts';
import { CorruptionError, FsError } from '../../service/ext4/errors.ts';
import { Geometry } from '../../service/ext4/geometry.ts';
import type { Inode } from '../../service/ext4/inode.ts';
import { atomically } from '../../service/ext4/journal/atomically.ts';
import { Handle } from '../../service/ext4/journal/handle.ts';
import { Incompat } from '../../service/ext4/layout/features.ts';
import { InodeFlag } from '../../service/ext4/layout/inode.ts';
import type { Mapping } from '../../service/ext4/mapping.ts';
import type {
  BlockAllocator,
  BlockRun,
  InodeAllocator,
  InodeStore,
  Orphans,
  WriteContext,
} from '../../service/ext4/write-context.ts';
import { Errno } from '../../shared/errno.ts';
import { FakeExt4Context, type FakeOptions } from './fake-ext4-context.ts';

/** The fields of an inode that a cancelled handle gives back. */
interface SavedFields {
  readonly sizeBytes: number;
  readonly flags: number;
  readonly allocatedBlocks512: number;
}

function unused(): never {
  throw new Error('not part of the fake');
}

/**
 * A file system in memory whose blocks may be changed within handles. Inodes with the extents flag have real extent
 * trees. Blocks are given out one after the other and never again; inodes' fields live in memory only.
 */
export class FakeWriteContext extends FakeExt4Context implements WriteContext {
  readonly geometry: Geometry;
  readonly handle: Handle;
  readonly now = { sec: 1_700_000_000, nsec: 0 };
  readonly caller = { uid: 0, gid: 0 };
  readonly superblockAt = 0;
  readonly device = new MemoryBlockDevice(new Uint8Array(0));
  readonly posixAcl = false;
  readonly alignedBuffer = (bytes: number): Uint8Array => new Uint8Array(bytes);
  readonly inodes: InodeStore;
  readonly blocks: BlockAllocator;
  readonly inodeAllocator: InodeAllocator = { allocate: unused, free: unused };
  readonly orphans: Orphans = { add: unused, remove: unused, has: () => false };
  /** Blocks that may still be allocated. */
  blocksLeft = Number.POSITIVE_INFINITY;
  readonly #saved = new Map<Inode, SavedFields>();

  constructor(options: Partial<FakeOptions> = {}) {
    super(options);
    this.geometry = new Geometry(this.superblock, 0);
    this.handle = new Handle(this.cache);
    this.inodes = { modify: (inode) => this.#modifyInode(inode), modifyTimes: unused, create: unused };
    this.blocks = {
      allocateData: (_inode, _lblk, _goal, _want, out: BlockRun) => {
        out.pblk = this.#take();
        out.lenBlocks = 1;
      },
      allocateMetadata: () => this.#take(),
      goalFor: () => 0,
      free: unused,
      freeMetadata: unused,
      discardReservation: unused,
    };
    this.handle.addParticipant({
      handleEnded: () => this.#saved.clear(),
      handleCancelled: () => {
        for (const [inode, fields] of this.#saved) Object.assign(inode, fields);
        this.#saved.clear();
      },
    });
  }

  /** An inode of a directory, without data yet: with an extent tree, or with block pointers. */
  newDirectory(ino: number): Inode {
    return this.addDirectory(ino, this.superblock.hasIncompat(Incompat.EXTENTS) ? InodeFlag.EXTENTS : 0);
  }

  atomically<T>(change: () => T): T {
    return atomically(this.handle, change);
  }

  /** Seals all changed blocks and puts them on the device; from there they are read, and verified, again. */
  settle(): void {
    const { blocks } = this.handle.closeTransaction();
    for (const block of blocks) {
      sealBlock(this, { seal: () => {} }, block);
      this.writeBlock(block.blockNr, block.bytes);
      this.cache.drop(block);
    }
  }

  override mapBlocks(inode: Inode, lblk: number, out: Mapping): void {
    if (this.#isMappedByTable(inode)) super.mapBlocks(inode, lblk, out);
    else mapBlocks(this, inode, lblk, out);
  }

  override fileBlock(inode: Inode, lblk: number): CachedBlock | null {
    return this.#isMappedByTable(inode) ? super.fileBlock(inode, lblk) : fileBlock(this, inode, lblk);
  }

  superblockBlock(): CachedBlock {
    return unused();
  }

  /** Directories that a test has built block by block. */
  #isMappedByTable(inode: Inode): boolean {
    return this.pblkOf(inode, 0) !== 0;
  }

  #take(): number {
    if (this.blocksLeft === 0) throw new FsError(Errno.ENOSPC, 'the fake device is full');
    this.blocksLeft--;
    return this.allocate();
  }

  #modifyInode(inode: Inode): void {
    if (this.inode(inode.ino) !== inode) throw new CorruptionError('inode', 'not the one in use', { inode: inode.ino });
    if (!this.#saved.has(inode)) {
      const { sizeBytes, flags, allocatedBlocks512 } = inode;
      this.#saved.set(inode, { sizeBytes, flags, allocatedBlocks512 });
    }
    this.handle.modify(this.cache.get(inode.tableBlock));
  }
}
