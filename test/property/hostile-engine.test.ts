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

/** Byte offset of the first htree root in an image: "." of 12 bytes, ".." over the rest, then the header. */
function htreeRootAt(bytes: Uint8Array, blockSize: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at < bytes.length; at += blockSize) {
    const isDots = view.getUint16(at + 4, true) === 12 && view.getUint16(at + 16, true) === blockSize - 12;
    if (isDots && view.getUint32(at + 0x18, true) === 0 && view.getUint8(at + 0x1d) === 8) return at;
  }
  throw new Error('the image has no indexed directory');
}

test('finding: two index entries that lead to one leaf do not send a listing backwards', () => {
  const base = bases.find(({ name }) => name === '4k-htree-no-csum');
  if (base === undefined) throw new Error('no such base image');
  const bytes = base.bytes.slice();
  const view = new DataView(bytes.buffer);
  const entriesAt = htreeRootAt(bytes, 4096) + 0x20;
  view.setUint32(entriesAt + 2 * 8 + 4, view.getUint32(entriesAt + 1 * 8 + 4, true), true);
  expect(walkImage(bytes).refusals).toBeGreaterThan(walkImage(base.bytes).refusals);
});
