import { expect, test } from 'vitest';
import { makeBaseImages } from '../support/hostile-bases.ts';
import { HostileImageMaker } from '../support/hostile-image.ts';
import { EngineFault, walkImage } from '../support/hostile-walk.ts';

const bases = makeBaseImages();
const IMAGES_PER_BASE = 220;
/** Growth of the process over all images; they are 1.5 to 4 MiB each. */
const MAX_GROWTH_BYTES = 256 * 2 ** 20;

/** The first seed; FUSE4FS_HOSTILE_SEED runs other images than every day's. */
const firstSeed = Number(process.env.FUSE4FS_HOSTILE_SEED ?? 1);

const peakBytes = (): number => process.resourceUsage().maxRSS * 1024;

test('there are more than 2,000 images, and each base has the structures that it is meant to have', () => {
  expect(bases.length * IMAGES_PER_BASE).toBeGreaterThan(2000);
  const structures = new Set(bases.flatMap((base) => new HostileImageMaker(base).structures));
  expect([...structures].sort()).toEqual([
    'attribute block',
    'dirent',
    'dirent tail',
    'extent index',
    'extent leaf',
    'group descriptor',
    'htree node',
    'htree root',
    'in-inode attribute',
    'indirect block',
    'indirect pointers',
    'inline data',
    'inode',
    'journal commit',
    'journal descriptor',
    'journal revoke',
    'journal superblock',
    'superblock',
    'symlink',
  ]);
});

test.each(bases)('sealing the structures of the sound image $name changes none of its checksums', (base) => {
  expect(new HostileImageMaker(base).wronglySealed()).toEqual([]);
});

test.each(bases)('the sound image $name is walked without a refusal of what it holds', ({ bytes }) => {
  const { opened, inodes } = walkImage(bytes);
  expect(opened).toBe(true);
  expect(inodes).toBeGreaterThan(30);
});

test.each(bases)('no corrupted variant of $name crashes, hangs or bloats the engine', (base) => {
  const maker = new HostileImageMaker(base);
  const peakBefore = peakBytes();
  const faults: string[] = [];
  let opened = 0;
  let refusals = 0;
  for (let nr = 0; nr < IMAGES_PER_BASE; nr++) {
    const image = maker.make(firstSeed + nr);
    try {
      const result = walkImage(image.bytes, image.seed % 6 === 0);
      if (result.opened) opened++;
      refusals += result.refusals;
    } catch (error) {
      if (!(error instanceof EngineFault)) throw error;
      faults.push(`${image.base}, seed ${image.seed}: ${image.description}\n${error.message}`);
    }
  }
  expect(faults, faults.slice(0, 5).join('\n\n')).toHaveLength(0);
  expect(opened).toBeGreaterThan(IMAGES_PER_BASE / 4);
  expect(refusals).toBeGreaterThan(IMAGES_PER_BASE / 4);
  expect(peakBytes() - peakBefore).toBeLessThan(MAX_GROWTH_BYTES);
});
