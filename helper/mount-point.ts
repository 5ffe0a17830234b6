import { constants, fstatSync, readlinkSync, realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { closeQuietly } from '../native/descriptor.ts';
import { pinPath } from '../native/mount-api.ts';
import { Errno, errnoOf, SystemError } from '../shared/errno.ts';
import { errnoText } from '../shared/errno-text.ts';
import { ExpectedFormat } from '../shared/service-protocol/packets.ts';

/** A mount point that nobody can swap for another any more. */
export interface MountPoint {
  /** O_PATH descriptor; every later step uses it and not the path. */
  readonly fd: number;
  /** Without symbolic links, for messages and the mount table. */
  readonly path: string;
  /** S_IFMT bits: directory or regular file. */
  readonly format: number;
}

/** Pins what the word names. A symbolic link in the last place is refused, those before it are resolved. */
export function pinMountPoint(word: string, expectedFormat: number): MountPoint {
  const { path, fd } = pin(word);
  try {
    // A link put in between resolving and opening shows up here.
    if (readlinkSync(`/proc/self/fd/${fd}`) !== path) refuse(Errno.ESTALE, word, 'mount point was replaced');
    const format = fstatSync(fd).mode & constants.S_IFMT;
    if (format === constants.S_IFLNK) refuse(Errno.ELOOP, word, 'mount point is a symbolic link');
    if (format !== constants.S_IFDIR && format !== constants.S_IFREG)
      refuse(Errno.EACCES, word, 'mount point is neither directory nor regular file');
    if (expectedFormat !== ExpectedFormat.ANY && format !== expectedFormat) refuseFormat(word, expectedFormat);
    return { fd, path, format };
  } catch (error) {
    closeQuietly(fd);
    throw error;
  }
}

function pin(word: string): { path: string; fd: number } {
  try {
    const path = resolveParent(word);
    return { path, fd: pinPath(path) };
  } catch (error) {
    return refuse(errnoOf(error), word, errnoText(errnoOf(error)));
  }
}

/** The path of a mount point, which is itself never asked: its server may be dead. */
export function resolveParent(word: string): string {
  const name = basename(word);
  if (name === '' || name === '.' || name === '..') return realpathSync(word);
  return join(realpathSync(dirname(word)), name);
}

function refuseFormat(word: string, expectedFormat: number): never {
  if (expectedFormat === ExpectedFormat.DIRECTORY) refuse(Errno.ENOTDIR, word, 'mount point is not a directory');
  refuse(Errno.EISDIR, word, 'mount point is a directory');
}

function refuse(errno: number, word: string, why: string): never {
  throw new SystemError(errno, 'mount point', word, why);
}
