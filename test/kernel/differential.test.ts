import { afterAll, afterEach, expect, test } from 'vitest';
import { Ext4Service } from '../support/ext4-service.ts';
import { mountFuse4fs, program } from '../support/fuse4fs-mount.ts';
import { kernelSnapshot, makeImage, populateImage } from '../support/kernel-image.ts';
import { populationOf } from '../support/populate.ts';
import { run, sha256OfFile, TestRoom } from '../support/test-room.ts';
import { compareSnapshots, FUSE_ALLOWANCES, summarize, takeSnapshot } from '../support/tree-snapshot.ts';
import { VARIANTS, type Variant } from './variants.ts';

const room = new TestRoom('differential');
afterEach(() => room.reset());
afterAll(() => room.clear());

/** The kernel's ext4 has ACLs unless told otherwise; we have them when told so. */
const OPTIONS = 'ro,acl';
const IMAGE = 'variant.img';
const MIB = 1 << 20;

async function makeVariant(variant: Variant, seed: number): Promise<string> {
  const image = makeImage(room, IMAGE, {
    sizeBytes: variant.blocks === undefined ? (variant.sizeMiB ?? 64) * MIB : variant.blocks * variant.blockBytes,
    mkfs: ['-b', String(variant.blockBytes), ...variant.mkfs.split(' ')],
    debugfs: variant.debugfs ?? [],
  });
  const population = populationOf({
    blockBytes: variant.blockBytes,
    seed,
    largestDirectory: variant.largestDirectory ?? 300,
    longNames: variant.longNames ?? false,
  });
  await populateImage(room, image, population);
  if (variant.tune2fs !== undefined) run('tune2fs', ['-f', ...variant.tune2fs.split(' '), image]);
  for (const command of variant.debugfsAfter ?? []) run('debugfs', ['-w', '-R', command, image]);
  return image;
}

test.each(VARIANTS.map((variant, seed) => ({ ...variant, seed })))(
  "$name: the tree equals the kernel's",
  async ({ seed, ...variant }) => {
    const image = await makeVariant(variant, seed);
    const expected = await kernelSnapshot(room, image);
    const hash = sha256OfFile(image);
    const mount = await mountFuse4fs(room, image, OPTIONS);
    const actual = await takeSnapshot(mount.mountPoint);
    await mount.unmount();
    expect(summarize(compareSnapshots(expected, actual, FUSE_ALLOWANCES))).toEqual([]);
    expect(sha256OfFile(image), 'the image must not change').toBe(hash);
    expect(room.leaks()).toEqual([]);
  },
);

test('without the option acl only the access control lists are missing', async () => {
  const image = await makeVariant({ name: 'noacl', blockBytes: 4096, mkfs: '-t ext4' }, 98);
  const expected = await kernelSnapshot(room, image);
  const mount = await mountFuse4fs(room, image, 'ro');
  const actual = await takeSnapshot(mount.mountPoint);
  await mount.unmount();
  const missing = compareSnapshots(expected, actual, FUSE_ALLOWANCES);
  expect(missing.length).toBeGreaterThan(4);
  expect(missing.filter((line) => !/: xattr:system\.posix_acl_\w+: .*, but nothing$/.test(line))).toEqual([]);
  expect([...actual.values()].filter((line) => line.includes('posix_acl'))).toEqual([]);
  expect(room.leaks()).toEqual([]);
});

test("through fuservicemount and the socket-activated service the tree equals the kernel's too", async () => {
  const image = await makeVariant({ name: 'service', blockBytes: 4096, mkfs: '-t ext4', largestDirectory: 2000 }, 99);
  const expected = await kernelSnapshot(room, image);
  const hash = sha256OfFile(image);
  const service = await Ext4Service.start(room);
  try {
    const mountPoint = room.mountPoint();
    run(program('fuservicemount'), [image, mountPoint, '-t', 'fuse.ext4', '-o', 'ro']);
    const actual = await takeSnapshot(mountPoint);
    run('umount', [mountPoint]);
    await service.waitForServiceEnd(20_000);
    expect(summarize(compareSnapshots(expected, actual, FUSE_ALLOWANCES))).toEqual([]);
    expect(sha256OfFile(image)).toBe(hash);
  } finally {
    await service.stop();
  }
  expect(room.leaks()).toEqual([]);
});
