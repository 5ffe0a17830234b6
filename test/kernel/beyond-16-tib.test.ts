import { readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import type { Inode } from '../../service/ext4/inode.ts';
import { FileBlockDevice } from '../support/file-block-device.ts';
import { withKernelMount } from '../support/kernel-image.ts';
import { run, TestRoom } from '../support/test-room.ts';
import { bytesOf, e2fsckComplaints, openWritable } from '../support/writable-image.ts';

/** Blocks whose numbers need more than 32 bits: e2fsck and the kernel must find everything that lies in them. */
const room = new TestRoom('beyond-16-tib');
afterAll(() => room.clear());

const BLOCK_BYTES = 4096;
const FIRST_FAR_BLOCK = 2 ** 32;
const DIRECTORIES_MAX = 2000;
const PIECES = 700;

/** No disk file system holds a file of that size. */
function makeHugeImage(): string {
  const place = room.mountPoint();
  run('mount', ['-t', 'tmpfs', '-o', 'size=1g', 'tmpfs', place]);
  const image = join(place, 'image');
  run('truncate', ['-s', '17T', image]);
  const features = ['-O', '64bit,^resize_inode,sparse_super2', '-E', 'lazy_itable_init=1', '-J', 'size=8'];
  run('mke2fs', ['-q', '-F', '-t', 'ext4', '-N', '3000000', ...features, image]);
  return image;
}

test('beyond 16 TiB lies what belongs to inodes with extents, and nothing of others', async () => {
  const image = makeHugeImage();
  const device = new FileBlockDevice(image);
  const fs = openWritable(device);
  const inRequest = <T>(action: () => T): T => {
    fs.beginRequest(0, 0);
    return action();
  };
  const make = (dir: Inode, name: string, mode: number): Inode =>
    inRequest(() => fs.createNode(dir, bytesOf(name), 0, name.length, mode, 0, 0, 0));
  const firstFarGroup = fs.geometry.groupOfBlock(FIRST_FAR_BLOCK);
  let far: Inode | null = null;
  for (let index = 0; far === null && index < DIRECTORIES_MAX; index++) {
    const name = bytesOf(`directory${index}`);
    const dir = inRequest(() => fs.makeDirectory(fs.inode(2), name, 0, name.length, 0o755, 0));
    if (Math.floor((dir.ino - 1) / fs.geometry.inodesPerGroup) >= firstFarGroup) far = dir;
    else fs.evict(inRequest(() => fs.removeDirectory(fs.inode(2), name, 0, name.length)).ino);
  }
  if (far === null) throw new Error('no directory lies far enough');
  const dir = far;
  inRequest(() => fs.makeSymlink(dir, bytesOf('link'), 0, 4, bytesOf('t'.repeat(500))));
  const file = make(dir, 'file', 0o100644);
  const piece = new Uint8Array(BLOCK_BYTES).fill(7);
  // With holes between the pieces the tree needs blocks of its own.
  for (let index = 0; index < PIECES; index++) {
    inRequest(() => fs.writeSmall(file, index * 2 * BLOCK_BYTES, piece));
  }
  inRequest(() => fs.setXattr(file, bytesOf('user.large'), new Uint8Array(2000).fill(65), 0));
  expect(file.xattrBlock).toBeGreaterThanOrEqual(FIRST_FAR_BLOCK);
  const fifo = make(dir, 'fifo', 0o010644);
  inRequest(() => fs.setXattr(fifo, bytesOf('trusted.large'), new Uint8Array(2000).fill(66), 0));
  expect(fifo.xattrBlock).toBeLessThan(FIRST_FAR_BLOCK);
  expect(fs.close()).toBe(0);
  device.close();
  expect(e2fsckComplaints(image)).toBe('');
  const extents = run('debugfs', ['-R', `dump_extents <${file.ino}>`, image]);
  const numbers = extents.match(/\d{10,}/g) ?? [];
  expect(numbers.length).toBeGreaterThan(PIECES);
  for (const number of numbers) expect(Number(number)).toBeGreaterThanOrEqual(FIRST_FAR_BLOCK);
  await withKernelMount(room, image, 'ro', (root) => {
    const [name] = run('ls', [root])
      .split('\n')
      .filter((entry) => entry.startsWith('directory'));
    expect(readlinkSync(join(root, name, 'link'))).toBe('t'.repeat(500));
    const content = readFileSync(join(root, name, 'file'));
    expect(content.length).toBe((2 * PIECES - 1) * BLOCK_BYTES);
    expect(content.filter((byte) => byte === 7).length).toBe(PIECES * BLOCK_BYTES);
    expect(run('getfattr', ['--only-values', '-n', 'user.large', join(root, name, 'file')])).toBe('A'.repeat(2000));
  });
});
