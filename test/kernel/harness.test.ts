import { spawnSync } from 'node:child_process';
import { afterAll, afterEach, expect, test } from 'vitest';
import { kernelMount, kernelSnapshot, makeImage, populateImage } from '../support/kernel-image.ts';
import { OperationScript } from '../support/operation-script.ts';
import { populationOf } from '../support/populate.ts';
import { run, sha256OfFile, TestRoom } from '../support/test-room.ts';
import { compareSnapshots, takeSnapshot } from '../support/tree-snapshot.ts';

/** The judge is itself on trial here: it must find nothing where nothing differs, and find what does. */
const room = new TestRoom('harness');
afterEach(() => room.reset());
afterAll(() => room.clear());

const recipe = { sizeBytes: 64 << 20, mkfs: ['-t', 'ext4', '-b', '4096', '-I', '256'] };

test('two kernel mounts of one image are equal and leave it byte-identical', async () => {
  const image = makeImage(room, 'equal.img', recipe);
  await populateImage(room, image, populationOf({ blockBytes: 4096, seed: 1, largestDirectory: 500 }));
  const before = sha256OfFile(image);
  const first = await kernelSnapshot(room, image);
  const second = await kernelSnapshot(room, image);
  expect(first.size).toBeGreaterThan(1000);
  expect(compareSnapshots(first, second)).toEqual([]);
  expect(sha256OfFile(image)).toBe(before);
  expect(room.leaks()).toEqual([]);
});

test('each planted difference is named', async () => {
  const image = makeImage(room, 'planted.img', recipe);
  const script = new OperationScript();
  script.mkdir('d').write('d/content', 0, 9000, 1).write('d/sparse', 90000, 10, 2).text('d/time', 0, 'x');
  script.text('d/attribute', 0, 'x').xattr('d/attribute', 'user.a', '1').text('d/owner', 0, 'x').text('d/gone', 0, 'x');
  await populateImage(room, image, script);
  const before = await kernelSnapshot(room, image);
  const change = new OperationScript();
  change.text('d/content', 8999, '!').write('d/sparse', 40000, 1, 2).times('d/time', [5, 5], [6, 7]);
  change.xattr('d/attribute', 'user.a', '2').chown('d/owner', 3, 4).unlink('d/gone').text('d/new', 0, 'x');
  await populateImage(room, image, change, 'noatime');
  const after = await kernelSnapshot(room, image);
  const differences = compareSnapshots(before, after).map((line) => line.split(':').slice(0, 2).join(':'));
  expect(differences).toEqual(
    expect.arrayContaining([
      './d/content: sha256',
      './d/content: direct',
      './d/sparse: data',
      './d/time: atime',
      './d/time: mtime',
      './d/attribute: xattr',
      './d/owner: uid',
      './d/owner: gid',
      './d/gone: missing',
      './d/new: should not exist',
    ]),
  );
});

test('the room finds and removes a mount with its loop device', async () => {
  const image = makeImage(room, 'leak.img', recipe);
  kernelMount(room, image, 'ro');
  expect(room.leaks()).toHaveLength(2);
  await room.reset();
  expect(room.leaks()).toEqual([]);
});

test('a process that outlives its parent is still found and ended', async () => {
  const daemon = room.supervise(['sh', '-c', 'setsid tail -f /dev/null & exit 7']);
  expect(await daemon.waitForEnd(10_000)).toEqual({ code: 7, signal: null });
  expect(room.leaks()).toEqual([expect.stringContaining('tail -f /dev/null')]);
  await daemon.destroy();
  expect(room.leaks()).toEqual([]);
});

test('differences that another FUSE server is known for are seen', async () => {
  const image = makeImage(room, 'fuse2fs.img', recipe);
  await populateImage(room, image, populationOf({ blockBytes: 4096, seed: 2, largestDirectory: 100 }));
  const kernel = await kernelSnapshot(room, image);
  const mountPoint = room.mountPoint();
  run('fuse2fs', ['-o', 'ro', image, mountPoint]);
  const other = await takeSnapshot(mountPoint);
  spawnSync('umount', [mountPoint]);
  const differences = compareSnapshots(kernel, other);
  expect(differences).toContainEqual(expect.stringMatching(/: btime: .*, but none$/));
  expect(differences).toContainEqual(expect.stringMatching(/^\.\/sparse\/hole-in-middle: data: /));
  expect(differences).toContainEqual(expect.stringMatching(/^file system: blocks: /));
});
