import type { Inode } from './inode.ts';
import { FileType, InodeFlag } from './layout/inode.ts';
import type { WriteContext } from './write-context.ts';

/** Whose content on the device is not simply the file's. */
const WITH_OTHER_CONTENT = InodeFlag.ENCRYPT | InodeFlag.VERITY | InodeFlag.JOURNAL_DATA;

/** A regular file that somebody who knows where its blocks are can read and write. Never changes during a mount. */
export function isMappable(inode: Pick<Inode, 'mode' | 'flags'>): boolean {
  return (inode.mode & FileType.MASK) === FileType.REGULAR && (inode.flags & WITH_OTHER_CONTENT) === 0;
}

/** The caller sees to everything about the inode that `Caller.ownsFiles` tells of. */
export function isCallers(ctx: Pick<WriteContext, 'caller'>, inode: Inode): boolean {
  return ctx.caller.ownsFiles === true && (!inode.isRegular || isMappable(inode));
}
