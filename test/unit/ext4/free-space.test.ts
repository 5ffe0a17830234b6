import { afterAll, describe, expect, it } from 'vitest';
import { FreeSpace } from '../../../service/ext4/free-space.ts';
import { BlockRun } from '../../../service/ext4/write-context.ts';
import { AllocationImage } from '../../support/allocation-image.ts';
import { ImageDirectory } from '../../support/ext4-image.ts';
import { FileBlockDevice } from '../../support/file-block-device.ts';

const directory = new ImageDirectory();
afterAll(() => directory.remove());

const GROUP_BLOCKS = 256;
const GROUPS = 5000;

describe('a search where the free blocks of thousands of groups are set aside', () => {
  const path = directory.make(GROUPS * GROUP_BLOCKS * 1024, [
    ...['-b', '1024', '-g', String(GROUP_BLOCKS), '-N', String(16 * GROUPS)],
    ...['-O', '^has_journal,^resize_inode,meta_bg'],
  ]);
  const device = new FileBlockDevice(path);
  afterAll(() => device.close());

  function spaceWithOneFreeBlock(): { readonly space: FreeSpace; readonly free: number } {
    const image = new AllocationImage(device, 8 * 2 ** 20);
    const { geometry, bitmaps, descriptors, counts } = image;
    const space = new FreeSpace(geometry, bitmaps, descriptors, counts, (error) => {
      throw error;
    });
    const last = geometry.groupCount - 1;
    for (let group = 0; group <= last; group++) {
      image.cache.beginOperation();
      space.setAsideRuns(group, geometry.groupFirstBlock(group), geometry.groupEndBlock(group), 1, []);
    }
    const free = geometry.groupEndBlock(last) - 1;
    space.giveBack(free, 1);
    return { space, free };
  }

  it.each([1, 8, 200])('for %d blocks finds the only one that is left, in the last group', (wanted) => {
    const { space, free } = spaceWithOneFreeBlock();
    const run = new BlockRun();
    expect(space.find(0, wanted, GROUPS, run)).toBe(true);
    expect(run).toEqual(new BlockRun(free, 1));
    space.setAside(free, 1);
    expect(space.find(0, wanted, GROUPS, run)).toBe(false);
  });
});
