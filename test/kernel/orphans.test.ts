import { closeSync, copyFileSync, openSync, readdirSync, unlinkSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, expect, test } from 'vitest';
import { dumpe2fs } from '../support/e2fsprogs.ts';
import { makeImage, withKernelMount } from '../support/kernel-image.ts';
import { makeFiles } from '../support/orphan-image.ts';
import { run, TestRoom } from '../support/test-room.ts';
import { bytesOf, e2fsckComplaints, WritableImage } from '../support/writable-image.ts';

/** Orphans that the kernel leaves are ours to delete, and the other way round. */
const room = new TestRoom('orphans');
afterEach(() => room.reset());
afterAll(() => room.clear());

const FILES = 40;
const VARIANTS: [string, string[]][] = [
  ['the list', ['-t', 'ext4', '-b', '1024', '-O', '^orphan_file']],
  ['the list without checksums', ['-t', 'ext3', '-b', '4096']],
  ['the orphan file', ['-t', 'ext4', '-b', '1024', '-O', 'orphan_file']],
  ['the orphan file without checksums', ['-t', 'ext4', '-b', '4096', '-O', 'orphan_file,^metadata_csum']],
];

const freeInodes = (image: string): number => Number(dumpe2fs(image).get('Free inodes'));

test.each(VARIANTS)('the kernel deletes what we left on %s', async (_name, mkfs) => {
  const path = makeImage(room, 'image', { sizeBytes: 32 * 2 ** 20, mkfs });
  const free = freeInodes(path);
  const image = new WritableImage(path);
  for (const file of makeFiles(image, FILES)) image.begin().writeSmall(file, 0, new Uint8Array(5000).fill(1));
  for (let index = 0; index < FILES; index += 2) {
    const name = bytesOf(`f${index}`);
    image.begin().unlink(image.root, name, 0, name.length);
  }
  image.close();
  image.save(path);
  await withKernelMount(room, path, 'rw', (root) => {
    expect(readdirSync(root).filter((name) => name.startsWith('f')).length).toBe(FILES / 2);
  });
  expect(e2fsckComplaints(path)).toBe('');
  expect(freeInodes(path)).toBe(free - FILES / 2);
});

test.each(VARIANTS)('we delete what the kernel left on %s', async (_name, mkfs) => {
  const path = makeImage(room, 'image', { sizeBytes: 32 * 2 ** 20, mkfs });
  const free = freeInodes(path);
  const crashed = room.path('crashed');
  await withKernelMount(room, path, 'rw', (root) => {
    const open: number[] = [];
    for (let index = 0; index < FILES; index++) {
      const file = join(root, `f${index}`);
      const fd = openSync(file, 'w');
      writeSync(fd, Buffer.alloc(5000, 1));
      if (index % 2 === 0) open.push(fd);
      else closeSync(fd);
    }
    for (let index = 0; index < FILES; index += 2) unlinkSync(join(root, `f${index}`));
    writeFileSync(join(root, 'last'), 'x');
    run('sync', ['-f', root]);
    // What a power cut would leave: the transaction is in the journal, and some of it may be at its place.
    copyFileSync(path, crashed);
    for (const fd of open) closeSync(fd);
  });
  const logged: string[] = [];
  const image = new WritableImage(crashed, { log: (text) => logged.push(text) });
  expect(logged.join('\n')).toContain(`${FILES / 2} orphans`);
  image.close();
  image.save(crashed);
  expect(e2fsckComplaints(crashed)).toBe('');
  expect(freeInodes(crashed)).toBe(free - FILES / 2 - 1);
});
