import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { UnmountFlag, unmount } from '../../native/mount-api.ts';
import { forkMountGuard } from '../../native/mount-guard.ts';
import { receivePacket, sendPacket, socketPair } from '../../native/seqpacket.ts';
import { u32ne, viewOf } from '../../shared/bytes.ts';
import { Errno } from '../../shared/errno.ts';
import { openDescriptorCount, scratchDirectory } from './fixtures/scratch.ts';

const WAIT_MS = 10_000;
const ERRNO_BYTES = 4;
/** MS_NOSUID | MS_NODEV */
const NOSUID_NODEV = 2 | 4;

function mountPoint(): string {
  const path = join(scratchDirectory(), 'mount');
  mkdirSync(path);
  return path;
}

function mountLines(path: string): string[] {
  const table = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  return table.filter((line) => line.split(' ')[4] === path);
}

const tmpfsOn = (path: string) => ({
  source: 'src',
  target: path,
  type: 'tmpfs',
  flags: NOSUID_NODEV,
  data: 'size=2m',
  path,
});

/** Our end of the socket to a guard, and the errno of its mount. */
function guarded(call: Parameters<typeof forkMountGuard>[1]): { socket: number; errno: number } {
  const [ours, theirs] = socketPair();
  try {
    forkMountGuard(theirs, call);
  } finally {
    closeSync(theirs);
  }
  const answer = receivePacket(ours, ERRNO_BYTES, WAIT_MS);
  return { socket: ours, errno: answer === null ? -1 : u32ne(viewOf(answer.bytes), 0) };
}

/** The guard's end of the socket is closed when it has ended. */
function waitForEnd(socket: number): void {
  expect(receivePacket(socket, ERRNO_BYTES, WAIT_MS)).toBeNull();
  closeSync(socket);
}

it('a guard mounts, and leaves the mount alone when it is told so', () => {
  const path = mountPoint();
  const { socket, errno } = guarded(tmpfsOn(path));
  onTestFinished(() => unmount(path, UnmountFlag.DETACH));
  expect(errno).toBe(Errno.OK);
  expect(mountLines(path)).toEqual([expect.stringMatching(/nosuid,nodev.* - tmpfs src rw,size=2048k/)]);
  sendPacket(socket, new Uint8Array(1));
  waitForEnd(socket);
  expect(mountLines(path)).toHaveLength(1);
});

it('a guard takes the mount away at an empty packet, also when it is busy', () => {
  const path = mountPoint();
  const { socket } = guarded(tmpfsOn(path));
  const busy = openSync(path, 'r');
  sendPacket(socket, new Uint8Array(0));
  waitForEnd(socket);
  expect(mountLines(path)).toEqual([]);
  closeSync(busy);
});

it('a guard leaves alone what somebody else has mounted over its mount', () => {
  const path = mountPoint();
  const first = guarded(tmpfsOn(path));
  const second = guarded({ ...tmpfsOn(path), source: 'over' });
  onTestFinished(() => {
    for (const _line of mountLines(path)) unmount(path, UnmountFlag.DETACH);
  });
  sendPacket(second.socket, new Uint8Array(1));
  waitForEnd(second.socket);
  sendPacket(first.socket, new Uint8Array(0));
  waitForEnd(first.socket);
  expect(mountLines(path).map((line) => line.split(' - tmpfs ')[1].split(' ')[0])).toEqual(['src', 'over']);
});

it('a guard that can not mount says why, and ends', () => {
  const path = mountPoint();
  const { socket, errno } = guarded({ ...tmpfsOn(path), type: 'no-such-fs' });
  expect(errno).toBe(Errno.ENODEV);
  waitForEnd(socket);
});

it('mount(2) is not called with options that the kernel would cut', () => {
  const path = mountPoint();
  expect(() => guarded({ ...tmpfsOn(path), data: `size=1m,${'x'.repeat(4096)}` })).toThrow(
    expect.objectContaining({ errno: Errno.E2BIG }),
  );
  expect(mountLines(path)).toEqual([]);
});

it('leaks no descriptor', () => {
  const path = mountPoint();
  const before = openDescriptorCount();
  for (let i = 0; i < 20; i++) {
    const { socket } = guarded(tmpfsOn(path));
    sendPacket(socket, new Uint8Array(0));
    waitForEnd(socket);
  }
  expect(openDescriptorCount()).toBe(before);
});
