import { Errno, SystemError } from './errno.ts';

/** First descriptor that a service manager passes (systemd, sd_listen_fds(3)). */
export const LISTEN_FDS_START = 3;

const VARIABLES = ['LISTEN_FDS', 'LISTEN_PID', 'LISTEN_FDNAMES', 'LISTEN_PIDFDID'] as const;

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

/** The environment for children, to whom the descriptors don't belong. */
export function withoutActivation(environment: Environment): Record<string, string | undefined> {
  const copy = { ...environment };
  for (const name of VARIABLES) delete copy[name];
  return copy;
}

function parseCount(text: string | undefined): number | null {
  return text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : null;
}
