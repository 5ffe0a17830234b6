import {
  closeSync,
  copyFileSync,
  fdatasyncSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, expect, test } from 'vitest';
import { answer } from '../../ctl/mount-agent.ts';
import { mountFuse4fs } from '../support/fuse4fs-mount.ts';
import { makeImage, withKernelMount } from '../support/kernel-image.ts';
import { TestRoom } from '../support/test-room.ts';
import { e2fsckComplaints } from '../support/writable-image.ts';

/** Mount option lazytime; the kernel's ext4 says which times have reached the disk. */
const room = new TestRoom('lazytime');
afterEach(() => room.reset());
afterAll(() => room.clear());

const FILES = 300;
const OLD_SECONDS = 1_500_000_000;
/** No commit but those that somebody asks for. */
const OPTIONS = 'lazytime,strictatime,commit=0';

const nameOf = (index: number): string => join('directory', `file-${index}`);

/** Many files that were last read and changed long ago, made by the kernel. */
async function imageWithOldFiles(): Promise<string> {
  const image = makeImage(room, 'image', { sizeBytes: 64 * 2 ** 20, mkfs: ['-t', 'ext4'] });
  await withKernelMount(room, image, 'rw', (root) => {
    mkdirSync(join(root, 'directory'));
    for (let index = 0; index < FILES; index++) {
      const path = join(root, nameOf(index));
      writeFileSync(path, 'x'.repeat(8000));
      utimesSync(path, OLD_SECONDS, OLD_SECONDS);
    }
  });
  return image;
}

type Times = readonly [atimeMs: number, mtimeMs: number];

function timesIn(root: string): Times[] {
  return Array.from({ length: FILES }, (_, index) => {
    const { atimeMs, mtimeMs } = statSync(join(root, nameOf(index)));
    return [atimeMs, mtimeMs];
  });
}

/** As the kernel finds them. What is not at home yet, but committed, it replays. */
const onDisk = (image: string): Promise<Times[]> => withKernelMount(room, image, 'ro,noatime', timesIn);

/** The same for what a crash would leave now. */
function afterCrash(image: string): Promise<Times[]> {
  const copy = room.path('crashed');
  copyFileSync(image, copy);
  return withKernelMount(room, copy, 'rw,noatime', timesIn);
}

function journalOf(mountPoint: string): { readonly commits: number; readonly runningBlocks: number } {
  const { dev: deviceNumber } = statSync(mountPoint);
  const told = answer({ verb: 'statistics', mountPoint, deviceNumber, leastBytes: 0 });
  if (!told.ok || told.statistics === null) throw new Error(`no statistics: ${JSON.stringify(told)}`);
  return told.statistics.journal;
}

function withFile(path: string, use: (fd: number) => void): void {
  const fd = openSync(path, 'r+');
  use(fd);
  closeSync(fd);
}

const oldSeconds = (times: readonly number[]): boolean[] => times.map((ms) => ms === OLD_SECONDS * 1000);

test('reading many files changes nothing on the disk until the file system is unmounted', async () => {
  const image = await imageWithOldFiles();
  const mount = await mountFuse4fs(room, image, OPTIONS);
  const root = mount.mountPoint;
  const before = journalOf(root);
  for (let index = 0; index < FILES; index++) readFileSync(join(root, nameOf(index)));
  const seen = timesIn(root);
  expect(seen.filter(([atimeMs]) => atimeMs > OLD_SECONDS * 1000)).toHaveLength(FILES);
  expect(journalOf(root)).toMatchObject({ commits: before.commits, runningBlocks: 0 });
  expect((await afterCrash(image)).every(([atimeMs]) => atimeMs === OLD_SECONDS * 1000)).toBe(true);
  await mount.unmount();
  expect(e2fsckComplaints(image)).toBe('');
  expect(await onDisk(image)).toEqual(seen);
});

test.each(['', ',nowriteback_cache'])('fsync brings times to the disk, and fdatasync does not: %s', async (options) => {
  const image = await imageWithOldFiles();
  const mount = await mountFuse4fs(room, image, OPTIONS + options);
  const [first, other] = [nameOf(0), nameOf(200)].map((name) => join(mount.mountPoint, name));
  withFile(other, (fd) => {
    writeSync(fd, 'other', 0);
    fdatasyncSync(fd);
  });
  expect(oldSeconds((await afterCrash(image))[200])).toEqual([true, true]);
  withFile(first, (fd) => {
    readFileSync(fd);
    writeSync(fd, 'first', 0);
    fsyncSync(fd);
  });
  const seen = timesIn(mount.mountPoint);
  const crashed = await afterCrash(image);
  expect(oldSeconds(crashed[0])).toEqual([false, false]);
  expect(crashed[0]).toEqual(seen[0]);
  expect(oldSeconds(crashed[200])).toEqual([true, true]);
  await mount.unmount();
  expect(e2fsckComplaints(image)).toBe('');
  expect(await onDisk(image)).toEqual(seen);
});
