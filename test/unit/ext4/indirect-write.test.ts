import { describe, expect, it } from 'vitest';
import { FallocateMode, fallocate } from '../../../service/ext4/fallocate.ts';
import { writeSmall } from '../../../service/ext4/file-write.ts';
import { allocateFileBlock } from '../../../service/ext4/map-write.ts';
import { MappingType } from '../../../service/ext4/mapping.ts';
import { releaseAllBlocks, truncate } from '../../../service/ext4/truncate.ts';
import { MapWriteImage } from '../../support/map-write-image.ts';

/** 32 pointers fit into a block of this size. */
const BLOCK_SIZE = 128;
const FIRST_OF_LEVEL = [0, 12, 12 + 32, 12 + 32 + 32 ** 2];
const REACH = 12 + 32 + 32 ** 2 + 32 ** 3;

const block = (value: number): Uint8Array => new Uint8Array(BLOCK_SIZE).fill(value);
const write = (image: MapWriteImage, lblk: number, value: number): void => {
  writeSmall(image, image.file, lblk * BLOCK_SIZE, block(value));
};

describe('a map of block pointers', () => {
  it('reaches blocks at the borders of all its levels, and indirect blocks are counted', () => {
    const image = new MapWriteImage(BLOCK_SIZE, 500, false);
    const lblks = [...FIRST_OF_LEVEL, ...FIRST_OF_LEVEL.slice(1).map((lblk) => lblk - 1), REACH - 1];
    for (const lblk of lblks) write(image, lblk, 1 + (lblk % 200));
    for (const lblk of lblks) {
      const found = image.ask(lblk);
      expect(found.type).toBe(MappingType.WRITTEN);
      expect(image.bytes[(found.pblk + lblk - found.lblk) * BLOCK_SIZE]).toBe(1 + (lblk % 200));
    }
    // One for the single level, 1 + 2 for the double, 1 + 2 + 2 for the triple.
    expect(image.usedBlocks().length).toBe(lblks.length + 1 + 3 + 5);
    expect(image.file.allocatedBlocks512).toBe((image.usedBlocks().length * BLOCK_SIZE) / 512);
    expect(() => write(image, REACH, 1)).toThrow("can't describe");
  });

  it('gives back indirect blocks as soon as they lead nowhere', () => {
    const image = new MapWriteImage(BLOCK_SIZE, 500, false);
    const lblk = FIRST_OF_LEVEL[3] + 5000;
    write(image, lblk, 1);
    write(image, lblk + 1, 2);
    expect(image.usedBlocks().length).toBe(2 + 3);
    const punch = FallocateMode.PUNCH_HOLE | FallocateMode.KEEP_SIZE;
    fallocate(image, image.file, punch, lblk * BLOCK_SIZE, BLOCK_SIZE);
    expect(image.usedBlocks().length).toBe(1 + 3);
    fallocate(image, image.file, punch, 0, (lblk + 2) * BLOCK_SIZE);
    expect(image.usedBlocks()).toEqual([]);
    expect(image.file.sizeBytes).toBe((lblk + 2) * BLOCK_SIZE);
  });

  it('is cut in the middle of every level', () => {
    for (const cut of [3, 12, 20, 44, 100, FIRST_OF_LEVEL[3], FIRST_OF_LEVEL[3] + 40]) {
      const image = new MapWriteImage(BLOCK_SIZE, 2000, false);
      for (let lblk = 0; lblk < FIRST_OF_LEVEL[3] + 80; lblk++) write(image, lblk, 1 + (lblk % 200));
      truncate(image, image.file, cut * BLOCK_SIZE);
      expect(image.ask(cut - 1).type).toBe(MappingType.WRITTEN);
      expect(image.ask(cut).type).toBe(MappingType.HOLE);
      const content = image.content();
      for (let lblk = 0; lblk < cut; lblk++) expect(content[lblk * BLOCK_SIZE]).toBe(1 + (lblk % 200));
      write(image, FIRST_OF_LEVEL[3] + 79, 9);
      releaseAllBlocks(image, image.file);
      expect(image.usedBlocks()).toEqual([]);
      expect(image.file.allocatedBlocks512).toBe(0);
    }
  });

  it('keeps a file in one piece on the device when it is written in one piece', () => {
    const image = new MapWriteImage(BLOCK_SIZE, 500, false);
    writeSmall(image, image.file, 0, new Uint8Array(12 * BLOCK_SIZE));
    expect(image.ask(0).lenBlocks).toBe(12);
  });

  it('holds blocks that go through the journal', () => {
    const image = new MapWriteImage(BLOCK_SIZE, 500, false);
    const made = image.change(() => allocateFileBlock(image, image.file, 50));
    expect(made.bytes.every((byte) => byte === 0)).toBe(true);
    expect(image.fileBlock(image.file, 50)).toBe(made);
    expect(made.owner).toBe(image.file.ino);
  });
});
