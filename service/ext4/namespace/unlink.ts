import { Errno } from '../../../shared/errno.ts';
import { lookup } from '../directory.ts';
import { isEmptyDirectory, removeEntry } from '../directory-write.ts';
import { FsError } from '../errors.ts';
import type { Inode } from '../inode.ts';
import { atomically } from '../journal/atomically.ts';
import type { WriteContext } from '../write-context.ts';
import { requireDirectory } from './create.ts';
import { removeSubdirectoryLink } from './link-count.ts';
import { type Name, requireName } from './name.ts';
import { requireRemovable } from './protection.ts';
import { touchChange, touchContent } from './times.ts';

/** Removes a name of something that is no directory. Without names left the inode is an orphan until evicted. */
export function unlink(ctx: WriteContext, dir: Inode, name: Name): Inode {
  return atomically(ctx.handle, () => {
    const victim = existing(ctx, dir, name);
    if (victim.isDirectory) throw new FsError(Errno.EISDIR, `inode ${victim.ino} is a directory`);
    requireRemovable(dir, victim);
    removeEntry(ctx, dir, name.bytes, name.start, name.end);
    touchContent(ctx, dir);
    dropLink(ctx, victim);
    return victim;
  });
}

export function removeDirectory(ctx: WriteContext, dir: Inode, name: Name): Inode {
  return atomically(ctx.handle, () => {
    const victim = existing(ctx, dir, name);
    requireRemovable(dir, victim);
    requireEmptyDirectory(ctx, victim);
    removeEntry(ctx, dir, name.bytes, name.start, name.end);
    removeSubdirectoryLink(ctx, dir);
    touchContent(ctx, dir);
    dropDirectory(ctx, victim);
    return victim;
  });
}

/** The inode behind the name; throws ENOENT when there is none. */
export function existing(ctx: WriteContext, dir: Inode, name: Name): Inode {
  requireDirectory(dir);
  requireName(name);
  const ino = lookup(ctx, dir, name.bytes, name.start, name.end);
  if (ino === 0) throw new FsError(Errno.ENOENT, 'no such name');
  return ctx.inode(ino);
}

export function requireEmptyDirectory(ctx: WriteContext, victim: Inode): void {
  if (!victim.isDirectory) throw new FsError(Errno.ENOTDIR, `inode ${victim.ino} is no directory`);
  if (!isEmptyDirectory(ctx, victim)) throw new FsError(Errno.ENOTEMPTY, `directory inode ${victim.ino} has entries`);
}

export function dropLink(ctx: WriteContext, victim: Inode): void {
  touchChange(ctx, victim);
  victim.linksCount--;
  if (victim.linksCount === 0) ctx.orphans.add(victim);
}

/** An empty directory loses its name: nothing but "." leads there any more. */
export function dropDirectory(ctx: WriteContext, victim: Inode): void {
  touchChange(ctx, victim);
  victim.linksCount = 0;
  ctx.orphans.add(victim);
}
