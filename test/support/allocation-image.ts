import { crc32c } from '../../native/crc32c.ts';
import { GroupBlockAllocator } from '../../service/ext4/block-allocator.ts';
import { BlockBitmaps } from '../../service/ext4/block-bitmap.ts';
import { MemoryBlockDevice, type WritableBlockDevice } from '../../service/ext4/block-device.ts';
import { BlockValidity } from '../../service/ext4/block-validity.ts';
import { BlockRole, BufferCache, type CachedBlock } from '../../service/ext4/buffer-cache.ts';
import type { MetadataChecksum } from '../../service/ext4/checksum.ts';
import { FreeCounts } from '../../service/ext4/free-counts.ts';
import { Geometry } from '../../service/ext4/geometry.ts';
import { GroupDescriptors } from '../../service/ext4/group-descriptors.ts';
import { Inode } from '../../service/ext4/inode.ts';
import { atomically } from '../../service/ext4/journal/atomically.ts';
import { Handle } from '../../service/ext4/journal/handle.ts';
import type { Transaction } from '../../service/ext4/journal/transaction.ts';
import { FileType, InodeFlag } from '../../service/ext4/layout/inode.ts';
import { metadataChecksum, readSuperblock, superblockBlock } from '../../service/ext4/superblock.ts';
import { sealSuperblock } from '../../service/ext4/superblock-write.ts';

const PRIMARY_OFFSET = 1024;

/** What allocation needs of an opened file system, and no more: transactions go home at once, without a journal. */
export class AllocationImage {
  readonly device: WritableBlockDevice;
  readonly cache: BufferCache;
  readonly geometry: Geometry;
  readonly checksum: MetadataChecksum;
  readonly descriptors: GroupDescriptors;
  readonly validity: BlockValidity;
  readonly handle: Handle;
  readonly counts: FreeCounts;
  readonly bitmaps: BlockBitmaps;
  readonly allocator: GroupBlockAllocator;
  readonly caller = { uid: 0, gid: 0 };
  readonly reports: Error[] = [];
  /** Blocks offered for discarding; the offer is taken when `discards` is set. */
  readonly discardable: [number, number][] = [];
  discards = false;
  readonly superblockAt: number;
  readonly #superblockNr: number;

  constructor(image: Uint8Array | WritableBlockDevice, cacheBytes = 64 * 2 ** 20) {
    this.device = image instanceof Uint8Array ? new MemoryBlockDevice(image) : image;
    const superblock = readSuperblock(this.device, PRIMARY_OFFSET, crc32c);
    this.#superblockNr = superblockBlock(superblock, PRIMARY_OFFSET);
    this.superblockAt = PRIMARY_OFFSET - this.#superblockNr * superblock.blockSizeBytes;
    this.cache = new BufferCache(this.device, superblock.blockSizeBytes, cacheBytes);
    this.geometry = new Geometry(superblock, this.#superblockNr);
    this.checksum = metadataChecksum(superblock, crc32c);
    this.descriptors = new GroupDescriptors(this.geometry, this.cache, this.checksum);
    this.validity = new BlockValidity(this.geometry, this.descriptors);
    this.handle = new Handle(this.cache);
    this.descriptors.changeThrough(this.handle);
    this.counts = new FreeCounts(this.geometry, this.descriptors, this.cache, this.handle, this);
    const { geometry, cache, checksum, descriptors, validity, handle, counts, caller } = this;
    this.bitmaps = new BlockBitmaps(geometry, cache, checksum, descriptors, validity, handle);
    this.allocator = new GroupBlockAllocator(
      { geometry, descriptors, bitmaps: this.bitmaps, validity, counts, handle, caller },
      {
        reservedUid: superblock.reservedUid,
        reservedGid: superblock.reservedGid,
        report: (error) => this.reports.push(error),
        onDiscardable: (pblk, lenBlocks) => {
          this.discardable.push([pblk, lenBlocks]);
          return this.discards;
        },
      },
    );
  }

  superblockBlock(): CachedBlock {
    return this.cache.get(this.#superblockNr);
  }

  atomically<T>(change: () => T): T {
    this.cache.beginOperation();
    return atomically(this.handle, change);
  }

  /** Closes the running transaction and brings its blocks home, where they are read and verified again. */
  settle(): void {
    this.commit(this.close());
  }

  /** Closes the running transaction; `commit` is still to come. */
  close(): Transaction {
    atomically(this.handle, () => {
      for (const participant of this.handle.participants) participant.transactionClosing?.();
    });
    const transaction = this.handle.closeTransaction();
    for (const block of transaction.blocks) {
      if (block.blockNr === this.#superblockNr) sealSuperblock(this.checksum, block);
      else if (block.role === BlockRole.GROUP_DESCRIPTORS) this.descriptors.seal(block);
      this.device.write(block.blockNr * this.geometry.blockSize, block.bytes);
    }
    return transaction;
  }

  commit(transaction: Transaction): void {
    for (const block of transaction.blocks) {
      if (block.transaction !== transaction.sequence) continue;
      block.transaction = 0;
      this.cache.release(block);
    }
    for (const participant of this.handle.participants) participant.transactionCommitted?.(transaction.sequence);
  }

  /** A regular file with an extent tree, of which only what allocation looks at is there. */
  newFile(ino: number, flags: number = InodeFlag.EXTENTS): Inode {
    const inode = new Inode(ino);
    inode.mode = FileType.REGULAR | 0o644;
    inode.flags = flags;
    return inode;
  }

  /** Blocks free on disk according to the bitmaps, in order. */
  freeBlocks(): number[] {
    const free: number[] = [];
    for (let group = 0; group < this.geometry.groupCount; group++) {
      const first = this.geometry.groupFirstBlock(group);
      const { bytes } = this.bitmaps.get(group);
      for (let bit = 0; bit < this.bitmaps.sizeOf(group); bit++) {
        if ((bytes[bit >>> 3] & (1 << (bit & 7))) === 0) free.push(first + bit);
      }
    }
    return free;
  }
}
