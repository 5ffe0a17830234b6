/** New inodes: with a name in a directory or, for O_TMPFILE, without. */
import { Errno } from '../../../shared/errno.ts';
import { inheritAcls } from '../acl-write.ts';
import { lookup } from '../directory.ts';
import { addEntry, initDirectory } from '../directory-write.ts';
import { fileTypeOfMode } from '../entry-file-type.ts';
import { FsError } from '../errors.ts';
import { inlineCapacityBytes, writeInlineData } from '../inline-data-write.ts';
import type { Inode } from '../inode.ts';
import { atomically } from '../journal/atomically.ts';
import { Incompat } from '../layout/features.ts';
import { FileType } from '../layout/inode.ts';
import { initMapping } from '../map-write.ts';
import { writeSymlink } from '../symlink-write.ts';
import type { WriteContext } from '../write-context.ts';
import { addSubdirectoryLink, requireRoomForSubdirectory } from './link-count.ts';
import { type Name, requireName } from './name.ts';
import { requireMutable } from './protection.ts';
import { touchContent } from './times.ts';

const NO_DATA = new Uint8Array(0);

/** What a new inode is to be. */
export interface NewNode {
  /** Type and permissions as asked for. */
  readonly mode: number;
  readonly umask: number;
  readonly rdevMajor: number;
  readonly rdevMinor: number;
}

/** A file, FIFO, socket or device named `name` in `dir`. */
export function createNode(ctx: WriteContext, dir: Inode, name: Name, node: NewNode): Inode {
  return atomically(ctx.handle, () => {
    requireVacant(ctx, dir, name);
    const inode = newInode(ctx, dir, node);
    enterName(ctx, dir, name, inode);
    return inode;
  });
}

export function makeDirectory(ctx: WriteContext, dir: Inode, name: Name, mode: number, umask: number): Inode {
  return atomically(ctx.handle, () => {
    requireVacant(ctx, dir, name);
    requireRoomForSubdirectory(ctx, dir);
    const inode = newInode(ctx, dir, plainNode((mode & ~FileType.MASK) | FileType.DIRECTORY, umask));
    initDirectory(ctx, inode, dir.ino);
    inode.linksCount = 2;
    addEntry(ctx, dir, name.bytes, name.start, name.end, inode.ino, fileTypeOfMode(inode.mode));
    addSubdirectoryLink(ctx, dir);
    touchContent(ctx, dir);
    return inode;
  });
}

export function makeSymlink(ctx: WriteContext, dir: Inode, name: Name, target: Uint8Array): Inode {
  return atomically(ctx.handle, () => {
    requireVacant(ctx, dir, name);
    const inode = newInode(ctx, dir, plainNode(FileType.SYMLINK | 0o777, 0));
    writeSymlink(ctx, inode, target);
    enterName(ctx, dir, name, inode);
    return inode;
  });
}

/** A regular file without a name; it lives until the kernel forgets it or gives it one. */
export function makeTemporary(ctx: WriteContext, dir: Inode, mode: number, umask: number): Inode {
  return atomically(ctx.handle, () => {
    requireDirectory(dir);
    const inode = newInode(ctx, dir, plainNode((mode & ~FileType.MASK) | FileType.REGULAR, umask));
    ctx.orphans.add(inode);
    return inode;
  });
}

const plainNode = (mode: number, umask: number): NewNode => ({ mode, umask, rdevMajor: 0, rdevMinor: 0 });

export function requireDirectory(dir: Inode): void {
  if (!dir.isDirectory) throw new FsError(Errno.ENOTDIR, `inode ${dir.ino} is no directory`);
  if (dir.linksCount === 0) throw new FsError(Errno.ENOENT, `directory inode ${dir.ino} was removed`);
}

/** Throws unless `dir` can take an entry of this name. */
export function requireVacant(ctx: WriteContext, dir: Inode, name: Name): void {
  requireDirectory(dir);
  requireName(name);
  requireMutable(dir);
  if (lookup(ctx, dir, name.bytes, name.start, name.end) !== 0) throw new FsError(Errno.EEXIST, 'the name exists');
}

function newInode(ctx: WriteContext, dir: Inode, node: NewNode): Inode {
  const inode = ctx.inodeAllocator.allocate(dir, node.mode);
  inode.mode = inheritAcls(ctx, dir, inode, inode.mode, node.umask);
  inode.rdevMajor = node.rdevMajor;
  inode.rdevMinor = node.rdevMinor;
  if (inode.isRegular) prepareForData(ctx, inode);
  return inode;
}

/** A new file's data stays in the inode while it fits, where the file system has that. */
function prepareForData(ctx: WriteContext, inode: Inode): void {
  const isInline = ctx.superblock.hasIncompat(Incompat.INLINE_DATA) && inlineCapacityBytes(ctx, inode) > 0;
  if (isInline) writeInlineData(ctx, inode, NO_DATA);
  else initMapping(ctx, inode);
}

function enterName(ctx: WriteContext, dir: Inode, name: Name, inode: Inode): void {
  inode.linksCount = 1;
  addEntry(ctx, dir, name.bytes, name.start, name.end, inode.ino, fileTypeOfMode(inode.mode));
  touchContent(ctx, dir);
}
