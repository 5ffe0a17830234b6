import { putI64ne, putU32ne, putU64ne } from '../../shared/bytes.ts';
import { Errno, errnoName } from '../../shared/errno.ts';
import { indirectReach } from '../ext4/indirect-map.ts';
import { EXTENT_LBLK_END } from '../ext4/layout/extent.ts';
import { Incompat, RoCompat } from '../ext4/layout/features.ts';
import { INODE } from '../ext4/layout/inode.ts';
import { ConfigFlag, IOMAP_CONFIG_IN, IOMAP_CONFIG_OUT } from '../fuse/iomap-abi.ts';
import { IOMAP_PROFILES, type IomapProfile } from '../fuse/iomap-profile.ts';
import type { KernelDevice } from '../fuse/kernel-device.ts';
import type { Reply } from '../fuse/reply.ts';
import type { Request } from '../fuse/request.ts';
import type { Engine } from './engine.ts';

const PAGE_BYTES = 4096;
/** What the kernel may spend on the mappings of one file, 32 bytes each; its limit. */
const CACHE_BYTES = 2 * 2 ** 20;
/** i_blocks without the feature huge_file: 32 bits of 512-byte units. */
const SMALL_BLOCKS_BYTES = (2 ** 32 - 1) * 512;
const SECOND_NS = 1e9;
/** Seconds since the epoch that 32 signed bits hold, and with two more. */
const TIME_MIN = -(2 ** 31);
const TIME_MAX = 2 ** 31 - 1;
const TIME_MAX_EXTRA = 0x3_7fff_ffff;
const UUID_BYTES = 16;

export interface IomapSettings {
  readonly kernel: KernelDevice;
  /** The block device, opened for what the mount does, and exclusively, so that its block size can be set. */
  readonly deviceFd: number;
  /** Where the file system begins on it. */
  readonly startBytes: number;
  readonly notice: (text: string) => void;
}

/** What was settled by IOMAP_CONFIG. */
export interface IomapConfiguration {
  readonly profile: IomapProfile;
  /** The device's number in mappings. */
  readonly device: number;
  readonly maxBytes: number;
}

/** Why the kernel can't have the mappings of this file system; null when it can. */
export function iomapObstacle(engine: Engine, isBlockDevice: boolean, startBytes: number): string | null {
  if (!isBlockDevice) return 'the source is no block device, and got no loop device';
  if (engine.blockSize > PAGE_BYTES) return `blocks of ${engine.blockSize} bytes are larger than a page`;
  if (startBytes % PAGE_BYTES !== 0) return 'the file system does not begin with a page';
  return null;
}

/** IOMAP_CONFIG. Returns the errno with which the mount fails when the kernel does not do its part. */
export function configure(
  engine: Engine,
  settings: IomapSettings,
  request: Request,
  reply: Reply,
): IomapConfiguration | number {
  const { kernel, notice } = settings;
  const profile = profileOf(kernel, request.u64(IOMAP_CONFIG_IN.flags));
  if (profile === null) {
    notice('this version of iomap is unknown');
    return Errno.EOPNOTSUPP;
  }
  const nofs = kernel.setNofs(true);
  if (nofs < 0) notice(`iomap: SET_NOFS: ${errnoName(-nofs)}`);
  const device = kernel.backingOpen(settings.deviceFd);
  if (device < 1) {
    notice(`iomap: the kernel does not take the device: ${errnoName(-device)}`);
    return -device;
  }
  const sized = kernel.setBlockSize(device, engine.blockSize);
  // With blocks of a page nothing is shared; with smaller ones, metadata would be written together with file data.
  if (sized < 0) notice(`iomap: block size ${engine.blockSize} of the device: ${errnoName(-sized)}`);
  if (sized < 0 && engine.blockSize < PAGE_BYTES) return -sized;
  const maxBytes = Math.min(request.u64(IOMAP_CONFIG_IN.maxbytes), maxFileBytes(engine));
  answer(engine, maxBytes, reply);
  return { profile, device, maxBytes };
}

function profileOf(kernel: KernelDevice, kernelFlags: number): IomapProfile | null {
  // Older versions have other structures. Flags above 32 bits would not change that.
  if ((kernelFlags & ConfigFlag.CACHE_MAXBYTES) === 0) return null;
  const errno = kernel.probeStriping();
  if (errno === Errno.ENOTTY) return IOMAP_PROFILES.V7;
  return errno === Errno.EINVAL ? IOMAP_PROFILES.T5 : null;
}

/** Of the files that can grow largest; those with block pointers may end earlier. */
function maxFileBytes({ superblock, blockSize }: Engine): number {
  const hasExtents = superblock.hasIncompat(Incompat.EXTENTS);
  const byMap = (hasExtents ? EXTENT_LBLK_END : indirectReach(blockSize)) * blockSize;
  return superblock.hasRoCompat(RoCompat.HUGE_FILE) ? byMap : Math.min(byMap, SMALL_BLOCKS_BYTES);
}

function answer(engine: Engine, maxBytes: number, reply: Reply): void {
  const { superblock } = engine;
  const hasExtraTime = superblock.inodeSizeBytes > INODE.BASE_SIZE;
  const at = reply.zeroed(IOMAP_CONFIG_OUT.SIZE);
  const { view, bytes } = reply;
  const { UUID, BLOCKSIZE, TIME, MAXBYTES, CACHE_MAXBYTES } = ConfigFlag;
  putU64ne(view, at + IOMAP_CONFIG_OUT.flags, UUID | BLOCKSIZE | TIME | MAXBYTES | CACHE_MAXBYTES);
  bytes.set(superblock.uuid.subarray(0, UUID_BYTES), at + IOMAP_CONFIG_OUT.s_uuid);
  bytes[at + IOMAP_CONFIG_OUT.s_uuid_len] = UUID_BYTES;
  putU32ne(view, at + IOMAP_CONFIG_OUT.s_blocksize, engine.blockSize);
  putU32ne(view, at + IOMAP_CONFIG_OUT.s_time_gran, hasExtraTime ? 1 : SECOND_NS);
  putI64ne(view, at + IOMAP_CONFIG_OUT.s_time_min, TIME_MIN);
  putI64ne(view, at + IOMAP_CONFIG_OUT.s_time_max, hasExtraTime ? TIME_MAX_EXTRA : TIME_MAX);
  putI64ne(view, at + IOMAP_CONFIG_OUT.s_maxbytes, maxBytes);
  putU32ne(view, at + IOMAP_CONFIG_OUT.cache_maxbytes, CACHE_BYTES);
}
