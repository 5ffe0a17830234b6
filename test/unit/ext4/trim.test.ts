import { afterAll, describe, expect, it } from 'vitest';
import { FsError, SpaceAwaitsCommit } from '../../../service/ext4/errors.ts';
import { Trim, type TrimRange } from '../../../service/ext4/trim.ts';
import { BlockRun } from '../../../service/ext4/write-context.ts';
import { Errno } from '../../../shared/errno.ts';
import { AllocationImage } from '../../support/allocation-image.ts';
import { ImageDirectory, imageBytes } from '../../support/ext4-image.ts';

const directory = new ImageDirectory();
afterAll(() => directory.remove());

const MKFS = ['-b', '1024', '-m', '0', '-O', '^has_journal'];
const EVERYTHING: TrimRange = { startBytes: 0, lengthBytes: 2 ** 53, leastBytes: 0 };

const open = (): AllocationImage => new AllocationImage(imageBytes(directory.make(40 * 2 ** 20, MKFS)));

/** All blocks that a trim of that range offers, run after run. */
function trimmed(
  image: AllocationImage,
  range: TrimRange,
): { blocks: number[]; runs: [number, number][]; bytes: number } {
  const trim = new Trim(image.geometry, image.allocator, range);
  const offered: [number, number][] = [];
  for (let runs = trim.nextRuns(); runs !== null; runs = trim.nextRuns()) {
    for (let at = 0; at < runs.length; at += 2) offered.push([runs[at], runs[at + 1]]);
  }
  for (const [pblk, lenBlocks] of offered) image.allocator.discarded(pblk, lenBlocks);
  const blocks = offered.flatMap(([pblk, lenBlocks]) => Array.from({ length: lenBlocks }, (_, index) => pblk + index));
  return { blocks, runs: offered, bytes: trim.trimmedBytes };
}

describe('trimming', () => {
  it('offers every free block once', () => {
    const image = open();
    const { blocks, bytes } = trimmed(image, EVERYTHING);
    expect(blocks).toEqual(image.freeBlocks());
    expect(bytes).toBe(1024 * blocks.length);
  });

  it('keeps to the range, rounded to blocks', () => {
    const image = open();
    const range = { startBytes: 9000 * 1024 + 1, lengthBytes: 12_000 * 1024 + 1023, leastBytes: 0 };
    const { blocks } = trimmed(image, range);
    expect(blocks).toEqual(image.freeBlocks().filter((block) => block >= 9000 && block < 21_000));
  });

  it('leaves short runs out', () => {
    const image = open();
    const run = new BlockRun();
    const file = image.newFile(12);
    file.sizeBytes = 2 ** 40;
    for (let goal = 20_000; goal < 20_200; goal += 10) {
      image.atomically(() => image.allocator.allocateData(file, 0, goal, 1, run));
      expect(run.pblk).toBe(goal);
    }
    const all = trimmed(image, EVERYTHING);
    const long = trimmed(image, { ...EVERYTHING, leastBytes: 10 * 1024 });
    expect(all.runs.filter(([, lenBlocks]) => lenBlocks === 9)).toHaveLength(19);
    expect(long.runs).toEqual(all.runs.filter(([, lenBlocks]) => lenBlocks >= 10));
  });

  it('leaves out what was freed by a transaction that has not committed', () => {
    const image = open();
    const run = new BlockRun();
    image.atomically(() => image.allocator.allocateData(image.newFile(12), 0, 0, 30, run));
    image.allocator.discardReservation(12);
    const { pblk, lenBlocks } = run;
    image.settle();
    image.atomically(() => image.allocator.free(pblk, lenBlocks));
    expect(trimmed(image, EVERYTHING).blocks).not.toContain(pblk);
    image.settle();
    expect(trimmed(image, EVERYTHING).blocks).toContain(pblk);
  });

  it('keeps the blocks of a group out of reach until they were discarded', () => {
    const image = open();
    const free = image.counts.clusters;
    const trim = new Trim(image.geometry, image.allocator, EVERYTHING);
    const offered: (readonly number[])[] = [];
    for (let runs = trim.nextRuns(); runs !== null; runs = trim.nextRuns()) offered.push(runs);
    expect(() => image.atomically(() => image.allocator.allocateMetadata(0))).toThrow(SpaceAwaitsCommit);
    expect(image.counts.clusters).toBe(free);
    const [first] = offered;
    image.allocator.discarded(first[0], first[1]);
    expect(image.atomically(() => image.allocator.allocateMetadata(0))).toBe(first[0]);
  });

  it.each([
    ['beyond the end', { startBytes: 40 * 2 ** 20, lengthBytes: 2 ** 20, leastBytes: 0 }],
    ['shorter than a block', { startBytes: 0, lengthBytes: 1023, leastBytes: 0 }],
    ['of runs longer than a group', { startBytes: 0, lengthBytes: 2 ** 30, leastBytes: 8193 * 1024 }],
  ])('refuses a range %s', (_what, range) => {
    const image = open();
    let errno = 0;
    try {
      new Trim(image.geometry, image.allocator, range);
    } catch (error) {
      if (error instanceof FsError) errno = error.errno;
    }
    expect(errno).toBe(Errno.EINVAL);
  });
});
