import { constants } from 'node:fs';
import { closeQuietly } from '../native/descriptor.ts';
import { SOCK_DGRAM } from '../native/notify-socket.ts';
import { AF_UNIX, socketInfo } from '../native/seqpacket.ts';
import { toByteString } from '../shared/service-protocol/byte-string.ts';
import { isPressureFile, MEMORY_PRESSURE_PATH, NOTIFY_SOCKET_PATH } from '../shared/system-files.ts';
import { HelperRefusal, type ServiceSession } from './handshake.ts';

/** What ties a service to the system that it runs on. The owner closes the descriptors. */
export interface SystemFiles {
  /** Of the machine, and of the service's own control group. */
  readonly pressureFds: readonly number[];
  /** To the service manager; -1: there is none that listens. */
  readonly notifySocket: number;
}

type Environment = Readonly<Record<string, string | undefined>>;

const WISHES = Object.freeze({ tryLoop: false, quiet: true });

/**
 * Asks the helper for what a service may have beside its device. Helpers of others may refuse all of it. What the
 * environment names comes from the service manager, which started us.
 */
export function openSystemFiles(session: ServiceSession, environment: Environment): SystemFiles {
  const own = environment.MEMORY_PRESSURE_WATCH ?? '';
  const paths = [MEMORY_PRESSURE_PATH, ...(own !== MEMORY_PRESSURE_PATH && isPressureFile(own) ? [own] : [])];
  const pressureFds = paths.map((path) => openIfAllowed(session, path)).filter((fd) => fd >= 0);
  const isHeard = environment.NOTIFY_SOCKET === NOTIFY_SOCKET_PATH;
  return { pressureFds, notifySocket: isHeard ? openNotifySocket(session) : -1 };
}

/** Only for writing it is of use. */
function openIfAllowed(session: ServiceSession, path: string): number {
  try {
    const { fd, forcedReadOnly } = session.openFile(
      toByteString(path),
      constants.O_RDWR | constants.O_NONBLOCK,
      WISHES,
    );
    if (!forcedReadOnly) return fd;
    closeQuietly(fd);
  } catch (error) {
    if (!(error instanceof HelperRefusal)) throw error;
  }
  return -1;
}

function openNotifySocket(session: ServiceSession): number {
  const fd = openIfAllowed(session, NOTIFY_SOCKET_PATH);
  if (fd < 0) return fd;
  try {
    const { family, type } = socketInfo(fd);
    if (family === AF_UNIX && type === SOCK_DGRAM) return fd;
  } catch {
    // No socket at all.
  }
  closeQuietly(fd);
  return -1;
}
