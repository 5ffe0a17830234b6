import { constants, fstatSync, openSync } from 'node:fs';
import { closeQuietly } from '../native/descriptor.ts';
import { connectDatagram } from '../native/notify-socket.ts';
import { Errno, SystemError } from '../shared/errno.ts';
import { isPressureFile, NOTIFY_SOCKET_PATH } from '../shared/system-files.ts';

const { O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_RDWR } = constants;

/**
 * The files that every service may have, whatever the caller named. A service that was taken over can set triggers
 * with the first kind, and tell the service manager lies about itself with the second. Null: `path` is none of them.
 */
export function openSystemFile(path: string): number | null {
  if (path === NOTIFY_SOCKET_PATH) return connectDatagram(path);
  return isPressureFile(path) ? openPressure(path) : null;
}

function openPressure(path: string): number {
  const fd = openSync(path, O_RDWR | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
  if (fstatSync(fd).isFile()) return fd;
  closeQuietly(fd);
  throw new SystemError(Errno.EACCES, 'open', path, 'is no regular file');
}
