import { closeSync } from 'node:fs';
import { cloneFuseDevice } from '../../native/fuse-device.ts';
import { pinPath } from '../../native/mount-api.ts';
import { Errno, errnoOf, SystemError } from '../../shared/errno.ts';
import type { KernelOption } from '../kernel-options.ts';
import { belongsTo, mountIdOf, mountOf, readMountTable } from '../mount-info.ts';
import type { MountPoint } from '../mount-point.ts';
import type { MountRequest } from '../mount-request.ts';
import { type Mount, type Mounter, openFuseDevice } from '../mounter.ts';
import type { BrokerConnection } from './connection.ts';
import { type MountCommand, MountOption } from './messages.ts';

/** The kernel's field has 32 bits. */
const MAX_READ_MAX = 2 ** 32 - 1;

/** Mounts for callers without root, by the mount broker. */
export class BrokerMounter implements Mounter {
  readonly isRoot = false;
  readonly #connect: () => BrokerConnection;

  /** `connect` is called when there is something to mount. */
  constructor(connect: () => BrokerConnection) {
    this.#connect = connect;
  }

  openFuseDevice(): number {
    return openFuseDevice();
  }

  mount(fuseFd: number, request: MountRequest, openSource: () => number): Mount {
    const command = commandOf(request);
    const broker = this.#connect();
    try {
      nameSource(broker, request.source, openSource);
      const mountedFd = broker.mount(command, request.target.fd);
      try {
        cloneFuseDevice(fuseFd, mountedFd);
      } finally {
        closeSync(mountedFd);
      }
    } catch (error) {
      broker.close();
      throw error;
    }
    // Without a connection the kernel clears it away.
    return { keep: () => keep(broker, request.target), abandon: () => broker.close() };
  }
}

function keep(broker: BrokerConnection, target: MountPoint): void {
  try {
    broker.keep();
  } catch (error) {
    // Killed at the last moment, it may have mounted all the same.
    if (errnoOf(error) !== Errno.ECONNRESET || !isMounted(target)) throw error;
  }
  broker.close();
}

/** Whether a mount of ours lies on what we opened as the mount point. */
function isMounted(target: MountPoint): boolean {
  const fd = pinPath(target.path);
  try {
    const mount = mountOf(fd, readMountTable());
    return mount?.parentId === mountIdOf(target.fd) && belongsTo(mount, process.getuid?.() ?? 0);
  } finally {
    closeSync(fd);
  }
}

/** The broker names a file by what we could open, and takes our word for any other name. */
function nameSource(broker: BrokerConnection, source: string, openSource: () => number): void {
  const fd = source.includes('/') ? openSource() : -1;
  try {
    broker.nameSource(source, fd);
  } finally {
    if (fd >= 0) closeSync(fd);
  }
}

function commandOf(request: MountRequest): MountCommand {
  let options = 0;
  let maxRead = 0;
  for (const option of request.options) {
    if (option.key === 'allow_other') options |= MountOption.ALLOW_OTHER;
    else if (option.key === 'default_permissions') options |= MountOption.DEFAULT_PERMISSIONS;
    else if (option.key === 'max_read') maxRead = Math.min(Number(option.value), MAX_READ_MAX);
    else refuse(option);
  }
  return { kind: 'mount', msFlags: request.msFlags, options, maxRead, subtype: request.subtype };
}

function refuse(option: KernelOption): never {
  throw new SystemError(Errno.EPERM, 'mount', option.key, 'only root may');
}
