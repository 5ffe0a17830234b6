import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { expect, it } from 'vitest';
import { createSealedMemfd, readWholeFile } from '../../native/memfd.ts';
import { Errno } from '../../shared/errno.ts';
import { descriptorsLeaked, noise } from './fixtures/scratch.ts';

const withErrno = (errno: number) => expect.objectContaining({ errno });

it('a sealed memfd holds its content, and nobody can write, shrink or grow it', () => {
  const content = noise(100_000, 1);
  const fd = createSealedMemfd('arguments', content);
  expect(readWholeFile(fd, 100_000)).toEqual(content);
  const refused = expect.objectContaining({ code: 'EPERM' });
  expect(() => writeSync(fd, 'x', 0)).toThrow(refused);
  expect(() => ftruncateSync(fd, 10)).toThrow(refused);
  expect(() => ftruncateSync(fd, 200_000)).toThrow(refused);
  const again = openSync(`/proc/self/fd/${fd}`, 'r+');
  expect(() => writeSync(again, 'x', 0)).toThrow(refused);
  closeSync(again);
  closeSync(fd);
});

it('an empty memfd is possible', () => {
  const fd = createSealedMemfd('', new Uint8Array(0));
  expect(readWholeFile(fd, 0)).toEqual(new Uint8Array(0));
  closeSync(fd);
});

it('a name beyond the kernel limit is refused, and nothing leaks', () => {
  expect(
    descriptorsLeaked(100, () => {
      expect(() => createSealedMemfd('x'.repeat(300), noise(10, 1))).toThrow(withErrno(Errno.EINVAL));
      closeSync(createSealedMemfd('fine', noise(10, 1)));
    }),
  ).toBe(0);
});

it('files above the limit, and other file types, are not read', () => {
  const fd = createSealedMemfd('large', new Uint8Array(11));
  expect(() => readWholeFile(fd, 10)).toThrow(withErrno(Errno.E2BIG));
  closeSync(fd);
  const device = openSync('/dev/zero', 'r');
  expect(() => readWholeFile(device, 10)).toThrow(withErrno(Errno.EINVAL));
  closeSync(device);
});
