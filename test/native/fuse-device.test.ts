import { closeSync, constants, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { addon } from '../../native/addon.ts';
import { FuseDevice, openFuseChannel } from '../../native/fuse-device.ts';
import { socketPair } from '../../native/seqpacket.ts';
import { Errno } from '../../shared/errno.ts';
import { HandServedMount } from './fixtures/hand-served-mount.ts';
import { loopForTest } from './fixtures/loop.ts';
import { scratchDirectory } from './fixtures/scratch.ts';

function unmountedDescriptor(): number {
  const fd = openSync('/dev/fuse', constants.O_RDWR);
  onTestFinished(() => closeSync(fd));
  return fd;
}

function mountForTest(): HandServedMount {
  const served = { extents: [], deviceFd: 0, alignment: 1, threads: 1, directIo: false };
  const mount = new HandServedMount(scratchDirectory(), served);
  onTestFinished(() => mount.close());
  return mount;
}

/** The running kernel is a released one: it has BACKING_OPEN and BACKING_CLOSE, and nothing of iomap. */
describe('a fuse descriptor on a kernel without iomap', () => {
  it('knows none of the ioctls of iomap, mounted or not', () => {
    const mount = mountForTest();
    for (const fd of [unmountedDescriptor(), mount.fd]) {
      const device = new FuseDevice(fd);
      expect(addon.fuseIomapSupport(fd)).toBe(-Errno.ENOTTY);
      expect(device.iomapSupport()).toBe(0);
      expect(addon.fuseIomapGrant(fd)).toBe(-Errno.ENOTTY);
      expect(device.setBlockSize(1, 4096)).toBe(-Errno.ENOTTY);
      expect(device.setNofs(true)).toBe(-Errno.ENOTTY);
      expect(device.setNofs(false)).toBe(-Errno.ENOTTY);
      expect(device.probeStriping()).toBe(Errno.ENOTTY);
    }
  });

  it('registers no device for iomap', () => {
    const image = join(scratchDirectory(), 'image');
    writeFileSync(image, new Uint8Array(2 ** 20));
    const loop = loopForTest(image, 0);
    const mount = mountForTest();
    expect(new FuseDevice(unmountedDescriptor()).backingOpen(loop.fd)).toBe(-Errno.EPERM);
    expect([-Errno.EINVAL, -Errno.EPERM]).toContain(new FuseDevice(mount.fd).backingOpen(loop.fd));
    expect([-Errno.ENOENT, -Errno.EPERM]).toContain(new FuseDevice(mount.fd).backingClose(1));
  });

  it('refuses messages about mappings, by their code or because nothing is mounted', () => {
    const mount = mountForTest();
    const message = new Uint8Array(96);
    message[0] = 96;
    message[4] = 100;
    expect(new FuseDevice(mount.fd).notifyNow(message, 96)).toBe(Errno.EINVAL);
    expect(new FuseDevice(unmountedDescriptor()).notifyNow(message, 96)).toBe(Errno.EPERM);
  });
});

describe('a socket in the place of a fuse descriptor', () => {
  it('ends as an unmounted file system does', () => {
    const [ours, theirs] = socketPair();
    const channel = openFuseChannel(ours, 65_536, 4096, 0);
    onTestFinished(() => channel.close());
    expect(channel.exchange(0, 0)).toBe(0);
    closeSync(theirs);
    expect(channel.exchange(0, 0)).toBe(-Errno.ENODEV);
  });
});
