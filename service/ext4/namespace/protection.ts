/**
 * What the inode flags "immutable" and "append only" forbid (kernel: may_delete, inode_permission and their
 * callers). FUSE tells the kernel nothing about these flags, so that nobody checks them but us.
 */
import { Errno } from '../../../shared/errno.ts';
import { FsError } from '../errors.ts';
import type { Inode } from '../inode.ts';
import { InodeFlag } from '../layout/inode.ts';

const FROZEN = InodeFlag.IMMUTABLE | InodeFlag.APPEND;

function refuse(inode: Inode): never {
  throw new FsError(Errno.EPERM, `inode ${inode.ino} is immutable or append-only`);
}

/** Content, mode, owner, attributes other than by appending. */
export function requireChangeable(inode: Inode): void {
  if (inode.hasFlag(FROZEN)) refuse(inode);
}

/** Anything at all, appending included. */
export function requireMutable(inode: Inode): void {
  if (inode.hasFlag(InodeFlag.IMMUTABLE)) refuse(inode);
}

/** An entry of `dir` that leads to `victim` is to go or to change. */
export function requireRemovable(dir: Inode, victim: Inode): void {
  requireChangeable(dir);
  requireChangeable(victim);
}
