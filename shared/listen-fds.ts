import { Errno, SystemError } from './errno.ts';

/** First descriptor that a service manager passes (systemd, sd_listen_fds(3)). */
const LISTEN_FDS_START = 3;

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The one socket that a service manager passed to process `pid`, or null when this process was started in any
 * other way. Throws SystemError E2BIG when the manager passed another number of descriptors than one.
 */
export function activatedSocket(environment: Environment, pid: number): number | null {
  const count = parseCount(environment.LISTEN_FDS);
  const listenPid = parseCount(environment.LISTEN_PID);
  if (count === null || listenPid !== pid) return null;
  if (count !== 1) throw new SystemError(Errno.E2BIG, 'LISTEN_FDS', '', `${count} descriptors passed, expected one`);
  return LISTEN_FDS_START;
}

function parseCount(text: string | undefined): number | null {
  return text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : null;
}
