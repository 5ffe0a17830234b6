import { u8 } from '../../shared/bytes.ts';
import type { Ext4Context } from './context.ts';
import { DIRENT, DirentType } from './layout/dirent.ts';
import { Incompat } from './layout/features.ts';
import { FileType } from './layout/inode.ts';

/** The type that the entry at `at` gives for its inode: UNKNOWN without the filetype feature or when out of range. */
export function entryFileType(ctx: Ext4Context, view: DataView, at: number): number {
  if (!ctx.superblock.hasIncompat(Incompat.FILETYPE)) return DirentType.UNKNOWN;
  const type = u8(view, at + DIRENT.file_type);
  return type <= DirentType.SYMLINK ? type : DirentType.UNKNOWN;
}

/** The type to give for "." and "..". */
export function dotFileType(ctx: Ext4Context): number {
  return ctx.superblock.hasIncompat(Incompat.FILETYPE) ? DirentType.DIRECTORY : DirentType.UNKNOWN;
}

/** What an entry for an inode of `mode` says; the filetype feature decides whether it is written. */
export function fileTypeOfMode(mode: number): number {
  switch (mode & FileType.MASK) {
    case FileType.REGULAR:
      return DirentType.REGULAR;
    case FileType.DIRECTORY:
      return DirentType.DIRECTORY;
    case FileType.CHARACTER:
      return DirentType.CHARACTER;
    case FileType.BLOCK:
      return DirentType.BLOCK;
    case FileType.FIFO:
      return DirentType.FIFO;
    case FileType.SOCKET:
      return DirentType.SOCKET;
    case FileType.SYMLINK:
      return DirentType.SYMLINK;
    default:
      return DirentType.UNKNOWN;
  }
}
