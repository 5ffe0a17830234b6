import { spawnSync } from 'node:child_process';
import { closeSync, constants, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import {
  closeQuietly,
  descriptorFlags,
  flockExclusive,
  lockWholeFile,
  setCloseOnExec,
  setNonBlocking,
} from '../../native/descriptor.ts';
import { Errno } from '../../shared/errno.ts';
import { compiledTool } from '../support/compiled-tool.ts';
import { scratchDirectory } from './fixtures/scratch.ts';

const withErrno = (errno: number) => expect.objectContaining({ errno });

function fileForTest(): string {
  const path = join(scratchDirectory(), 'file');
  writeFileSync(path, 'content');
  return path;
}

it('status flags are read, and O_NONBLOCK comes and goes', () => {
  const fd = openSync(fileForTest(), constants.O_RDWR | constants.O_APPEND);
  const before = descriptorFlags(fd);
  expect(before & (constants.O_RDWR | constants.O_APPEND)).toBe(constants.O_RDWR | constants.O_APPEND);
  setNonBlocking(fd, true);
  expect(descriptorFlags(fd)).toBe(before | constants.O_NONBLOCK);
  setNonBlocking(fd, false);
  expect(descriptorFlags(fd)).toBe(before);
  closeSync(fd);
});

it('close-on-exec comes and goes', () => {
  const fd = openSync('/dev/null', 'r');
  const flags = () =>
    Number.parseInt(/^flags:\s+(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '', 8);
  setCloseOnExec(fd, false);
  expect(flags() & 0o2000000).toBe(0);
  setCloseOnExec(fd, true);
  expect(flags() & 0o2000000).toBe(0o2000000);
  closeSync(fd);
});

it('a whole-file lock excludes a POSIX lock of another program, even after another descriptor was closed', () => {
  const path = fileForTest();
  const fd = openSync(path, 'r+');
  lockWholeFile(fd, true);
  closeSync(openSync(path, 'r'));
  const program = compiledTool('try-posix-lock');
  const exitStatus = () => spawnSync(program, [path]).status;
  expect(exitStatus()).toBe(1);
  closeSync(fd);
  expect(exitStatus()).toBe(0);
});

it('shared whole-file locks go together, an exclusive one does not join them', () => {
  const path = fileForTest();
  const [a, b, c] = [openSync(path, 'r+'), openSync(path, 'r+'), openSync(path, 'r+')];
  lockWholeFile(a, false);
  lockWholeFile(b, false);
  expect(() => lockWholeFile(c, true)).toThrow(withErrno(Errno.EAGAIN));
  [a, b, c].forEach(closeSync);
});

it('flock is exclusive between open files', () => {
  const path = fileForTest();
  const [a, b] = [openSync(path, 'r'), openSync(path, 'r')];
  flockExclusive(a);
  flockExclusive(a);
  expect(() => flockExclusive(b)).toThrow(withErrno(Errno.EAGAIN));
  closeSync(a);
  flockExclusive(b);
  closeSync(b);
});

it('a descriptor that is not open raises EBADF, except when closing quietly', () => {
  for (const call of [descriptorFlags, flockExclusive]) expect(() => call(9999)).toThrow(withErrno(Errno.EBADF));
  for (const call of [setNonBlocking, setCloseOnExec, lockWholeFile])
    expect(() => call(9999, true)).toThrow(withErrno(Errno.EBADF));
  expect(() => closeQuietly(9999)).not.toThrow();
});
