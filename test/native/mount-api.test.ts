import { closeSync, mkdirSync, openSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  attachMount,
  contextMessages,
  createSuperblock,
  detachedMount,
  openContext,
  pinPath,
  setContextFlag,
  setContextString,
  UnmountFlag,
  unmount,
} from '../../native/mount-api.ts';
import { Errno } from '../../shared/errno.ts';
import { openDescriptorCount, scratchDirectory } from './fixtures/scratch.ts';

const withErrno = (errno: number) => expect.objectContaining({ errno });
/** MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV (linux/mount.h). */
const NOSUID_NODEV = 2 | 4;

function mountPoint(): string {
  const path = join(scratchDirectory(), 'mount');
  mkdirSync(path);
  return path;
}

/** The line of /proc/self/mountinfo for a mount point, or undefined. */
function mountInfo(path: string): string | undefined {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((line) => line.split(' ')[4] === path);
}

function mountTmpfs(target: string): void {
  const context = openContext('tmpfs');
  setContextString(context, 'source', 'a test');
  setContextString(context, 'size', '1m');
  setContextFlag(context, 'ro');
  createSuperblock(context);
  const detached = detachedMount(context, NOSUID_NODEV);
  const pinned = pinPath(target);
  attachMount(detached, pinned);
  [context, detached, pinned].forEach(closeSync);
}

describe('the mount API', () => {
  it('mounts a tmpfs with source, options and attributes, and takes it away', () => {
    const target = mountPoint();
    mountTmpfs(target);
    const line = mountInfo(target);
    expect(line).toMatch(/nosuid,nodev.* - tmpfs a\\040test ro,size=1024k/);
    expect(() => writeFileSync(join(target, 'x'), 'x')).toThrow(expect.objectContaining({ code: 'EROFS' }));
    unmount(target, UnmountFlag.NOFOLLOW);
    expect(mountInfo(target)).toBeUndefined();
  });

  it('passes on what the kernel has to say about a wrong option', () => {
    const context = openContext('tmpfs');
    expect(contextMessages(context)).toEqual([]);
    expect(() => setContextString(context, 'nonsense', '1')).toThrow(withErrno(Errno.EINVAL));
    expect(contextMessages(context)).toEqual([expect.stringMatching(/^e tmpfs: Unknown parameter 'nonsense'$/)]);
    expect(contextMessages(context)).toEqual([]);
    closeSync(context);
  });

  it('refuses unknown types, steps out of order and descriptors of other kinds', () => {
    expect(() => openContext('no-such-fs')).toThrow(withErrno(Errno.ENODEV));
    const context = openContext('tmpfs');
    expect(() => detachedMount(context, 0)).toThrow(withErrno(Errno.EINVAL));
    closeSync(context);
    const file = openSync('/dev/null', 'r');
    expect(() => createSuperblock(file)).toThrow(withErrno(Errno.EINVAL));
    expect(() => attachMount(file, file)).toThrow();
    expect(contextMessages(file)).toEqual([]);
    closeSync(file);
  });

  it('leaks no descriptor', () => {
    const target = mountPoint();
    const before = openDescriptorCount();
    for (let i = 0; i < 20; i++) {
      mountTmpfs(target);
      unmount(target, 0);
      expect(() => openContext('no-such-fs')).toThrow();
      expect(() => pinPath('/no/such/path')).toThrow(withErrno(Errno.ENOENT));
    }
    expect(openDescriptorCount()).toBe(before);
  });
});

describe('umount2', () => {
  it('detaches a busy mount lazily', () => {
    const target = mountPoint();
    mountTmpfs(target);
    const busy = openSync(target, 'r');
    expect(() => unmount(target, 0)).toThrow(withErrno(Errno.EBUSY));
    unmount(target, UnmountFlag.DETACH);
    expect(mountInfo(target)).toBeUndefined();
    closeSync(busy);
  });

  it('says what was not mounted', () => {
    expect(() => unmount('/no/such/path', 0)).toThrow(withErrno(Errno.ENOENT));
    expect(() => unmount(mountPoint(), 0)).toThrow(withErrno(Errno.EINVAL));
  });
});

it('a pinned path is the link itself, not what it points to', () => {
  const link = join(scratchDirectory(), 'link');
  symlinkSync('/', link);
  const pinned = pinPath(link);
  onTestFinished(() => closeSync(pinned));
  expect(readFileSync(`/proc/self/fdinfo/${pinned}`, 'utf8')).toMatch(/^flags:\s+0?1\d{7}$/m); // O_PATH
});
