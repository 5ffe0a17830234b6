import { viewOf } from '../../shared/bytes.ts';
import { Errno } from '../../shared/errno.ts';
import type { BlockDevice } from './block-device.ts';
import { type Crc32c, MetadataChecksum } from './checksum.ts';
import { CorruptionError, DeviceError, FsError } from './errors.ts';
import { requireReadable } from './features.ts';
import { Geometry } from './geometry.ts';
import { Compat, Incompat, RoCompat } from './layout/features.ts';
import { GROUP_DESCRIPTOR } from './layout/group-descriptor.ts';
import { SUPERBLOCK, SUPERBLOCK_MAGIC, Superblock } from './layout/superblock.ts';

/** A block number that ext4 can store has 48 bits. */
const MAX_BLOCKS = 2 ** 48;
const MAX_LOG_BLOCK_SIZE = 6;
const MAX_LOG_CLUSTER_SIZE = 20;
const MAX_DESCRIPTOR_SIZE = 1024;
const CHECKSUM_TYPE_CRC32C = 1;
/** A reader may see a superblock that its writer is just replacing. */
const READ_ATTEMPTS = 3;

/** Reads and validates the superblock at `offsetBytes`. */
export function readSuperblock(device: BlockDevice, offsetBytes: number, crc32c: Crc32c): Superblock {
  if (offsetBytes + SUPERBLOCK.SIZE > device.sizeBytes) throw noSuperblock(offsetBytes);
  const bytes = new Uint8Array(SUPERBLOCK.SIZE);
  for (let attempt = 1; ; attempt++) {
    const errno = device.read(offsetBytes, bytes);
    if (errno !== 0) throw new DeviceError(errno, 'read', offsetBytes, bytes.length);
    const superblock = new Superblock(viewOf(bytes), 0);
    if (superblock.magic !== SUPERBLOCK_MAGIC) throw noSuperblock(offsetBytes);
    if (attempt < READ_ATTEMPTS && !checksumMatches(superblock, bytes, 0, crc32c)) continue;
    validateSuperblock(superblock, bytes, 0, offsetBytes, device.sizeBytes, crc32c);
    return superblock;
  }
}

const noSuperblock = (offsetBytes: number): FsError => {
  const where = offsetBytes === SUPERBLOCK.PRIMARY_OFFSET ? '' : ` at byte ${offsetBytes}`;
  return new FsError(Errno.EINVAL, `no ext2, ext3 or ext4 superblock found${where}`);
};

const corrupt = (finding: string): CorruptionError => new CorruptionError('superblock', finding);

const isPowerOfTwo = (value: number): boolean => value > 0 && (value & (value - 1)) === 0;

function checksumMatches(superblock: Superblock, bytes: Uint8Array, at: number, crc32c: Crc32c): boolean {
  if (!superblock.hasRoCompat(RoCompat.METADATA_CSUM)) return true;
  return crc32c(0xffffffff, bytes, at, at + SUPERBLOCK.s_checksum) === superblock.checksum;
}

/** Throws unless every field that others calculate with is in its range. `bytes` hold the superblock at `at`. */
export function validateSuperblock(
  superblock: Superblock,
  bytes: Uint8Array,
  at: number,
  offsetBytes: number,
  deviceBytes: number,
  crc32c: Crc32c,
): void {
  if (superblock.magic !== SUPERBLOCK_MAGIC) throw noSuperblock(offsetBytes);
  requireReadable(superblock);
  checkChecksum(superblock, bytes, at, crc32c);
  checkSizes(superblock);
  checkBlocks(superblock, deviceBytes);
  checkGroups(superblock);
  checkInodes(superblock);
  checkPlace(superblock, offsetBytes);
}

function checkChecksum(superblock: Superblock, bytes: Uint8Array, at: number, crc32c: Crc32c): void {
  if (superblock.hasRoCompat(RoCompat.METADATA_CSUM) && superblock.checksumType !== CHECKSUM_TYPE_CRC32C) {
    throw corrupt(`checksum type ${superblock.checksumType} instead of 1 (crc32c)`);
  }
  if (!checksumMatches(superblock, bytes, at, crc32c)) throw corrupt('bad checksum');
}

function checkSizes(superblock: Superblock): void {
  const { logBlockSize, logClusterSize, inodeSizeBytes, descriptorSizeField } = superblock;
  if (logBlockSize > MAX_LOG_BLOCK_SIZE) throw corrupt(`block size is 1024 << ${logBlockSize}, above 64 KiB`);
  const bigalloc = superblock.hasRoCompat(RoCompat.BIGALLOC);
  if (bigalloc && (logClusterSize < logBlockSize || logClusterSize > MAX_LOG_CLUSTER_SIZE)) {
    throw corrupt(`cluster size is 1024 << ${logClusterSize} with blocks of 1024 << ${logBlockSize}`);
  }
  if (!bigalloc && logClusterSize !== logBlockSize) {
    throw corrupt(`cluster size is 1024 << ${logClusterSize}, differs from block size 1024 << ${logBlockSize}`);
  }
  if (!isPowerOfTwo(inodeSizeBytes) || inodeSizeBytes < 128 || inodeSizeBytes > superblock.blockSizeBytes) {
    throw corrupt(`inode size is ${inodeSizeBytes}`);
  }
  if (!superblock.hasIncompat(Incompat.BIT64)) return;
  const sizeIsKnown = descriptorSizeField >= GROUP_DESCRIPTOR.SIZE_64 && descriptorSizeField <= MAX_DESCRIPTOR_SIZE;
  if (!sizeIsKnown || !isPowerOfTwo(descriptorSizeField)) {
    throw corrupt(`group descriptor size is ${descriptorSizeField}`);
  }
}

function checkBlocks(superblock: Superblock, deviceBytes: number): void {
  const { blocksCount, firstDataBlock, blockSizeBytes } = superblock;
  if (blocksCount > MAX_BLOCKS) throw corrupt(`blocks count is ${blocksCount}`);
  const expected = blockSizeBytes === 1024 && superblock.clusterBlocks === 1 ? 1 : 0;
  if (firstDataBlock !== expected) throw corrupt(`first data block is ${firstDataBlock} instead of ${expected}`);
  if (blocksCount <= firstDataBlock) throw corrupt(`blocks count is ${blocksCount}`);
  if (blocksCount * blockSizeBytes > deviceBytes) {
    const held = Math.floor(deviceBytes / blockSizeBytes);
    throw corrupt(`${blocksCount} blocks of ${blockSizeBytes} bytes, but the device holds only ${held} (truncated?)`);
  }
  if (superblock.reservedBlocksCount > blocksCount) {
    throw corrupt(`${superblock.reservedBlocksCount} of ${blocksCount} blocks are reserved`);
  }
}

function checkGroups(superblock: Superblock): void {
  const { blocksPerGroup, clustersPerGroup, blockSizeBytes, clusterBlocks, reservedGdtBlocks } = superblock;
  const bitmapBits = blockSizeBytes * 8;
  if (superblock.hasRoCompat(RoCompat.BIGALLOC)) {
    if (clustersPerGroup === 0 || clustersPerGroup > bitmapBits) {
      throw corrupt(`${clustersPerGroup} clusters per group`);
    }
    if (blocksPerGroup !== clustersPerGroup * clusterBlocks) {
      throw corrupt(`${blocksPerGroup} blocks but ${clustersPerGroup} clusters of ${clusterBlocks} blocks per group`);
    }
  } else if (blocksPerGroup === 0 || blocksPerGroup > bitmapBits) {
    throw corrupt(`${blocksPerGroup} blocks per group`);
  }
  if (reservedGdtBlocks > blockSizeBytes / 4) throw corrupt(`${reservedGdtBlocks} reserved descriptor blocks`);
  if (superblock.hasIncompat(Incompat.FLEX_BG) && superblock.logGroupsPerFlex > 31) {
    throw corrupt(`groups per flexible group are 2^${superblock.logGroupsPerFlex}`);
  }
}

function checkInodes(superblock: Superblock): void {
  const { inodesPerGroup, inodesCount, firstInode, blockSizeBytes, inodeSizeBytes } = superblock;
  if (inodesPerGroup < blockSizeBytes / inodeSizeBytes || inodesPerGroup > blockSizeBytes * 8) {
    throw corrupt(`${inodesPerGroup} inodes per group`);
  }
  const geometry = new Geometry(superblock, 0);
  if (geometry.groupCount * inodesPerGroup !== inodesCount) {
    throw corrupt(`${inodesCount} inodes, but ${geometry.groupCount} groups of ${inodesPerGroup}`);
  }
  if (firstInode < 11 || firstInode > inodesCount) throw corrupt(`first inode is ${firstInode}`);
  const { firstMetaBlockGroup } = superblock;
  if (superblock.hasIncompat(Incompat.META_BG) && firstMetaBlockGroup > geometry.descriptorBlocks) {
    throw corrupt(`first meta block group is ${firstMetaBlockGroup}, of ${geometry.descriptorBlocks}`);
  }
}

/** The block that holds a superblock at `offsetBytes`. */
export const superblockBlock = (superblock: Superblock, offsetBytes: number): number =>
  Math.floor(offsetBytes / superblock.blockSizeBytes);

function checkPlace(superblock: Superblock, offsetBytes: number): void {
  if (offsetBytes === SUPERBLOCK.PRIMARY_OFFSET) return;
  const inGroup = (superblockBlock(superblock, offsetBytes) - superblock.firstDataBlock) % superblock.blocksPerGroup;
  if (offsetBytes % superblock.blockSizeBytes !== 0 || inGroup !== 0) {
    throw new FsError(Errno.EINVAL, `the superblock at byte ${offsetBytes} is not at the start of a block group`);
  }
}

/** The metadata checksum of a file system, seeded from its UUID or from the seed that replaces it. */
export function metadataChecksum(superblock: Superblock, crc32c: Crc32c): MetadataChecksum {
  const seed = superblock.hasIncompat(Incompat.CSUM_SEED)
    ? superblock.checksumSeedField
    : crc32c(0xffffffff, superblock.uuid, 0, superblock.uuid.length);
  return new MetadataChecksum(superblock.hasRoCompat(RoCompat.METADATA_CSUM), seed, crc32c);
}

export const hasInternalJournal = (superblock: Superblock): boolean =>
  superblock.hasCompat(Compat.HAS_JOURNAL) && superblock.journalInode !== 0;
