import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { MountRequest } from './mount-request.ts';

/** Where util-linux keeps what the kernel's mount table can't hold. */
const UTAB = '/run/mount/utab';
const MOUNT_PROGRAM = '/bin/mount';
/** Should it look at the mount, it waits for a service that may never answer. */
const WAIT_MS = 10_000;

/** Remembers options that mean nothing to the kernel. The mount is good without them, so failures don't matter. */
export function recordInMountTable(request: MountRequest, words: readonly string[]): void {
  if (words.length === 0 || !existsSync(UTAB)) return;
  const type = `${request.blockDevice ? 'fuseblk' : 'fuse'}.${request.subtype}`;
  const what = ['-o', words.join(','), '--', request.source, request.target.path];
  spawnSync(MOUNT_PROGRAM, ['--no-canonicalize', '-i', '-f', '-t', type, ...what], {
    env: {},
    stdio: 'ignore',
    timeout: WAIT_MS,
    killSignal: 'SIGKILL',
  });
}
