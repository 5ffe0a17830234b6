import { accessSync, constants, statSync } from 'node:fs';
import { connectSeqpacket } from '../native/seqpacket.ts';
import { Errno, errnoOf, SystemError } from '../shared/errno.ts';
import { BROKER_SOCKET } from './broker/messages.ts';

/** Services listen here, in a socket named after the subtype they serve. */
export const SOCKET_DIRECTORY = '/run/filesystems';

/** sun_path holds 108 bytes, the last of them NUL. */
const SOCKET_PATH_BYTES_MAX = 107;

/** `fuse.X` and `fuseblk.X` are X; any other type is its own subtype. */
export function subtypeOf(type: string): string {
  return type.replace(/^fuse(blk)?\./, '');
}

/** Throws SystemError EINVAL for a subtype that can't name a socket. */
export function socketPathOf(subtype: string): string {
  const refuse = (why: string): never => {
    throw new SystemError(Errno.EINVAL, 'connect', subtype, why);
  };
  if (subtype.includes('/')) refuse('file system subtype cannot contain path separators');
  if (subtype === '' || subtype === '.' || subtype === '..' || subtype.includes('\0')) refuse('no file system subtype');
  const path = `${SOCKET_DIRECTORY}/${subtype}`;
  if (Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX) refuse('file system type name is too long');
  return path;
}

/**
 * Whether a service seems to be there that we can reach, or the mount broker for us. Nothing is started: a stale socket
 * looks present.
 */
export function serviceIsPresent(subtype: string): boolean {
  try {
    const path = socketPathOf(subtype);
    return isSocket(path) && (mayConnect(path) || brokerIsPresent());
  } catch {
    return false;
  }
}

/** Whether there seems to be a mount broker for us. */
export function brokerIsPresent(): boolean {
  return isSocket(BROKER_SOCKET) && mayConnect(BROKER_SOCKET);
}

function isSocket(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isSocket() === true;
}

function mayConnect(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** The connected socket, or null when nobody offers this service. */
export function connectToService(subtype: string): number | null {
  const path = socketPathOf(subtype);
  try {
    return connectSeqpacket(path);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === Errno.ENOENT || errno === Errno.ECONNREFUSED) return null;
    throw error;
  }
}
