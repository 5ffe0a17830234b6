import { Errno } from '../../../shared/errno.ts';
import { FsError } from '../errors.ts';

/** Longest name that a directory entry holds, in bytes. */
export const NAME_BYTES_MAX = 255;

const SLASH = 0x2f;
const DOT = 0x2e;

/** A name as it comes in a request: bytes[start, end). Reused by nobody: operations take it apart at once. */
export interface Name {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
}

/** Throws unless the name may be that of an entry to make, remove or rename. */
export function requireName(name: Name): void {
  const length = name.end - name.start;
  if (length > NAME_BYTES_MAX) throw new FsError(Errno.ENAMETOOLONG, `a name of ${length} bytes`);
  if (length === 0) throw new FsError(Errno.ENOENT, 'an empty name');
  if (isDots(name)) throw new FsError(Errno.EINVAL, 'the name "." or ".."');
  for (let at = name.start; at < name.end; at++) {
    if (name.bytes[at] === 0 || name.bytes[at] === SLASH) throw new FsError(Errno.EINVAL, 'a name with "/" or NUL');
  }
}

const isDots = ({ bytes, start, end }: Name): boolean =>
  end - start <= 2 && bytes[start] === DOT && bytes[end - 1] === DOT;
