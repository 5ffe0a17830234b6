import { describe, expect, it } from 'vitest';
import { CorruptionError } from '../../../service/ext4/errors.ts';
import { indirectReach } from '../../../service/ext4/indirect-map.ts';
import { MappingType } from '../../../service/ext4/mapping.ts';
import { MapImage } from '../../support/map-image.ts';

const { HOLE, WRITTEN } = MappingType;
/** Pointers in a block of 1 KiB. */
const N = 256;

describe('an indirect map', () => {
  it('joins direct pointers to neighbouring blocks into one run', () => {
    const image = new MapImage(1024, 16, false);
    for (const [index, target] of [100, 101, 102, 0, 0, 200, 202].entries()) image.rootPointer(index, target);
    expect(image.ask(0)).toEqual({ type: WRITTEN, lblk: 0, pblk: 100, lenBlocks: 3 });
    expect(image.ask(1)).toEqual({ type: WRITTEN, lblk: 1, pblk: 101, lenBlocks: 2 });
    expect(image.ask(3)).toEqual({ type: HOLE, lblk: 3, pblk: 0, lenBlocks: 2 });
    expect(image.ask(5)).toEqual({ type: WRITTEN, lblk: 5, pblk: 200, lenBlocks: 1 });
    expect(image.ask(7)).toEqual({ type: HOLE, lblk: 7, pblk: 0, lenBlocks: 5 });
  });

  it('reports a missing tree of any level as one hole', () => {
    const image = new MapImage(1024, 16, false);
    expect(image.ask(12 + 5)).toEqual({ type: HOLE, lblk: 12, pblk: 0, lenBlocks: N });
    expect(image.ask(12 + N + 9)).toEqual({ type: HOLE, lblk: 12 + N, pblk: 0, lenBlocks: N ** 2 });
    expect(image.ask(12 + N + N ** 2)).toEqual({ type: HOLE, lblk: 12 + N + N ** 2, pblk: 0, lenBlocks: N ** 3 });
  });

  it('walks one, two and three levels', () => {
    const image = new MapImage(1024, 32, false);
    image.rootPointer(12, 10);
    image.pointer(10, 3, 700);
    image.pointer(10, 4, 701);
    image.rootPointer(13, 11);
    image.pointer(11, 2, 12);
    image.pointer(12, 255, 800);
    image.rootPointer(14, 13);
    image.pointer(13, 1, 14);
    image.pointer(14, 4, 15);
    image.pointer(15, 6, 900);
    const two = 12 + N;
    const three = two + N ** 2;
    expect(image.ask(12 + 3)).toEqual({ type: WRITTEN, lblk: 15, pblk: 700, lenBlocks: 2 });
    expect(image.ask(12 + 5)).toEqual({ type: HOLE, lblk: 17, pblk: 0, lenBlocks: N - 5 });
    expect(image.ask(two)).toEqual({ type: HOLE, lblk: two, pblk: 0, lenBlocks: 2 * N });
    expect(image.ask(two + 3 * N - 1)).toEqual({ type: WRITTEN, lblk: two + 3 * N - 1, pblk: 800, lenBlocks: 1 });
    const found = three + N ** 2 + 4 * N + 6;
    expect(image.ask(found)).toEqual({ type: WRITTEN, lblk: found, pblk: 900, lenBlocks: 1 });
    expect(image.ask(three + 77)).toEqual({ type: HOLE, lblk: three, pblk: 0, lenBlocks: N ** 2 });
    const behind = three + N ** 2 + 5 * N;
    expect(image.ask(behind + 3)).toEqual({ type: HOLE, lblk: behind, pblk: 0, lenBlocks: (N - 5) * N });
  });

  it('ends where three levels end', () => {
    expect(indirectReach(1024)).toBe(12 + N + N ** 2 + N ** 3);
    expect(indirectReach(65536)).toBe(2 ** 32 - 1);
    const image = new MapImage(1024, 4, false);
    expect(image.ask(indirectReach(1024)).type).toBe(HOLE);
  });

  it('refuses pointers outside the file system and to its own blocks', () => {
    const image = new MapImage(1024, 32, false);
    image.rootPointer(0, 1);
    image.rootPointer(12, 1);
    expect(() => image.ask(0)).toThrow(/corrupt block pointer, inode 12/);
    expect(() => image.ask(12)).toThrow(/corrupt indirect block, inode 12/);
  });

  it('refuses an indirect block that points at itself', () => {
    const image = new MapImage(1024, 32, false);
    image.rootPointer(13, 10);
    image.pointer(10, 0, 10);
    expect(() => image.ask(12 + N)).toThrow(CorruptionError);
  });

  it('bounds the run that it looks for', () => {
    const image = new MapImage(65536, 4, false);
    image.rootPointer(12, 2);
    for (let index = 0; index < 16384; index++) image.pointer(2, index, 5000 + index);
    expect(image.ask(12)).toEqual({ type: WRITTEN, lblk: 12, pblk: 5000, lenBlocks: 2048 });
  });
});
