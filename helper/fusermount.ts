import { spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import { cloneFuseDevice } from '../native/fuse-device.ts';
import { Errno, SystemError } from '../shared/errno.ts';
import { MS_FLAGS, MsBit } from '../shared/service-protocol/ms-flags.ts';
import { GuardedMount } from './guarded-mount.ts';
import type { MountRequest } from './mount-request.ts';
import { type Mount, type Mounter, openFuseDevice } from './mounter.ts';

const PROGRAM = 'fusermount3';
const SHELL = '/bin/sh';

/**
 * The guard of the mount (GuardedMount), called with options and mount point. Its standard input is the socket, through
 * which first fusermount3 sends the mounted /dev/fuse descriptor, and then the guard that it knows its mount. That is
 * what lies on top of the mount point, with another mount id and device than before, whatever fusermount3 says: one
 * that can't send the descriptor fails, and some versions leave the mount there. What lies on top of it later is not
 * ours.
 */
const GUARD = `
trap '' PIPE
top() { awk '$5 == ENVIRON["POINT"] { top = $1 " " $3 } END { print top }' /proc/self/mountinfo; }
before=$(top)
${PROGRAM} -o "$1" -- "$2"
status=$?
own=$(top)
[ $status -eq 0 ] && echo >&0 2>/dev/null && read -r keep && exit
[ "$own" = "$before" ] || [ "$own" != "$(top)" ] || exec ${PROGRAM} -u -z -- "$2"
`;

/** Mounts for callers without root, through libfuse's setuid program, which does its own checks of the mount point. */
export class FusermountMounter implements Mounter {
  readonly isRoot = false;

  openFuseDevice(): number {
    return openFuseDevice();
  }

  mount(fuseFd: number, request: MountRequest): Mount {
    const { path } = request.target;
    const mount = new GuardedMount(PROGRAM, path, (socket) => startGuard(socket, optionText(request), path));
    try {
      const { fd } = mount.answer();
      if (fd < 0) throw new SystemError(Errno.EPROTO, PROGRAM, path, 'sent no descriptor');
      serveWith(fuseFd, fd);
      mount.answer();
    } catch (error) {
      mount.abandon();
      throw error;
    }
    return mount;
  }
}

/** The service already holds the unmounted descriptor: makes it serve this mount too. */
function serveWith(fuseFd: number, mountedFd: number): void {
  try {
    cloneFuseDevice(fuseFd, mountedFd);
  } finally {
    closeSync(mountedFd);
  }
}

/** In a session of its own: what ends us from the terminal must not end it. It explains failures on standard error. */
function startGuard(socket: number, options: string, path: string): void {
  const guard = spawn(SHELL, ['-c', GUARD, SHELL, options, path], {
    stdio: [socket, 'inherit', 'inherit'],
    env: { PATH: process.env.PATH, POINT: mountTableText(path), _FUSE_COMMFD: '0' },
    detached: true,
  });
  // No shell: then the socket ends without an answer.
  guard.on('error', () => {});
  guard.unref();
}

/** As the kernel writes it in /proc/self/mountinfo. */
function mountTableText(path: string): string {
  return path.replace(/[ \t\n\\]/g, (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, '0')}`);
}

/** nosuid and nodev are fusermount3's own and not ours to clear. No value may bring in a word of its own. */
function optionText(request: MountRequest): string {
  const flags = MS_FLAGS.filter((flag) => (request.msFlags & flag.ms & ~(MsBit.NOSUID | MsBit.NODEV)) !== 0);
  return [
    `fsname=${escaped(request.source)}`,
    `subtype=${escaped(request.subtype)}`,
    ...flags.map((flag) => flag.set),
    ...request.options.map((option) => (option.value === null ? option.key : `${option.key}=${escaped(option.value)}`)),
  ].join(',');
}

function escaped(text: string): string {
  return text.replace(/[\\,]/g, '\\$&');
}
