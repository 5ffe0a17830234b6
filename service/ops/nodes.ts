import { Errno } from '../../shared/errno.ts';
import { CorruptionError, FsError } from '../ext4/errors.ts';
import type { Inode } from '../ext4/inode.ts';
import { InodeFlag, SpecialInode } from '../ext4/layout/inode.ts';
import { ROOT_NODE_ID } from '../fuse/abi.ts';
import type { Engine } from './engine.ts';

const INO_MAX = 2 ** 32 - 1;

/** A node id is an inode number, except that the kernel's root is 1 and ext4's is 2. */
export const nodeIdOf = (ino: number): number => (ino === SpecialInode.ROOT ? ROOT_NODE_ID : ino);

/** The inode behind a node id. ESTALE for ids we never handed out, as old file handles of NFS clients carry them. */
export function inodeOf(engine: Engine, nodeId: number): Inode {
  if (nodeId === ROOT_NODE_ID) return engine.inode(SpecialInode.ROOT);
  if (nodeId < engine.superblock.firstInode || nodeId > INO_MAX) throw new FsError(Errno.ESTALE, `no node ${nodeId}`);
  const inode = engine.inode(nodeId);
  if (!mayBeNamed(inode)) throw new FsError(Errno.ESTALE, `inode ${nodeId} is not in use`);
  return inode;
}

/** The inode that an entry of `directory` names: it must be one that can have a name. */
export function namedInode(engine: Engine, ino: number, directory: Inode): Inode {
  if (ino !== SpecialInode.ROOT && ino < engine.superblock.firstInode) {
    throw new CorruptionError('directory entry', `names the reserved inode ${ino}`, { inode: directory.ino });
  }
  const inode = engine.inode(ino);
  if (!mayBeNamed(inode)) {
    throw new CorruptionError('directory entry', `names the unused inode ${ino}`, { inode: directory.ino });
  }
  return inode;
}

function mayBeNamed(inode: Inode): boolean {
  return inode.linksCount > 0 && inode.mode !== 0 && !inode.hasFlag(InodeFlag.EA_INODE);
}
