import { Errno } from '../../shared/errno.ts';

export interface FailureLog {
  /** For what damaged content can repeat without end. */
  limitedError(text: string): void;
}

/**
 * The errno to answer with when `error` was thrown. Refusals are everyday, broken metadata and devices are worth a
 * line, and anything without an errno is a bug of ours.
 */
export function errnoOfThrown(log: FailureLog, where: string, error: unknown): number {
  if (!(error instanceof Error) || !('errno' in error) || typeof error.errno !== 'number') {
    log.limitedError(`${where}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    return Errno.EIO;
  }
  const errno = Math.abs(error.errno);
  if (errno === Errno.EUCLEAN || errno === Errno.EIO) log.limitedError(`${where}: ${error.message}`);
  return errno === Errno.OK ? Errno.EIO : errno;
}
