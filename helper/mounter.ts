import { closeSync, constants, openSync } from 'node:fs';
import { closeQuietly } from '../native/descriptor.ts';
import { cloneFuseDevice, grantIomap } from '../native/fuse-device.ts';
import { attachMount, pinPath } from '../native/mount-api.ts';
import { forkMountGuard } from '../native/mount-guard.ts';
import { u32ne, viewOf } from '../shared/bytes.ts';
import { Errno, errnoOf, SystemError } from '../shared/errno.ts';
import { detachedFuseMount, type MountOwner, ownOptions } from './detached-mount.ts';
import { GuardedMount } from './guarded-mount.ts';
import type { MountRequest } from './mount-request.ts';
import { raiseReadAhead } from './read-ahead.ts';
import type { Report } from './report.ts';

/** A mount that its service has yet to take over. Either method may be called once. */
export interface Mount {
  /** Makes it last. When this throws, the mount can still be abandoned. */
  keep(): void;
  /** Takes it away again. */
  abandon(): void;
}

/** How a caller gets a FUSE mount: with root's own rights, or through fusermount3. */
export interface Mounter {
  /** Root may use allow_other, fuseblk, suid, dev, loop devices and other people's mount points. */
  readonly isRoot: boolean;
  /** An unmounted /dev/fuse descriptor; the caller owns it. */
  openFuseDevice(): number;
  /** `openSource` opens, for reading, what `request.source` names, if the caller has named it. */
  mount(fuseFd: number, request: MountRequest, openSource: () => number): Mount;
}

const FUSE_DEVICE = '/dev/fuse';

/** An unmounted descriptor. */
export function openFuseDevice(): number {
  try {
    return openSync(FUSE_DEVICE, constants.O_RDWR);
  } catch (error) {
    throw new SystemError(errnoOf(error), 'open', FUSE_DEVICE);
  }
}

/** Mounts with the rights of this process. */
export class RootMounter implements Mounter {
  readonly isRoot = true;
  readonly #report: Report;

  constructor(report: Report) {
    this.#report = report;
  }

  openFuseDevice(): number {
    const fd = openFuseDevice();
    try {
      if (grantIomap(fd)) this.#report.detail('iomap granted');
      return fd;
    } catch (error) {
      closeQuietly(fd);
      throw error;
    }
  }

  /**
   * Mounts with a descriptor that the service never had, and then makes `fuseFd` serve that mount. On its own the
   * service may have asked for a mount that waits until INIT is answered (FUSE_DEV_IOC_SYNC_INIT), and then not answer.
   */
  mount(fuseFd: number, request: MountRequest): Mount {
    const ownFd = this.openFuseDevice();
    try {
      const mount = this.#mountDevice(ownFd, request);
      try {
        cloneFuseDevice(fuseFd, ownFd);
        return mount;
      } catch (error) {
        mount.abandon();
        throw error;
      }
    } finally {
      closeSync(ownFd);
    }
  }

  /**
   * The mount is attached to nothing until it is kept, so that nobody ever sees one without a service, and
   * the kernel clears it away if this process is killed.
   */
  #mountDevice(fuseFd: number, request: MountRequest): Mount {
    const mountFd = detachedFuseMount(fuseFd, request, callerIds(), this.#report);
    if (mountFd === null) return mountWithOldCall(fuseFd, request, this.#report);
    return {
      keep: () => {
        attachMount(mountFd, request.target.fd);
        raiseReadAhead(mountFd, this.#report);
        closeSync(mountFd);
      },
      abandon: () => closeSync(mountFd),
    };
  }
}

function callerIds(): MountOwner {
  return { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
}

/** mount(2), for kernels before 5.8: the mount is there at once, so that it needs a guard. Exported for its test. */
export function mountWithOldCall(fuseFd: number, request: MountRequest, report: Report): Mount {
  const type = `${request.blockDevice ? 'fuseblk' : 'fuse'}.${request.subtype}`;
  const data = [...request.options, ...ownOptions(fuseFd, request.target, callerIds())]
    .map((option) => (option.value === null ? option.key : `${option.key}=${quoted(option.value)}`))
    .join(',');
  const { path, fd } = request.target;
  const target = `/proc/self/fd/${fd}`;
  const call = { source: request.source, target, type, flags: request.msFlags, data, path };
  const mount = new GuardedMount('mount', path, (socket) => forkMountGuard(socket, call));
  try {
    const errno = u32ne(viewOf(mount.answer().bytes), 0);
    if (errno !== Errno.OK) throw new SystemError(errno, 'mount', path);
  } catch (error) {
    mount.abandon();
    throw error;
  }
  return {
    keep: () => {
      raiseReadAheadAt(path, report);
      mount.keep();
    },
    abandon: () => mount.abandon(),
  };
}

function raiseReadAheadAt(path: string, report: Report): void {
  const rootFd = pinPath(path);
  try {
    raiseReadAhead(rootFd, report);
  } finally {
    closeSync(rootFd);
  }
}

/** Only security contexts may hold a comma. */
function quoted(value: string): string {
  return value.includes(',') ? `"${value}"` : value;
}
