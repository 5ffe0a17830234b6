import { spawnSync } from 'node:child_process';
import { closeSync } from 'node:fs';
import { cloneFuseDevice } from '../native/fuse-device.ts';
import { receivePacket, socketPair } from '../native/seqpacket.ts';
import { Errno, errnoOf, SystemError } from '../shared/errno.ts';
import { MS_FLAGS, MsBit } from '../shared/service-protocol/ms-flags.ts';
import { type Mount, type Mounter, type MountRequest, openFuseDevice } from './mounter.ts';

const PROGRAM = 'fusermount3';
const WAIT_MS = 30_000;
/** Descriptor number of the socket in the child, which sends the mounted /dev/fuse descriptor back through it. */
const CHILD_SOCKET = 3;

/** Mounts for callers without root, through libfuse's setuid program, which does its own checks of the mount point. */
export class FusermountMounter implements Mounter {
  readonly isRoot = false;

  openFuseDevice(): number {
    return openFuseDevice();
  }

  mount(fuseFd: number, request: MountRequest): Mount {
    const path = request.target.path;
    const mountedFd = mountAndReceive(optionText(request), path);
    const mount = { keep: () => {}, abandon: () => run(['-u', '-z', '--', path]) };
    try {
      // The service already holds the unmounted descriptor: make it serve this mount too.
      cloneFuseDevice(fuseFd, mountedFd);
    } catch (error) {
      mount.abandon();
      throw error;
    } finally {
      closeSync(mountedFd);
    }
    return mount;
  }
}

function mountAndReceive(options: string, path: string): number {
  const [ours, theirs] = socketPair();
  try {
    run(['-o', options, '--', path], theirs);
    const fd = receivePacket(ours, 1, 0)?.fd ?? -1;
    if (fd < 0) throw new SystemError(Errno.EPROTO, PROGRAM, path, 'sent no descriptor');
    return fd;
  } finally {
    closeSync(ours);
    closeSync(theirs);
  }
}

/** It explains failures on standard error itself. */
function run(words: readonly string[], socket?: number): void {
  const child = spawnSync(PROGRAM, words, {
    stdio: ['ignore', 'inherit', 'inherit', ...(socket === undefined ? [] : [socket])],
    env: { PATH: process.env.PATH, _FUSE_COMMFD: String(CHILD_SOCKET) },
    timeout: WAIT_MS,
  });
  if (child.error !== undefined) throw new SystemError(errnoOf(child.error), 'run', PROGRAM);
  if (child.status !== 0)
    throw new SystemError(Errno.EPERM, PROGRAM, words.at(-1) ?? '', `exit status ${child.status}`);
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
