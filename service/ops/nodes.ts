import { Errno } from '../../shared/errno.ts';
import { CorruptionError, FsError } from '../ext4/errors.ts';
import type { Inode } from '../ext4/inode.ts';
import { InodeFlag, SpecialInode } from '../ext4/layout/inode.ts';
import { ROOT_NODE_ID } from '../fuse/abi.ts';
import type { Engine } from './engine.ts';

/** A node id is an inode number, except that the kernel's root is 1 and ext4's is 2. */
export const nodeIdOf = (ino: number): number => (ino === SpecialInode.ROOT ? ROOT_NODE_ID : ino);

/** Who keeps count of the nodes that the kernel knows. */
export interface NodeReferences {
  /** A reply has told the kernel about the node, once more. */
  add(nodeId: number): void;
}

/** The inode behind a node id. ESTALE for ids we never handed out, as old file handles of NFS clients carry them. */
export function inodeOf(engine: Engine, nodeId: number): Inode {
  if (nodeId === ROOT_NODE_ID) return engine.inode(SpecialInode.ROOT);
  const impossible =
    nodeId === SpecialInode.ROOT || nodeId > engine.superblock.inodesCount || engine.isReservedInode(nodeId);
  if (impossible) throw new FsError(Errno.ESTALE, `no node ${nodeId}`);
  const inode = engine.inode(nodeId);
  if (inode.hasFlag(InodeFlag.EA_INODE)) throw new FsError(Errno.ESTALE, `inode ${nodeId} is no file`);
  return inode;
}

/** The inode that an entry of `directory` names: it must be one that can have a name. */
export function namedInode(engine: Engine, ino: number, directory: Inode): Inode {
  if (engine.isReservedInode(ino)) throw misdirected(directory, `names the reserved inode ${ino}`);
  const inode = inodeInUse(engine, ino, directory);
  if (inode.hasFlag(InodeFlag.EA_INODE)) throw misdirected(directory, `names the attribute inode ${ino}`);
  return inode;
}

function inodeInUse(engine: Engine, ino: number, directory: Inode): Inode {
  try {
    return engine.inode(ino);
  } catch (error) {
    if (error instanceof FsError && error.errno === Errno.ESTALE) {
      throw misdirected(directory, `names the unused inode ${ino}`);
    }
    throw error;
  }
}

const misdirected = (directory: Inode, finding: string): CorruptionError =>
  new CorruptionError('directory entry', finding, { inode: directory.ino });
