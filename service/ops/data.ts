import { Errno } from '../../shared/errno.ts';
import type { Inode } from '../ext4/inode.ts';
import { InodeFlag } from '../ext4/layout/inode.ts';
import { Mapping, MappingType } from '../ext4/mapping.ts';
import { BMAP_IN, LSEEK_IN, READ_IN, SeekWhence } from '../fuse/abi.ts';
import { READ_BYTES_MAX } from '../fuse/init.ts';
import { DEFERRED } from '../fuse/operations.ts';
import type { Reply } from '../fuse/reply.ts';
import type { Request } from '../fuse/request.ts';
import type { DataReader, Engine } from './engine.ts';
import { inodeOf } from './nodes.ts';

/** Longest link text that the kernel takes: a page without the NUL. */
const LINK_BYTES_MAX = 4095;

const mapping = new Mapping();

/** READ: inline files from memory, nearly all others by the data path, which answers later. */
export function read(engine: Engine, data: DataReader, request: Request, reply: Reply): number {
  const inode = inodeOf(engine, request.nodeId);
  if (inode.isDirectory) return Errno.EISDIR;
  if (!inode.isRegular) return Errno.EINVAL;
  const offsetBytes = request.u64(READ_IN.offset);
  if (offsetBytes >= inode.sizeBytes) return Errno.OK;
  const askedBytes = request.u32(READ_IN.size);
  if (askedBytes > READ_BYTES_MAX) return Errno.EINVAL;
  const sizeBytes = Math.min(askedBytes, inode.sizeBytes - offsetBytes);
  if (sizeBytes === 0) return Errno.OK;
  const deferred =
    !inode.hasFlag(InodeFlag.INLINE_DATA) &&
    data.read(inode, offsetBytes, sizeBytes, request.uniqueLow, request.uniqueHigh);
  return deferred ? DEFERRED : readFromMemory(engine, inode, offsetBytes, sizeBytes, reply);
}

/** For the few bytes that the device doesn't hold as they are. A short answer would mean the end of the file. */
function readFromMemory(engine: Engine, inode: Inode, offsetBytes: number, sizeBytes: number, reply: Reply): number {
  if (sizeBytes > reply.capacityBytes) return Errno.EIO;
  reply.payloadBytes = engine.readFile(inode, offsetBytes, reply.dataArea(sizeBytes));
  return Errno.OK;
}

export function readlink(engine: Engine, request: Request, reply: Reply): number {
  const inode = inodeOf(engine, request.nodeId);
  if (!inode.isSymlink) return Errno.EINVAL;
  const target = engine.readLink(inode);
  if (target.length > LINK_BYTES_MAX) return Errno.ENAMETOOLONG;
  reply.data(target);
  return Errno.OK;
}

/** LSEEK: SEEK_DATA and SEEK_HOLE; the other whences never leave the kernel. */
export function lseek(engine: Engine, request: Request, reply: Reply): number {
  const whence = request.u32(LSEEK_IN.whence);
  if (whence !== SeekWhence.DATA && whence !== SeekWhence.HOLE) return Errno.EINVAL;
  const inode = inodeOf(engine, request.nodeId);
  if (!inode.isRegular && !inode.isDirectory) return Errno.EINVAL;
  const offsetBytes = request.u64(LSEEK_IN.offset);
  if (offsetBytes >= inode.sizeBytes) return Errno.ENXIO;
  const found = whence === SeekWhence.DATA ? engine.seekData(inode, offsetBytes) : engine.seekHole(inode, offsetBytes);
  if (found < 0) return Errno.ENXIO;
  reply.seekPosition(found);
  return Errno.OK;
}

/** BMAP (FIBMAP): only mounts of type fuseblk are asked. Block 0 means "no block of the device". */
export function bmap(engine: Engine, request: Request, reply: Reply): number {
  const inode = inodeOf(engine, request.nodeId);
  const lblk = request.u64(BMAP_IN.block);
  if (!inode.isRegular || request.u32(BMAP_IN.blocksize) !== engine.blockSize) return Errno.EINVAL;
  if (lblk * engine.blockSize >= inode.sizeBytes) mapping.set(MappingType.HOLE, lblk, 0, 1);
  else engine.mapBlocks(inode, lblk, mapping);
  reply.mappedBlock(mapping.type === MappingType.WRITTEN ? mapping.pblk : 0);
  return Errno.OK;
}
