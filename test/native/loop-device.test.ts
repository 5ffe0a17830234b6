import { closeSync, constants, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { deviceSizeBytes } from '../../native/block-device.ts';
import { configureLoop, findFreeLoop, LoopFlag, removeLoop } from '../../native/loop-device.ts';
import { Errno } from '../../shared/errno.ts';
import { attachLoop, loopForTest } from './fixtures/loop.ts';
import { openDescriptorCount, scratchDirectory } from './fixtures/scratch.ts';

function imageForTest(bytes = 65_536): string {
  const path = join(scratchDirectory(), 'disk image');
  writeFileSync(path, new Uint8Array(bytes).fill(0x33));
  return path;
}

/** A file below /sys/block of the loop device, null when absent: `loop/` exists only while it is configured. */
function attribute(index: number, name: string): string | null {
  try {
    return readFileSync(`/sys/block/loop${index}/${name}`, 'utf8').trim();
  } catch {
    return null;
  }
}

const withErrno = (errno: number) => expect.objectContaining({ errno });

describe('a loop device', () => {
  it('shows the file, and clears itself at the last close', () => {
    const image = imageForTest();
    const loop = attachLoop(image, LoopFlag.DIRECT_IO);
    expect(deviceSizeBytes(loop.fd)).toBe(65_536);
    expect(attribute(loop.index, 'loop/autoclear')).toBe('1');
    expect(attribute(loop.index, 'loop/backing_file')).toBe(image);
    expect(attribute(loop.index, 'ro')).toBe('0');
    closeSync(loop.fd);
    expect(attribute(loop.index, 'loop/backing_file')).not.toBe(image);
  });

  it('can be read-only', () => {
    const loop = loopForTest(imageForTest(), LoopFlag.READ_ONLY);
    expect(attribute(loop.index, 'ro')).toBe('1');
  });

  it.each([512, 4096])('can have blocks of %i bytes', (bytes) => {
    const loop = loopForTest(imageForTest(), 0, bytes);
    expect(attribute(loop.index, 'queue/logical_block_size')).toBe(String(bytes));
  });

  it('refuses unknown flags, odd block sizes, and a second file', () => {
    const image = imageForTest();
    expect(() => attachLoop(image, 1 << 20)).toThrow(withErrno(Errno.EINVAL));
    expect(() => attachLoop(image, 0, 1000)).toThrow(withErrno(Errno.EINVAL));
    const loop = loopForTest(image, 0);
    const file = openSync(image, 'r+');
    expect(() => configureLoop(loop.fd, file, 0, LoopFlag.AUTOCLEAR, image)).toThrow(withErrno(Errno.EBUSY));
    closeSync(file);
  });

  it('takes a file name of any length', () => {
    const image = imageForTest();
    const control = openSync('/dev/loop-control', constants.O_RDWR);
    const file = openSync(image, 'r');
    const fd = openSync(`/dev/loop${findFreeLoop(control)}`, 'r');
    onTestFinished(() => [control, file, fd].forEach(closeSync));
    expect(() =>
      configureLoop(fd, file, 0, LoopFlag.AUTOCLEAR | LoopFlag.READ_ONLY, '/long'.repeat(1000)),
    ).not.toThrow();
  });

  it('in use is not removed', () => {
    const loop = loopForTest(imageForTest(), 0);
    const control = openSync('/dev/loop-control', constants.O_RDWR);
    onTestFinished(() => closeSync(control));
    expect(() => removeLoop(control, loop.index)).toThrow(withErrno(Errno.EBUSY));
  });

  it('leaks no descriptor on success or failure', () => {
    const image = imageForTest();
    const before = openDescriptorCount();
    for (let i = 0; i < 20; i++) {
      closeSync(attachLoop(image, 0).fd);
      expect(() => attachLoop(image, 1 << 20)).toThrow();
    }
    expect(openDescriptorCount()).toBe(before);
  });
});

it('a descriptor that is no loop device is refused', () => {
  const fd = openSync('/dev/null', 'r');
  onTestFinished(() => closeSync(fd));
  expect(() => findFreeLoop(fd)).toThrow(withErrno(Errno.ENOTTY));
  expect(() => configureLoop(fd, fd, 0, 0, '')).toThrow(withErrno(Errno.ENOTTY));
});
