import { describe, expect, it } from 'vitest';
import { FallocateMode, fallocate } from '../../../service/ext4/fallocate.ts';
import { writeSmall } from '../../../service/ext4/file-write.ts';
import { allocateBlocks, removeBlocks } from '../../../service/ext4/map-write.ts';
import { Mapping, MappingType } from '../../../service/ext4/mapping.ts';
import { finishWrite, planWrite, WritePlan } from '../../../service/ext4/planned-write.ts';
import { truncate } from '../../../service/ext4/truncate.ts';
import { MapWriteImage } from '../../support/map-write-image.ts';

const BLOCK_SIZE = 128;
const out = new Mapping();

function allocate(image: MapWriteImage, lblk: number, want: number, type: number = MappingType.WRITTEN): void {
  for (let at = lblk; at < lblk + want; at += out.lenBlocks) {
    image.change(() => allocateBlocks(image, image.file, at, lblk + want - at, type, out));
  }
}

const remove = (image: MapWriteImage, from: number, end: number): void => {
  while (!image.change(() => removeBlocks(image, image.file, from, end, false)));
};

const ranges = (image: MapWriteImage): [number, number][] =>
  image.walkExtents().extents.map(([lblk, , rawLen]) => [lblk, rawLen]);

describe('a hole between two extents that would be one', () => {
  it('joins them when it is filled', () => {
    const image = new MapWriteImage(BLOCK_SIZE, 1000, true);
    allocate(image, 0, 100);
    remove(image, 50, 51);
    expect(ranges(image).length).toBe(2);
    allocate(image, 50, 1);
    expect(ranges(image)).toEqual([[0, 100]]);
  });

  it('leaves them two when one would be longer than an extent may be', () => {
    const image = new MapWriteImage(BLOCK_SIZE, 50_000, true);
    allocate(image, 0, 20_000);
    image.allocator.maxRun = 20_000;
    allocate(image, 20_000, 20_000);
    remove(image, 20_000, 20_001);
    allocate(image, 20_000, 1);
    const lengths = ranges(image).map(([, rawLen]) => rawLen);
    expect(lengths.every((length) => length <= 32768)).toBe(true);
    expect(lengths.reduce((sum, length) => sum + length, 0)).toBe(40_000);
  });
});

describe('a block before all others', () => {
  it('extends the first extent of a deep tree, whose nodes all learn of it', () => {
    const image = new MapWriteImage(BLOCK_SIZE, 4000, true);
    allocate(image, 1000, 2);
    for (let lblk = 1003; lblk < 1400; lblk += 2) allocate(image, lblk, 1);
    remove(image, 1000, 1001);
    expect(image.walkExtents().depth).toBeGreaterThanOrEqual(2);
    const before = ranges(image).length;
    allocate(image, 1000, 1);
    expect(ranges(image)[0][0]).toBe(1000);
    expect(ranges(image).length).toBe(before);
    expect(image.ask(1000).type).toBe(MappingType.WRITTEN);
  });
});

describe('what lies behind the end of a file in its last block', () => {
  const grow: [string, (image: MapWriteImage) => void][] = [
    ['truncate', (image) => truncate(image, image.file, 400)],
    ['a write further on', (image) => void writeSmall(image, image.file, 399, Uint8Array.of(0))],
    ['a write further on in the block', (image) => void writeSmall(image, image.file, 110, new Uint8Array(290))],
    ['fallocate', (image) => fallocate(image, image.file, 0, 0, 400)],
    ['zeroing a range', (image) => fallocate(image, image.file, FallocateMode.ZERO_RANGE, 128, 272)],
    ['a planned write', (image) => planned(image, 256, 256)],
  ];

  it.each(grow)('reads as zeros after %s, whoever put it there', (_name, change) => {
    const image = new MapWriteImage(BLOCK_SIZE, 100, true);
    writeSmall(image, image.file, 0, new Uint8Array(100).fill(1));
    const { pblk } = image.ask(0);
    image.bytes.fill(0xee, pblk * BLOCK_SIZE + 100, (pblk + 1) * BLOCK_SIZE);
    change(image);
    const content = image.content();
    expect(content.length).toBeGreaterThanOrEqual(400);
    expect(content.subarray(0, 100).every((byte) => byte === 1)).toBe(true);
    expect(content.subarray(100).every((byte) => byte === 0)).toBe(true);
  });

  it('is zero on the device when it was cut off', () => {
    const image = new MapWriteImage(BLOCK_SIZE, 100, true);
    writeSmall(image, image.file, 0, new Uint8Array(300).fill(1));
    const { pblk } = image.ask(0);
    truncate(image, image.file, 100);
    const block = image.bytes.subarray(pblk * BLOCK_SIZE, (pblk + 1) * BLOCK_SIZE);
    expect(block.subarray(0, 100).every((byte) => byte === 1)).toBe(true);
    expect(block.subarray(100).every((byte) => byte === 0)).toBe(true);
  });
});

function planned(image: MapWriteImage, offset: number, length: number): void {
  const plan = new WritePlan();
  planWrite(image, image.file, offset, length, plan);
  expect(plan.lengthBytes).toBe(length);
  for (let index = 0; index < plan.segmentCount; index++) {
    image.device.write(plan.segments[2 * index], new Uint8Array(plan.segments[2 * index + 1]));
  }
  finishWrite(image, image.file, offset, length);
}

describe('a planned write', () => {
  it('shows nothing of itself before it is finished', () => {
    const image = new MapWriteImage(BLOCK_SIZE, 100, true);
    const plan = new WritePlan();
    planWrite(image, image.file, 0, 4 * BLOCK_SIZE, plan);
    expect(image.file.sizeBytes).toBe(0);
    expect(image.ask(0).type).toBe(MappingType.UNWRITTEN);
    finishWrite(image, image.file, 0, 3 * BLOCK_SIZE + 5);
    expect(image.file.sizeBytes).toBe(3 * BLOCK_SIZE + 5);
    finishWrite(image, image.file, 0, 3 * BLOCK_SIZE + 5);
    expect(ranges(image)).toEqual([[0, 4]]);
  });

  it('over written blocks needs no allocation', () => {
    const image = new MapWriteImage(BLOCK_SIZE, 100, true);
    writeSmall(image, image.file, 0, new Uint8Array(10 * BLOCK_SIZE));
    const plan = new WritePlan();
    planWrite(image, image.file, 2 * BLOCK_SIZE, 5 * BLOCK_SIZE, plan);
    expect([plan.segmentCount, plan.lengthBytes]).toEqual([1, 5 * BLOCK_SIZE]);
  });

  it('is left to the page cache where it can not be: inside a block, and in the holes of block pointers', () => {
    const image = new MapWriteImage(BLOCK_SIZE, 100, false);
    const plan = new WritePlan();
    planWrite(image, image.file, 0, 5 * BLOCK_SIZE, plan);
    expect(plan.lengthBytes).toBe(0);
    writeSmall(image, image.file, 0, new Uint8Array(2 * BLOCK_SIZE));
    planWrite(image, image.file, 0, 5 * BLOCK_SIZE, plan);
    expect(plan.lengthBytes).toBe(2 * BLOCK_SIZE);
    planWrite(image, image.file, 1, BLOCK_SIZE, plan);
    expect(plan.lengthBytes).toBe(0);
  });

  it('covers what there is space for, and is refused when there is none', () => {
    const image = new MapWriteImage(BLOCK_SIZE, 20, true);
    const plan = new WritePlan();
    planWrite(image, image.file, 0, 50 * BLOCK_SIZE, plan);
    expect(plan.lengthBytes).toBe(18 * BLOCK_SIZE);
    expect(() => planWrite(image, image.file, 30 * BLOCK_SIZE, BLOCK_SIZE, plan)).toThrow('no free blocks');
    expect(plan.lengthBytes).toBe(0);
  });
});
