import { Errno } from '../../../shared/errno.ts';
import { addEntry } from '../directory-write.ts';
import { fileTypeOfMode } from '../entry-file-type.ts';
import { FsError } from '../errors.ts';
import type { Inode } from '../inode.ts';
import { atomically } from '../journal/atomically.ts';
import type { WriteContext } from '../write-context.ts';
import { requireVacant } from './create.ts';
import { requireRoomForLink } from './link-count.ts';
import type { Name } from './name.ts';
import { requireSameProject } from './project.ts';
import { requireChangeable } from './protection.ts';
import { touchChange, touchContent } from './times.ts';

/** Gives the inode one more name. A file made without a name (O_TMPFILE) stops being an orphan. */
export function link(ctx: WriteContext, inode: Inode, dir: Inode, name: Name): void {
  atomically(ctx.handle, () => {
    requireVacant(ctx, dir, name);
    if (inode.isDirectory) throw new FsError(Errno.EPERM, `inode ${inode.ino} is a directory`);
    requireChangeable(inode);
    requireSameProject(dir, inode);
    requireRoomForLink(inode);
    if (inode.linksCount === 0) {
      if (!ctx.orphans.has(inode.ino)) throw new FsError(Errno.ENOENT, `inode ${inode.ino} was removed`);
      ctx.orphans.remove(inode);
    }
    touchChange(ctx, inode);
    inode.linksCount++;
    addEntry(ctx, dir, name.bytes, name.start, name.end, inode.ino, fileTypeOfMode(inode.mode));
    touchContent(ctx, dir);
  });
}
