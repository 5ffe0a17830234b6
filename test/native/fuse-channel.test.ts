import { type ExecFileException, execFile } from 'node:child_process';
import { closeSync, constants, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it, onTestFinished } from 'vitest';
import { addon } from '../../native/addon.ts';
import { directIoAlignment } from '../../native/block-device.ts';
import { cloneFuseDevice, grantIomap, openFuseChannel } from '../../native/fuse-device.ts';
import { putI32ne, putU32ne, putU64ne, viewOf } from '../../shared/bytes.ts';
import { Errno } from '../../shared/errno.ts';
import { type Extent, HandServedMount, type ServedFile } from './fixtures/hand-served-mount.ts';
import { loopForTest } from './fixtures/loop.ts';
import { noise, openDescriptorCount, scratchDirectory } from './fixtures/scratch.ts';

const run = promisify(execFile);
const DEVICE_BYTES = 4 << 20;

interface Device {
  readonly content: Uint8Array;
  readonly fd: number;
  readonly alignment: number;
}

/** A loop device full of noise, opened with O_DIRECT. */
function deviceForTest(): Device {
  const image = join(scratchDirectory(), 'image');
  const content = noise(DEVICE_BYTES, 3);
  writeFileSync(image, content);
  const fd = openSync(loopForTest(image, 0).path, constants.O_RDONLY | constants.O_DIRECT);
  onTestFinished(() => closeSync(fd));
  return { content, fd, alignment: directIoAlignment(fd) };
}

function mountForTest(device: Device, extents: readonly Extent[], options: Partial<ServedFile> = {}): HandServedMount {
  const mount = new HandServedMount(scratchDirectory(), {
    extents,
    deviceFd: device.fd,
    alignment: device.alignment,
    threads: 4,
    directIo: false,
    ...options,
  });
  onTestFinished(() => {
    try {
      mount.close();
    } catch {
      // The test unmounted it.
    }
  });
  return mount;
}

function contentOf(device: Device, extents: readonly Extent[]): Buffer {
  return Buffer.concat(
    extents.map(({ deviceOffset, length }) =>
      deviceOffset === -1 ? new Uint8Array(length) : device.content.subarray(deviceOffset, deviceOffset + length),
    ),
  );
}

/** Reads with a child process: this one has to serve meanwhile. A sanitizer loaded into this one is not for dd. */
async function dd(file: string, ...args: string[]): Promise<Buffer> {
  const { stdout } = await run('dd', [`if=${file}`, 'status=none', ...args], {
    encoding: 'buffer',
    maxBuffer: 1 << 26,
    env: { ...process.env, LD_PRELOAD: '' },
  });
  return stdout;
}

/** Data, holes, unaligned places, neighbours on the device, an end that is no multiple of anything. */
const mixed: Extent[] = [
  { deviceOffset: 65_536, length: 300_000 },
  { deviceOffset: -1, length: 70_001 },
  { deviceOffset: 1_000_003, length: 99_999 },
  { deviceOffset: 1_100_002, length: 50_000 },
  { deviceOffset: -1, length: 4096 },
  { deviceOffset: 0, length: 1_000_000 },
  { deviceOffset: DEVICE_BYTES - 777, length: 777 },
];
const checkerboard: Extent[] = Array.from({ length: 4096 }, (_, i) =>
  i % 2 === 0 ? { deviceOffset: -1, length: 512 } : { deviceOffset: i * 700 + 5, length: 512 },
);

describe('a file system served through the channel and the pump', () => {
  it.each([
    ['through the page cache', mixed, false],
    ['with direct I/O', mixed, true],
    ['in two thousand pieces, with direct I/O', checkerboard, true],
  ])('shows every byte and every hole of a file %s', async (_, extents, directIo) => {
    const device = deviceForTest();
    const mount = mountForTest(device, extents, { directIo });
    const content = contentOf(device, extents);
    for (const blockBytes of ['1M', '4093'])
      expect(Buffer.compare(await dd(mount.file, `bs=${blockBytes}`), content)).toBe(0);
    expect(mount.readsServed).toBeGreaterThan(1);
    expect(mount.ended).toBe(0);
  });

  it('answers reads at any position', async () => {
    const device = deviceForTest();
    const mount = mountForTest(device, mixed, { directIo: true, threads: 1 });
    const content = contentOf(device, mixed);
    for (const [skip, count] of [
      [299_999, 2],
      [299_990, 70_030],
      [369_000, 1001],
      [content.length - 1, 10],
      [content.length, 10],
    ])
      expect(
        Buffer.compare(
          await dd(mount.file, 'bs=1M', 'iflag=skip_bytes,count_bytes,fullblock', `skip=${skip}`, `count=${count}`),
          content.subarray(skip, skip + count),
        ),
      ).toBe(0);
  });

  it('serves many readers at once', async () => {
    const device = deviceForTest();
    const mount = mountForTest(device, mixed, { directIo: true });
    const content = contentOf(device, mixed);
    const outputs = await Promise.all(Array.from({ length: 8 }, () => dd(mount.file, 'bs=64k')));
    for (const output of outputs) expect(Buffer.compare(output, content)).toBe(0);
    await expect.poll(() => mount.pump.inFlight).toBe(0);
  });

  it('shows a device error to the reader, and goes on', async () => {
    const device = deviceForTest();
    const mount = mountForTest(device, [
      { deviceOffset: 0, length: 65_536 },
      { deviceOffset: DEVICE_BYTES, length: 65_536 },
    ]);
    const failure = await dd(mount.file, 'bs=64k', 'skip=1').catch((error: ExecFileException) => error);
    expect(failure).toMatchObject({ code: 1 });
    expect(String(Reflect.get(failure, 'stderr'))).toMatch(/Input\/output error/);
    const first = await dd(mount.file, 'bs=64k', 'count=1', 'iflag=fullblock');
    expect(Buffer.compare(first, device.content.subarray(0, 65_536))).toBe(0);
  });

  it('ends with an error from the channel when it is unmounted', async () => {
    const device = deviceForTest();
    const mount = mountForTest(device, mixed);
    await run('stat', [mount.file]);
    mount.unmount();
    await expect.poll(() => mount.ended).not.toBe(0);
    expect([Errno.ENODEV, Errno.EBADF]).toContain(mount.ended);
  });

  it('drops replies that nobody waits for, and reports malformed ones', async () => {
    const device = deviceForTest();
    const mount = mountForTest(device, mixed);
    await run('stat', [mount.file]);
    const reply = viewOf(mount.channel.reply);
    putU32ne(reply, 0, 16);
    putI32ne(reply, 4, -Errno.EIO);
    putU64ne(reply, 8, 0x7777_7776);
    expect(mount.channel.exchange(16, 0)).toBe(0);
    expect(mount.channel.exchange(8, 0)).toBe(-Errno.EINVAL);
    mount.pump.replyRead(0x7777_7776, 0, new Float64Array([0, 4096]), 1);
    expect(Buffer.compare(await dd(mount.file, 'bs=1M'), contentOf(device, mixed))).toBe(0);
  });

  it('can notify the kernel beside the exchange', async () => {
    const device = deviceForTest();
    const mount = mountForTest(device, mixed);
    await run('stat', [mount.file]);
    const invalidate = (inode: number) => {
      const message = new Uint8Array(40);
      putU32ne(viewOf(message), 0, 40);
      putI32ne(viewOf(message), 4, 2); // FUSE_NOTIFY_INVAL_INODE, with unique 0
      putU64ne(viewOf(message), 16, inode);
      return mount.channel.send(message, 40);
    };
    expect(invalidate(2)).toBe(0);
    expect(invalidate(999)).toBe(-Errno.ENOENT);
  });

  it('leaves no descriptor behind', async () => {
    const device = deviceForTest();
    const before = openDescriptorCount();
    for (let i = 0; i < 10; i++) {
      const mount = mountForTest(device, mixed);
      await run('stat', [mount.file]);
      mount.close();
    }
    expect(openDescriptorCount()).toBe(before);
  });
});

describe('the channel', () => {
  const openChannel = () => openFuseChannel(openSync('/dev/fuse', constants.O_RDWR), 65_536, 4096, 0);

  it('places the payload of a WRITE on a page', () => {
    const image = join(scratchDirectory(), 'image');
    writeFileSync(image, new Uint8Array(65_536));
    const direct = openSync(loopForTest(image, 0).path, constants.O_RDWR | constants.O_DIRECT);
    const channel = openChannel();
    onTestFinished(() => closeSync(direct));
    expect(channel.requests[0].length).toBe(65_536);
    expect(addon.writeAt(direct, 0, channel.requests[0].subarray(80, 80 + 4096))).toBe(0);
    expect(addon.writeAt(direct, 0, channel.requests[0].subarray(81, 81 + 4096))).toBe(-Errno.EINVAL);
    expect(addon.writeAt(direct, 0, channel.reply)).toBe(0);
    channel.close();
  });

  it('answers EBADF once it is closed, and can be closed twice', () => {
    const channel = openChannel();
    channel.close();
    channel.close();
    expect(channel.exchange(0, 0)).toBe(-Errno.EBADF);
    expect(channel.exchange(16, 0)).toBe(-Errno.EBADF);
    expect(channel.send(new Uint8Array(16), 16)).toBe(-Errno.EBADF);
    const errnos: number[] = [];
    channel.start((errno) => errnos.push(errno));
    expect(errnos).toEqual([Errno.EBADF]);
  });

  it('keeps its buffers for whoever still holds them', () => {
    setFlagsFromString('--expose-gc');
    const collect: unknown = runInNewContext('gc');
    if (typeof collect !== 'function') throw new Error('no collector');
    const { request, reply } = (() => {
      const channel = openChannel();
      channel.close();
      return { request: channel.requests[0], reply: channel.reply };
    })();
    collect();
    request.fill(1);
    reply.fill(2);
    collect();
    expect(request.every((byte) => byte === 1) && reply.every((byte) => byte === 2)).toBe(true);
  });

  it('reports an unmounted descriptor', async () => {
    const channel = openChannel();
    expect(channel.exchange(0, 0)).toBe(-Errno.EPERM);
    expect(await new Promise((seen) => channel.start(seen))).toBe(Errno.EBADF);
    expect(() => channel.start(() => {})).toThrow(/started before/);
    channel.close();
  });

  it('reports a descriptor that cannot be polled, and refuses one that is not open', () => {
    const channel = openFuseChannel(openSync('/etc/passwd', 'r'), 65_536, 4096, 0);
    const errnos: number[] = [];
    channel.start((errno) => errnos.push(errno));
    expect(errnos).toEqual([Errno.EPERM]);
    channel.close();
    expect(() => openFuseChannel(9999, 65_536, 4096, 0)).toThrow(expect.objectContaining({ errno: Errno.EBADF }));
  });

  it('can be cloned from a mounted one, and from nothing else', () => {
    const device = deviceForTest();
    const mount = mountForTest(device, mixed);
    const fd = openSync('/dev/fuse', constants.O_RDWR);
    onTestFinished(() => closeSync(fd));
    for (const other of [9999, device.fd])
      expect(() => cloneFuseDevice(fd, other)).toThrow(expect.objectContaining({ errno: Errno.EINVAL }));
    cloneFuseDevice(fd, mount.fd);
    expect(() => cloneFuseDevice(fd, mount.fd)).toThrow(expect.objectContaining({ errno: Errno.EINVAL }));
  });

  it('knows whether the kernel has iomap', () => {
    const fd = openSync('/dev/fuse', constants.O_RDWR);
    onTestFinished(() => closeSync(fd));
    const support = addon.fuseIomapSupport(fd);
    if (grantIomap(fd)) expect(support).toBeGreaterThanOrEqual(0);
    else expect([-Errno.ENOTTY, -Errno.EOPNOTSUPP, 0]).toContain(support);
  });
});
