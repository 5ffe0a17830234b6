import { closeSync, constants, ftruncateSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { addon } from '../../native/addon.ts';
import {
  deviceSizeBytes,
  directIoAlignment,
  NativeBlockDevice,
  setDeviceBlockSize,
} from '../../native/block-device.ts';
import { Errno } from '../../shared/errno.ts';
import { loopForTest } from './fixtures/loop.ts';
import { descriptorsLeaked, noise, scratchDirectory } from './fixtures/scratch.ts';

const IMAGE_BYTES = 1024 * 1024;

function imageForTest(bytes = IMAGE_BYTES): { path: string; content: Uint8Array } {
  const path = join(scratchDirectory(), 'image');
  const content = noise(bytes, 7);
  writeFileSync(path, content);
  return { path, content };
}

function open(path: string, flags: number): number {
  const fd = openSync(path, flags);
  onTestFinished(() => closeSync(fd));
  return fd;
}

const completion = (start: (done: (errno: number) => void) => void) => new Promise<number>((done) => start(done));

describe('an image file', () => {
  it('is read and written at any position', () => {
    const { path, content } = imageForTest();
    const fd = open(path, constants.O_RDWR);
    const into = new Uint8Array(5000);
    expect(addon.readAt(fd, 12_345, into)).toBe(0);
    expect(into).toEqual(content.subarray(12_345, 17_345));
    expect(addon.writeAt(fd, 99, into)).toBe(0);
    expect(new Uint8Array(readFileSync(path)).subarray(99, 5099)).toEqual(into);
    expect(addon.readAt(fd, 0, new Uint8Array(0))).toBe(0);
  });

  it('that ends too early is an I/O error', () => {
    const { path } = imageForTest(1000);
    const fd = open(path, constants.O_RDONLY);
    expect(addon.readAt(fd, 999, new Uint8Array(1))).toBe(0);
    expect(addon.readAt(fd, 999, new Uint8Array(2))).toBe(-Errno.EIO);
    expect(addon.readAt(fd, 2 ** 50, new Uint8Array(1))).toBe(-Errno.EIO);
    expect(addon.writeAt(fd, 0, new Uint8Array(1))).toBe(-Errno.EBADF);
  });

  it('works beyond 4 GiB', () => {
    const { path } = imageForTest(0);
    const fd = open(path, constants.O_RDWR);
    ftruncateSync(fd, 2 ** 40);
    const bytes = noise(100, 3);
    const into = new Uint8Array(100);
    expect(addon.writeAt(fd, 2 ** 39 + 1, bytes)).toBe(0);
    expect(addon.readAt(fd, 2 ** 39 + 1, into)).toBe(0);
    expect(into).toEqual(bytes);
  });

  it('is a BlockDevice, from a start offset on', () => {
    const { path, content } = imageForTest();
    const device = new NativeBlockDevice(openSync(path, 'r'), 4096);
    const into = new Uint8Array(512);
    device.readAhead(0, IMAGE_BYTES);
    expect(device.sizeBytes).toBe(IMAGE_BYTES - 4096);
    expect(device.read(512, into)).toBe(0);
    expect(into).toEqual(content.subarray(4608, 5120));
    expect(device.read(IMAGE_BYTES - 4096, into)).toBe(Errno.EIO);
    device.close();
  });

  it('is no block device', () => {
    const fd = open(imageForTest().path, constants.O_RDWR);
    expect(addon.blockDeviceSize(fd)).toBe(-Errno.ENOTTY);
    expect(deviceSizeBytes(fd)).toBe(IMAGE_BYTES);
    expect(() => setDeviceBlockSize(fd, 4096)).toThrow(expect.objectContaining({ errno: Errno.ENOTTY }));
  });

  it('can be flushed and have ranges discarded', async () => {
    const { path } = imageForTest();
    const fd = open(path, constants.O_RDWR);
    expect(await completion((done) => addon.flushDevice(fd, done))).toBe(0);
    const blocksBefore = statSync(path).blocks;
    expect(await completion((done) => addon.discardRange(fd, 65_536, 131_072, done))).toBe(0);
    expect(
      readFileSync(path)
        .subarray(65_536, 65_536 + 131_072)
        .every((byte) => byte === 0),
    ).toBe(true);
    expect(statSync(path).size).toBe(IMAGE_BYTES);
    expect(statSync(path).blocks).toBeLessThan(blocksBefore);
  });

  it('may be closed while a flush or discard is under way, and its number be given away', async () => {
    const { path } = imageForTest();
    const fd = openSync(path, 'r+');
    const flushed = completion((done) => addon.flushDevice(fd, done));
    const discarded = completion((done) => addon.discardRange(fd, 0, 4096, done));
    closeSync(fd);
    open('/dev/null', constants.O_RDONLY);
    expect(await flushed).toBe(0);
    expect(await discarded).toBe(0);
    expect(
      readFileSync(path)
        .subarray(0, 4096)
        .every((byte) => byte === 0),
    ).toBe(true);
  });

  it('reports what went wrong with a flush or discard', async () => {
    expect(await completion((done) => addon.flushDevice(9999, done))).toBe(Errno.EBADF);
    const readOnly = open(imageForTest().path, constants.O_RDONLY);
    expect(await completion((done) => addon.discardRange(readOnly, 0, 4096, done))).toBe(Errno.EBADF);
  });
});

describe('a loop device', () => {
  it('tells its size and alignment', () => {
    const { path } = imageForTest();
    const loop = loopForTest(path, 0);
    expect(deviceSizeBytes(loop.fd)).toBe(IMAGE_BYTES);
    const alignment = directIoAlignment(open(loop.path, constants.O_RDWR | constants.O_DIRECT));
    expect([512, 1024, 2048, 4096]).toContain(alignment);
  });

  it('is read and written with O_DIRECT from aligned memory', async () => {
    const { path, content } = imageForTest();
    const loop = loopForTest(path, 0);
    const direct = open(loop.path, constants.O_RDWR | constants.O_DIRECT);
    const alignment = directIoAlignment(direct);
    const memory = addon.alignedBuffer(8192);
    expect(memory.length).toBe(8192);
    expect(memory.every((byte) => byte === 0)).toBe(true);
    expect(addon.readAt(direct, alignment, memory)).toBe(0);
    expect(memory).toEqual(content.subarray(alignment, alignment + 8192));
    memory.fill(0x5a);
    expect(addon.writeAt(direct, 65_536, memory)).toBe(0);
    expect(await completion((done) => addon.flushDevice(direct, done))).toBe(0);
    const into = new Uint8Array(8192);
    expect(addon.readAt(direct, 65_536, addon.alignedBuffer(4096))).toBe(0);
    expect(addon.readAt(open(path, constants.O_RDONLY), 65_536, into)).toBe(0);
    expect(into).toEqual(memory);
    expect(addon.readAt(direct, alignment + 1, memory)).toBe(-Errno.EINVAL);
  });

  it('discards ranges of its file', async () => {
    const { path } = imageForTest();
    const loop = loopForTest(path, 0);
    expect(await completion((done) => addon.discardRange(loop.fd, 65_536, 65_536, done))).toBe(0);
    expect(
      readFileSync(path)
        .subarray(65_536, 131_072)
        .every((byte) => byte === 0),
    ).toBe(true);
  });

  it('takes another block size', () => {
    const loop = loopForTest(imageForTest().path, 0);
    expect(() => setDeviceBlockSize(loop.fd, 1024)).not.toThrow();
    expect(() => setDeviceBlockSize(loop.fd, 1000)).toThrow(expect.objectContaining({ errno: Errno.EINVAL }));
  });
});

it('no path leaks a descriptor', () => {
  const { path } = imageForTest();
  expect(
    descriptorsLeaked(100, () => {
      const device = new NativeBlockDevice(openSync(path, 'r'), 0);
      device.read(0, new Uint8Array(10));
      device.read(IMAGE_BYTES, new Uint8Array(10));
      device.close();
      expect(() => directIoAlignment(9999)).toThrow(expect.objectContaining({ errno: Errno.EBADF }));
    }),
  ).toBe(0);
});
