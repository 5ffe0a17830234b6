import { closeSync, constants, fstatSync, fsyncSync, openSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { controlMount, syncFilesystem } from '../native/mount-control.ts';
import { putU64ne, u64ne, viewOf } from '../shared/bytes.ts';
import { Errno, errnoOf, SystemError } from '../shared/errno.ts';
import { errnoText } from '../shared/errno-text.ts';
import {
  decodeStatistics,
  type MountStatistics,
  STATISTICS_BYTES,
  STATISTICS_IOCTL,
} from '../shared/mount-statistics.ts';
import type { MountAnswer, MountRequest } from './mount-requests.ts';

/** linux/fs.h and linux/ext4.h. */
const FITRIM = 0xc0185879;
const SHUTDOWN = 0x8004587d;
const FSTRIM_RANGE = Object.freeze({ start: 0, len: 8, minlen: 16, SIZE: 24 });
const SHUTDOWN_FLAGS_BYTES = 4;

/**
 * The process that asks the servers. One that does not answer holds whoever asks, out of reach of any signal; so the
 * program asks through this process, and leaves it behind. The first line it says is that it is ready; the others are
 * answers.
 */
export async function runAgent(): Promise<number> {
  process.stdout.write('ready\n');
  for await (const line of createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(answer(JSON.parse(line) as MountRequest))}\n`);
  }
  return 0;
}

export function answer(request: MountRequest): MountAnswer {
  try {
    return carryOut(request);
  } catch (error) {
    const errno = errnoOf(error);
    return { ok: false, errno, reason: reasonOf(error, errno) };
  }
}

function carryOut(request: MountRequest): MountAnswer {
  const fd = openSync(request.mountPoint, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOCTTY);
  try {
    if (fstatSync(fd).dev !== request.deviceNumber)
      throw new SystemError(Errno.ESTALE, 'open', request.mountPoint, 'hidden by another mount');
    const statistics = request.verb === 'statistics' ? readStatistics(fd, request.mountPoint) : null;
    if (request.verb === 'sync') sync(fd);
    if (request.verb === 'shutdown')
      controlMount(fd, SHUTDOWN, new Uint8Array(SHUTDOWN_FLAGS_BYTES), request.mountPoint);
    return { ok: true, statistics, trimmedBytes: request.verb === 'trim' ? trim(fd, request) : 0 };
  } finally {
    closeSync(fd);
  }
}

/** The kernel hands over what it keeps, which is no more than that; the fsync of any file commits all of it. */
function sync(fd: number): void {
  syncFilesystem(fd);
  fsyncSync(fd);
}

function readStatistics(fd: number, mountPoint: string): MountStatistics {
  const buffer = new Uint8Array(STATISTICS_BYTES);
  controlMount(fd, STATISTICS_IOCTL, buffer, mountPoint);
  const statistics = decodeStatistics(buffer);
  if (statistics === null) throw new SystemError(Errno.EPROTO, 'ioctl', mountPoint, 'the answer is not understood');
  return statistics;
}

function trim(fd: number, { mountPoint, leastBytes }: MountRequest): number {
  const range = new Uint8Array(FSTRIM_RANGE.SIZE);
  const view = viewOf(range);
  putU64ne(view, FSTRIM_RANGE.len, Number.MAX_SAFE_INTEGER);
  putU64ne(view, FSTRIM_RANGE.minlen, leastBytes);
  controlMount(fd, FITRIM, range, mountPoint);
  return u64ne(view, FSTRIM_RANGE.len);
}

function reasonOf(error: unknown, errno: number): string {
  if (errno === Errno.ENOTTY) return 'served by another program';
  if (errno === Errno.ESTALE || errno === Errno.EPROTO) return error instanceof Error ? error.message : '';
  return errnoText(errno);
}
