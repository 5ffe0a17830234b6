/** Values in inodes of their own (feature ea_inode): making such an inode and letting it go. */
import type { Inode } from './inode.ts';
import { FileType, InodeFlag } from './layout/inode.ts';
import { allocateFileBlock, initMapping, removeBlocks } from './map-write.ts';
import type { WriteContext } from './write-context.ts';

/** Seconds of an attribute inode's ctime and its version are the halves of its reference count. */
const REFERENCES_PER_CTIME_SECOND = 2 ** 32;

export interface ValueInode {
  readonly ino: number;
  /** Hash of the value, which goes into the hash of the entry. */
  readonly valueHash: number;
}

/** Stores the value in a new inode, on which `owner` has the only reference. */
export function createValueInode(ctx: WriteContext, owner: Inode, value: Uint8Array): ValueInode {
  const inode = ctx.inodeAllocator.allocate(owner, FileType.REGULAR | 0o600);
  const valueHash = ctx.checksum.crc32c(ctx.checksum.seed, value, 0, value.length) >>> 0;
  inode.flags |= InodeFlag.EA_INODE;
  inode.uid = owner.uid;
  inode.gid = owner.gid;
  inode.linksCount = 1;
  initMapping(ctx, inode);
  for (let at = 0; at < value.length; at += ctx.blockSize) {
    const block = allocateFileBlock(ctx, inode, at / ctx.blockSize);
    block.bytes.set(value.subarray(at, at + ctx.blockSize));
  }
  inode.sizeBytes = value.length;
  inode.atimeSec = valueHash | 0;
  inode.atimeNsec = 0;
  setReferences(inode, 1);
  ctx.inodes.modify(owner);
  owner.allocatedBlocks512 += chargedBlocks512(ctx, value.length);
  return { ino: inode.ino, valueHash };
}

export function addValueReference(ctx: WriteContext, ino: number): void {
  const inode = ctx.inode(ino);
  ctx.inodes.modify(inode);
  setReferences(inode, references(inode) + 1);
}

/** `owner` drops its reference; without any left the inode goes. */
export function releaseValueInode(ctx: WriteContext, owner: Inode, ino: number, valueSize: number): void {
  const inode = ctx.inode(ino);
  ctx.inodes.modify(inode);
  ctx.inodes.modify(owner);
  owner.allocatedBlocks512 = Math.max(0, owner.allocatedBlocks512 - chargedBlocks512(ctx, valueSize));
  const left = references(inode) - 1;
  if (left > 0) {
    setReferences(inode, left);
    return;
  }
  while (!removeBlocks(ctx, inode, 0, Math.ceil(inode.sizeBytes / ctx.blockSize), true));
  inode.sizeBytes = 0;
  inode.linksCount = 0;
  ctx.inodeAllocator.free(inode);
}

const references = (inode: Inode): number => inode.ctimeSec * REFERENCES_PER_CTIME_SECOND + inode.versionLow;

function setReferences(inode: Inode, count: number): void {
  inode.ctimeSec = Math.floor(count / REFERENCES_PER_CTIME_SECOND);
  inode.ctimeNsec = 0;
  inode.versionLow = count % REFERENCES_PER_CTIME_SECOND;
}

/** An inode's count of blocks includes its values', in whole clusters (kernel: ext4_xattr_inode_alloc_quota). */
function chargedBlocks512(ctx: WriteContext, valueSize: number): number {
  const clusterBytes = ctx.superblock.clusterBlocks * ctx.blockSize;
  return (Math.ceil(valueSize / clusterBytes) * clusterBytes) / 512;
}
