import { Errno } from '../../../shared/errno.ts';
import { FsError } from '../errors.ts';
import type { Inode } from '../inode.ts';
import { InodeFlag } from '../layout/inode.ts';

/** A directory that hands its project on takes only entries of that project (kernel: ext4_link, ext4_rename). */
export function requireSameProject(dir: Inode, inode: Inode): void {
  if (!dir.hasFlag(InodeFlag.PROJINHERIT) || dir.projectId === inode.projectId) return;
  throw new FsError(Errno.EXDEV, `inode ${inode.ino} is of project ${inode.projectId}, not ${dir.projectId}`);
}
