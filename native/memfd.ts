import { fstatSync, readSync } from 'node:fs';
import { Errno, SystemError } from '../shared/errno.ts';
import { addon } from './addon.ts';
import { check } from './check.ts';

/** An anonymous file with this content that nobody can change any more (F_SEAL_WRITE|SHRINK|GROW|SEAL). */
export function createSealedMemfd(name: string, content: Uint8Array): number {
  return check(addon.createSealedMemfd(name, content), 'memfd_create', name);
}

/**
 * The whole content of an open regular file; throws SystemError E2BIG above `maxBytes`, EINVAL for other file
 * types.
 */
export function readWholeFile(fd: number, maxBytes: number): Uint8Array {
  const status = fstatSync(fd);
  if (!status.isFile()) throw new SystemError(Errno.EINVAL, 'read', `fd ${fd}`, 'not a regular file');
  if (status.size > maxBytes)
    throw new SystemError(Errno.E2BIG, 'read', `fd ${fd}`, `${status.size} bytes exceed ${maxBytes}`);
  const bytes = new Uint8Array(status.size);
  let filled = 0;
  while (filled < bytes.length) {
    const count = readSync(fd, bytes, filled, bytes.length - filled, filled);
    if (count === 0)
      throw new SystemError(Errno.EIO, 'read', `fd ${fd}`, `file ends at ${filled} of ${bytes.length} bytes`);
    filled += count;
  }
  return bytes;
}
