import { Errno } from '../../shared/errno.ts';

/** A request is refused for a reason that is no corruption: wrong type, missing, too big, read-only... */
export class FsError extends Error {
  readonly errno: number;

  constructor(errno: number, message: string) {
    super(message);
    this.name = 'FsError';
    this.errno = errno;
  }
}

/** Where a piece of bad metadata was found. 0 stands for "does not apply". */
export interface CorruptionPlace {
  readonly inode?: number;
  readonly block?: number;
}

/**
 * On-disk metadata breaks the format's rules. Answers EUCLEAN for the object it belongs to; the rest
 * of the file system goes on being served. `finding` names field, found and expected values.
 */
export class CorruptionError extends Error {
  readonly errno = Errno.EUCLEAN;
  readonly structure: string;
  readonly finding: string;
  readonly inode: number;
  readonly block: number;

  constructor(structure: string, finding: string, place: CorruptionPlace = {}) {
    const inode = place.inode ?? 0;
    const block = place.block ?? 0;
    const where = `${inode === 0 ? '' : `, inode ${inode}`}${block === 0 ? '' : `, block ${block}`}`;
    super(`corrupt ${structure}${where}: ${finding}`);
    this.name = 'CorruptionError';
    this.structure = structure;
    this.finding = finding;
    this.inode = inode;
    this.block = block;
  }
}

/** The image is sound, as far as we can tell, but uses something that this server does not support. */
export class IncompatibleError extends Error {
  readonly errno = Errno.EOPNOTSUPP;

  constructor(message: string) {
    super(message);
    this.name = 'IncompatibleError';
  }
}

/** The device failed. `errno` is positive. */
export class DeviceError extends Error {
  readonly errno: number;

  constructor(errno: number, operation: string, offsetBytes: number, lengthBytes: number) {
    super(`device ${operation} of ${lengthBytes} bytes at ${offsetBytes} failed with errno ${errno}`);
    this.name = 'DeviceError';
    this.errno = errno;
  }
}

/**
 * No space now, but there will be once the transactions so far have committed and discards under way have ended, as
 * blocks freed by them can be used then. Who runs the operation cancels it, commits and tries again, once.
 */
export class SpaceAwaitsCommit extends FsError {
  constructor() {
    super(Errno.ENOSPC, 'no free blocks before the next commit');
    this.name = 'SpaceAwaitsCommit';
  }
}
