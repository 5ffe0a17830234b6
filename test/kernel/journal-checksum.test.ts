import { closeSync, copyFileSync, fsyncSync, mkdirSync, openSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, expect, test } from 'vitest';
import { dumpe2fs } from '../support/e2fsprogs.ts';
import { mountFuse4fs } from '../support/fuse4fs-mount.ts';
import { makeImage, withKernelMount } from '../support/kernel-image.ts';
import { run, TestRoom } from '../support/test-room.ts';
import { e2fsckComplaints } from '../support/writable-image.ts';

/** Mount option journal_checksum; the kernel and e2fsck replay what we leave. */
const room = new TestRoom('journal-checksum');
afterEach(() => room.reset());
afterAll(() => room.clear());

const journalFeatures = (image: string): string => dumpe2fs(image).get('Journal features') ?? '';

function fsync(path: string): void {
  const fd = openSync(path, 'r');
  fsyncSync(fd);
  closeSync(fd);
}

/** Several transactions, with blocks that are freed between them. */
function work(root: string): void {
  for (let round = 0; round < 5; round++) {
    for (let index = 0; index < 20; index++) {
      mkdirSync(join(root, `directory-${round}-${index}`));
      writeFileSync(join(root, `directory-${round}-${index}`, 'file'), 'content');
    }
    if (round > 0) rmSync(join(root, `directory-${round - 1}-7`), { recursive: true });
    fsync(root);
  }
}

test.each([
  ['-O ^metadata_csum', 'journal_checksum', /journal_checksum(?!_v)/],
  ['-O ^metadata_csum,^64bit -b 1024', 'journal_checksum', /journal_checksum(?!_v)/],
  ['-O ^metadata_csum', 'nojournal_checksum', /^(?!.*checksum)/],
  ['-O metadata_csum', 'journal_checksum', /journal_checksum_v3/],
])('a file system made with %s and mounted with %s', async (mkfs, options, features) => {
  const recipe = { sizeBytes: 64 * 2 ** 20, mkfs: ['-t', 'ext4', ...mkfs.split(' ')] };
  const theirs = makeImage(room, 'theirs', recipe);
  await withKernelMount(room, theirs, `rw,${options}`, work);
  const image = makeImage(room, 'image', recipe);
  const mount = await mountFuse4fs(room, image, `commit=0,${options}`);
  work(mount.mountPoint);
  const expected = readdirSync(mount.mountPoint);
  const crashed = room.path('crashed');
  copyFileSync(image, crashed);
  await mount.unmount();
  expect(e2fsckComplaints(image)).toBe('');
  expect(dumpe2fs(crashed).get('Filesystem features')).toContain('needs_recovery');
  expect(journalFeatures(crashed)).toMatch(features);
  expect(journalFeatures(crashed)).toBe(journalFeatures(theirs));
  const checked = room.path('checked');
  copyFileSync(crashed, checked);
  run('e2fsck', ['-y', '-E', 'journal_only', checked]);
  expect(e2fsckComplaints(checked)).toBe('');
  for (const replayed of [checked, crashed]) {
    await withKernelMount(room, replayed, 'rw', (root) => expect(readdirSync(root)).toEqual(expected));
    expect(e2fsckComplaints(replayed)).toBe('');
  }
});
