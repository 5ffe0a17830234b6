/** What the ioctls behind chattr(1) change: flags, project and generation of an inode. */
import { Errno } from '../../../shared/errno.ts';
import { FsError } from '../errors.ts';
import type { Inode } from '../inode.ts';
import { atomically } from '../journal/atomically.ts';
import { RoCompat } from '../layout/features.ts';
import { INODE, InodeFlag } from '../layout/inode.ts';
import type { WriteContext } from '../write-context.ts';
import { requireMutable } from './protection.ts';
import { touchChange } from './times.ts';

/** Flags that FS_IOC_SETFLAGS may change. Those of the block map, encryption, case... belong to the file system. */
const SETTABLE = 0x204380ff;
/** Flags that make no sense on anything but directories. */
const ONLY_DIRECTORIES = InodeFlag.DIRSYNC | InodeFlag.TOPDIR;
/** The flags that a change of flags itself may go against: they can be taken off again. */
const FROZEN = InodeFlag.IMMUTABLE | InodeFlag.APPEND;

export function setFlags(ctx: WriteContext, inode: Inode, flags: number): void {
  const changed = (inode.flags ^ flags) >>> 0;
  if ((changed & ~SETTABLE) !== 0) {
    throw new FsError(Errno.EOPNOTSUPP, `flags 0x${((changed & ~SETTABLE) >>> 0).toString(16)} can't be changed`);
  }
  if (!inode.isDirectory && (flags & ONLY_DIRECTORIES) !== 0) {
    throw new FsError(Errno.EOPNOTSUPP, `inode ${inode.ino} is no directory`);
  }
  if (inode.hasFlag(InodeFlag.IMMUTABLE) && (flags & InodeFlag.IMMUTABLE) !== 0 && (changed & ~FROZEN) !== 0) {
    throw new FsError(Errno.EPERM, `inode ${inode.ino} is immutable`);
  }
  if (changed === 0) return;
  atomically(ctx.handle, () => {
    touchChange(ctx, inode);
    inode.flags = flags >>> 0;
  });
}

export function setProject(ctx: WriteContext, inode: Inode, projectId: number): void {
  if (projectId === inode.projectId) return;
  const { superblock } = ctx;
  if (!superblock.hasRoCompat(RoCompat.PROJECT)) throw new FsError(Errno.EOPNOTSUPP, 'no project feature');
  const end = INODE.BASE_SIZE + inode.extraSizeBytes;
  if (end < INODE.i_projid + 4) throw new FsError(Errno.EOVERFLOW, `inode ${inode.ino} has no room for a project`);
  requireMutable(inode);
  atomically(ctx.handle, () => {
    touchChange(ctx, inode);
    inode.projectId = projectId;
  });
}

/** Metadata blocks carry checksums made with the generation, so that it can't change under metadata_csum. */
export function setGeneration(ctx: WriteContext, inode: Inode, generation: number): void {
  if (ctx.checksum.enabled) throw new FsError(Errno.EOPNOTSUPP, 'generations are part of metadata checksums');
  requireMutable(inode);
  atomically(ctx.handle, () => {
    touchChange(ctx, inode);
    inode.generation = generation;
  });
}
