/** rename(2) with its flags: each one handle, so that a crash shows all of it or nothing. */
import { Errno } from '../../../shared/errno.ts';
import { inheritAcls } from '../acl-write.ts';
import { lookup } from '../directory.ts';
import { addEntry, parentOf, removeEntry, replaceEntry, setParent } from '../directory-write.ts';
import { fileTypeOfMode } from '../entry-file-type.ts';
import { FsError } from '../errors.ts';
import type { Inode } from '../inode.ts';
import { atomically } from '../journal/atomically.ts';
import { FileType, SpecialInode } from '../layout/inode.ts';
import type { WriteContext } from '../write-context.ts';
import { requireDirectory } from './create.ts';
import { addSubdirectoryLink, removeSubdirectoryLink, requireRoomForSubdirectory } from './link-count.ts';
import { type Name, requireName } from './name.ts';
import { requireSameProject } from './project.ts';
import { requireMutable, requireRemovable } from './protection.ts';
import { touchChange, touchContent } from './times.ts';
import { dropDirectory, dropLink, existing, requireEmptyDirectory } from './unlink.ts';

/** Flags of renameat2(2). */
export const RenameFlag = Object.freeze({ NOREPLACE: 1, EXCHANGE: 2, WHITEOUT: 4 });

/** The longest way up to the root that a moved directory is checked on; PATH_MAX allows half as many. */
const MAX_DEPTH = 2 ** 16;

export interface Place {
  readonly dir: Inode;
  readonly name: Name;
}

/** Returns the inode that has lost the new name, null when there was none. */
export function rename(ctx: WriteContext, from: Place, to: Place, flags: number): Inode | null {
  requireKnownFlags(flags);
  return atomically(ctx.handle, () => {
    const source = existing(ctx, from.dir, from.name);
    requireDirectory(to.dir);
    requireName(to.name);
    const targetIno = lookup(ctx, to.dir, to.name.bytes, to.name.start, to.name.end);
    const target = targetIno === 0 ? null : ctx.inode(targetIno);
    requireRemovable(from.dir, source);
    if (target === null) requireMutable(to.dir);
    else requireRemovable(to.dir, target);
    if ((flags & RenameFlag.EXCHANGE) !== 0) return exchange(ctx, from, to, source, target);
    if (target !== null && (flags & RenameFlag.NOREPLACE) !== 0) throw new FsError(Errno.EEXIST, 'the new name exists');
    // Two names of one file: POSIX wants both to stay.
    if (target === source) return null;
    return move(ctx, from, to, source, target, (flags & RenameFlag.WHITEOUT) !== 0);
  });
}

function requireKnownFlags(flags: number): void {
  const { NOREPLACE, EXCHANGE, WHITEOUT } = RenameFlag;
  const exchange = (flags & EXCHANGE) !== 0;
  if ((flags & ~(NOREPLACE | EXCHANGE | WHITEOUT)) !== 0 || (exchange && flags !== EXCHANGE)) {
    throw new FsError(Errno.EINVAL, `rename flags 0x${flags.toString(16)}`);
  }
}

function move(
  ctx: WriteContext,
  from: Place,
  to: Place,
  source: Inode,
  target: Inode | null,
  leaveWhiteout: boolean,
): Inode | null {
  requireSameProject(to.dir, source);
  if (target !== null) requireReplaceable(ctx, source, target);
  const movesDirectory = source.isDirectory && from.dir !== to.dir;
  if (movesDirectory) requireOutside(ctx, source, to.dir);
  if (movesDirectory && target === null) requireRoomForSubdirectory(ctx, to.dir);
  const whiteout = leaveWhiteout ? newWhiteout(ctx, from.dir) : null;
  putEntry(ctx, to, source, target);
  vacate(ctx, from, whiteout);
  touchChange(ctx, source);
  if (source.isDirectory) moveSubdirectoryLink(ctx, from.dir, to.dir, target !== null);
  if (movesDirectory) setParent(ctx, source, to.dir.ino);
  touchContent(ctx, from.dir);
  touchContent(ctx, to.dir);
  if (target === null) return null;
  if (target.isDirectory) dropDirectory(ctx, target);
  else dropLink(ctx, target);
  return target;
}

/** The parents' counts of the subdirectory's ".."; one that is replaced gives its share to its successor. */
function moveSubdirectoryLink(ctx: WriteContext, from: Inode, to: Inode, replaces: boolean): void {
  if (from === to && !replaces) return;
  removeSubdirectoryLink(ctx, from);
  if (!replaces) addSubdirectoryLink(ctx, to);
}

function requireReplaceable(ctx: WriteContext, source: Inode, target: Inode): void {
  if (source.isDirectory) requireEmptyDirectory(ctx, target);
  else if (target.isDirectory) throw new FsError(Errno.EISDIR, `inode ${target.ino} is a directory`);
}

function putEntry(ctx: WriteContext, to: Place, source: Inode, target: Inode | null): void {
  const { bytes, start, end } = to.name;
  const type = fileTypeOfMode(source.mode);
  if (target === null) addEntry(ctx, to.dir, bytes, start, end, source.ino, type);
  else replaceEntry(ctx, to.dir, bytes, start, end, source.ino, type);
}

function vacate(ctx: WriteContext, from: Place, whiteout: Inode | null): void {
  const { bytes, start, end } = from.name;
  if (whiteout === null) removeEntry(ctx, from.dir, bytes, start, end);
  else replaceEntry(ctx, from.dir, bytes, start, end, whiteout.ino, fileTypeOfMode(whiteout.mode));
}

/** A character device 0:0, which overlayfs takes for "deleted". */
function newWhiteout(ctx: WriteContext, dir: Inode): Inode {
  const inode = ctx.inodeAllocator.allocate(dir, FileType.CHARACTER);
  inode.mode = inheritAcls(ctx, dir, inode, inode.mode, 0);
  inode.linksCount = 1;
  return inode;
}

function exchange(ctx: WriteContext, from: Place, to: Place, source: Inode, target: Inode | null): null {
  if (target === null) throw new FsError(Errno.ENOENT, 'no such name to exchange with');
  if (target === source) return null;
  requireSameProject(to.dir, source);
  requireSameProject(from.dir, target);
  const apart = from.dir !== to.dir;
  if (apart && source.isDirectory) requireOutside(ctx, source, to.dir);
  if (apart && target.isDirectory) requireOutside(ctx, target, from.dir);
  if (apart && source.isDirectory !== target.isDirectory) {
    const gains = source.isDirectory ? to.dir : from.dir;
    const loses = source.isDirectory ? from.dir : to.dir;
    requireRoomForSubdirectory(ctx, gains);
    removeSubdirectoryLink(ctx, loses);
    addSubdirectoryLink(ctx, gains);
  }
  putEntry(ctx, to, source, target);
  putEntry(ctx, from, target, source);
  if (apart && source.isDirectory) setParent(ctx, source, to.dir.ino);
  if (apart && target.isDirectory) setParent(ctx, target, from.dir.ino);
  touchChange(ctx, source);
  touchChange(ctx, target);
  touchContent(ctx, from.dir);
  touchContent(ctx, to.dir);
  return null;
}

/** A directory must not become its own descendant. The kernel sees to that, as far as it knows the tree. */
function requireOutside(ctx: WriteContext, moved: Inode, newParent: Inode): void {
  let dir = newParent;
  for (let depth = 0; depth < MAX_DEPTH && dir.ino !== SpecialInode.ROOT; depth++) {
    if (dir === moved) throw new FsError(Errno.EINVAL, `directory inode ${moved.ino} into itself`);
    dir = ctx.inode(parentOf(ctx, dir));
  }
}
