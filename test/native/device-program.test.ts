import { closeSync, constants, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { addon } from '../../native/addon.ts';
import { alignedBuffer, NativeWritableBlockDevice, type ProgramStep } from '../../native/writable-block-device.ts';
import { Errno } from '../../shared/errno.ts';
import { loopForTest } from './fixtures/loop.ts';
import { descriptorsLeaked, noise, scratchDirectory } from './fixtures/scratch.ts';

const IMAGE_BYTES = 1024 * 1024;

function imageForTest(): string {
  const path = join(scratchDirectory(), 'image');
  writeFileSync(path, noise(IMAGE_BYTES, 7));
  return path;
}

function openForTest(path: string, direct: boolean, startBytes = 0): NativeWritableBlockDevice {
  const fd = openSync(path, constants.O_RDWR);
  if (!direct) return closedAtEnd(new NativeWritableBlockDevice(fd, startBytes, -1));
  const directFd = openSync(path, constants.O_RDWR | constants.O_DIRECT);
  const device = new NativeWritableBlockDevice(fd, startBytes, directFd);
  closeSync(directFd);
  return closedAtEnd(device);
}

function closedAtEnd(device: NativeWritableBlockDevice): NativeWritableBlockDevice {
  onTestFinished(() => device.close());
  return device;
}

const completion = (device: NativeWritableBlockDevice, steps: readonly ProgramStep[]) =>
  new Promise<number>((done) => {
    device.run(steps, done);
  });

const write = (offsetBytes: number, bytes: Uint8Array, durable = false): ProgramStep => ({
  kind: 'write',
  offsetBytes,
  bytes,
  durable,
});

function alignedNoise(length: number, seed: number): Uint8Array {
  const bytes = alignedBuffer(length);
  bytes.set(noise(length, seed));
  return bytes;
}

const bytesOf = (path: string, at: number, length: number): Uint8Array =>
  new Uint8Array(readFileSync(path)).subarray(at, at + length);

it('has given the device what it wrote when it ends, also where there is no direct I/O', async () => {
  const loop = loopForTest(imageForTest(), 0);
  const device = openForTest(loop.path, false);
  const sectorsWritten = () => Number(readFileSync(`/sys/block/loop${loop.index}/stat`, 'utf8').trim().split(/\s+/)[6]);
  const before = sectorsWritten();
  expect(await completion(device, [write(8192, alignedNoise(16_384, 1))])).toBe(0);
  expect(sectorsWritten() - before).toBe(32);
});

describe.each([false, true])('a program for an image file, direct I/O %s', (direct) => {
  it('writes aligned and unaligned bytes, durable ones too, and what it wrote is read at once', async () => {
    const path = imageForTest();
    const device = openForTest(path, direct);
    const aligned = alignedNoise(65_536, 1);
    const durable = alignedNoise(4096, 2);
    const unaligned = noise(1000, 3);
    const before = new Uint8Array(65_536);
    expect(device.read(8192, before)).toBe(0);
    const steps = [write(8192, aligned), write(77_777, unaligned), { kind: 'flush' } as const, write(0, durable, true)];
    expect(await completion(device, [...steps, write(500_001, unaligned, true)])).toBe(0);
    const into = new Uint8Array(65_536);
    expect(device.read(8192, into)).toBe(0);
    expect(into).toEqual(Uint8Array.from(aligned));
    expect(bytesOf(path, 77_777, 1000)).toEqual(unaligned);
    expect(bytesOf(path, 500_001, 1000)).toEqual(unaligned);
    expect(bytesOf(path, 0, 4096)).toEqual(Uint8Array.from(durable));
  });

  it('is waited for, and then its end is reported once, before the wait returns', async () => {
    const device = openForTest(imageForTest(), direct);
    const ends: number[] = [];
    const program = device.run([write(0, alignedNoise(4096, 1)), { kind: 'flush' }], (errno) => ends.push(errno));
    device.wait(program);
    expect(ends).toEqual([0]);
    device.wait(program);
    // Callbacks come in order, so those of the first program would have come before this one.
    expect(await completion(device, [])).toBe(0);
    expect(ends).toEqual([0]);
  });

  it('ends with the first step that fails', async () => {
    const path = imageForTest();
    const fd = openSync(path, constants.O_RDONLY);
    const device = closedAtEnd(new NativeWritableBlockDevice(fd, 0, -1));
    expect(await completion(device, [{ kind: 'flush' }, write(0, alignedNoise(4096, 1)), { kind: 'flush' }])).toBe(
      Errno.EBADF,
    );
    expect(device.write(0, new Uint8Array(1))).toBe(Errno.EBADF);
    expect(bytesOf(path, 0, 4096)).toEqual(noise(IMAGE_BYTES, 7).subarray(0, 4096));
  });

  it('counts its offsets from the start of the file system', async () => {
    const path = imageForTest();
    const device = openForTest(path, direct, 4096);
    const bytes = alignedNoise(4096, 9);
    expect(await completion(device, [write(4096, bytes)])).toBe(0);
    expect(device.write(16_384, noise(10, 4))).toBe(0);
    expect(device.flush()).toBe(0);
    expect(bytesOf(path, 8192, 4096)).toEqual(Uint8Array.from(bytes));
    expect(bytesOf(path, 20_480, 10)).toEqual(noise(10, 4));
  });
});

describe('programs', () => {
  it('run beside each other, hundreds of them, each with its own answer', async () => {
    const path = imageForTest();
    const device = openForTest(path, true);
    const blocks = Array.from({ length: 200 }, (_, index) => alignedNoise(4096, index));
    const ends = await Promise.all(blocks.map((bytes, index) => completion(device, [write(index * 4096, bytes)])));
    expect(ends).toEqual(blocks.map(() => 0));
    expect(Buffer.compare(bytesOf(path, 0, 200 * 4096), Buffer.concat(blocks))).toBe(0);
  });

  it('discard makes a hole in an image file', async () => {
    const path = imageForTest();
    const device = openForTest(path, true);
    const errno = await new Promise<number>((done) => {
      device.discard(8192, 4096, done);
    });
    expect(errno).toBe(0);
    expect(bytesOf(path, 8192, 4096)).toEqual(new Uint8Array(4096));
    expect(bytesOf(path, 12_288, 10)).toEqual(noise(IMAGE_BYTES, 7).subarray(12_288, 12_298));
  });

  it('of a block device are written past and through its cache', async () => {
    const path = imageForTest();
    const loop = loopForTest(path, 0);
    const device = openForTest(loop.path, true);
    const bytes = alignedNoise(8192, 5);
    const into = new Uint8Array(8192);
    expect(device.read(4096, into)).toBe(0);
    expect(await completion(device, [write(4096, bytes, true), write(100, noise(50, 1)), { kind: 'flush' }])).toBe(0);
    expect(device.read(4096, into)).toBe(0);
    expect(into).toEqual(Uint8Array.from(bytes));
    expect(bytesOf(path, 4096, 8192)).toEqual(Uint8Array.from(bytes));
    expect(bytesOf(path, 100, 50)).toEqual(noise(50, 1));
  });

  it('are all ended by closing the device, which leaks no descriptors', () => {
    const path = imageForTest();
    let ended = 0;
    const leaked = descriptorsLeaked(5, () => {
      const fd = openSync(path, constants.O_RDWR);
      const directFd = openSync(path, constants.O_RDWR | constants.O_DIRECT);
      const device = new NativeWritableBlockDevice(fd, 0, directFd);
      closeSync(directFd);
      for (let index = 0; index < 20; index++) {
        device.run([write(index * 4096, alignedNoise(4096, index)), { kind: 'flush' }], () => ended++);
      }
      device.close();
    });
    expect(leaked).toBe(0);
    expect(ended).toBe(120);
  });

  it('refuse arguments that make no sense', () => {
    const path = imageForTest();
    const fd = openSync(path, constants.O_RDWR);
    onTestFinished(() => closeSync(fd));
    const raw = new addon.DevicePrograms(fd, -1, 1, 2, () => {});
    expect(() => raw.run(Float64Array.of(9, 0, 0), [])).toThrow(TypeError);
    expect(() => raw.run(Float64Array.of(0, 0, 0), [])).toThrow(TypeError);
    expect(() => raw.run(Float64Array.of(2, 0), [])).toThrow(TypeError);
    expect(() => raw.run(Float64Array.of(0, -1, 0), [new Uint8Array(1)])).toThrow(TypeError);
    expect(raw.wait(5)).toBe(-1);
    raw.close();
    expect(() => raw.run(Float64Array.of(2, 0, 0), [])).toThrow('closed');
    expect(() => new addon.DevicePrograms(fd, -1, 3, 2, () => {})).toThrow(TypeError);
  });
});

describe('the page cache', () => {
  it('gets whatever shares a page with something else, as it would bring back what it had read of that', async () => {
    const buffered = imageForTest();
    const direct = imageForTest();
    const directFd = openSync(direct, constants.O_RDWR | constants.O_DIRECT);
    const device = closedAtEnd(new NativeWritableBlockDevice(openSync(buffered, constants.O_RDWR), 0, directFd));
    closeSync(directFd);
    const part = alignedNoise(1024, 1);
    const page = alignedNoise(4096, 2);
    expect(await completion(device, [write(1024, part), write(8192, page)])).toBe(0);
    expect(bytesOf(buffered, 1024, 1024)).toEqual(part);
    expect(bytesOf(direct, 8192, 4096)).toEqual(page);
  });
});
