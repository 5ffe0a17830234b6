import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { shiftLeft, shiftRight, splitExtentAt } from '../../service/ext4/extent-shift.ts';
import { allocateBlocks, convertSome, removeBlocks } from '../../service/ext4/map-write.ts';
import { Mapping, MappingType } from '../../service/ext4/mapping.ts';
import { MapWriteImage } from '../support/map-write-image.ts';

/** Nine entries fit into a node of this size, so that trees become deep with few extents. */
const BLOCK_SIZE = 128;
const DOMAIN = 1200;
const DEVICE_BLOCKS = 4096;
const END = 2 ** 32 - 1;

type Step =
  | { kind: 'fill'; from: number; len: number; unwritten: boolean; maxRun: number }
  | { kind: 'comb'; from: number; len: number; unwritten: boolean; stride: number }
  | { kind: 'remove' | 'write' | 'unwrite' | 'collapse' | 'insert'; from: number; len: number };

const from = fc.nat(DOMAIN - 1);
const len = fc.oneof(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: DOMAIN }));
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant('fill' as const),
    from,
    len,
    unwritten: fc.boolean(),
    maxRun: fc.constantFrom(1, 2, 7, 1000),
  }),
  fc.record({
    kind: fc.constant('comb' as const),
    from,
    len: fc.integer({ min: 100, max: DOMAIN }),
    unwritten: fc.boolean(),
    stride: fc.integer({ min: 2, max: 4 }),
  }),
  fc.record({ kind: fc.constantFrom('remove' as const, 'write' as const, 'unwrite' as const), from, len }),
  fc.record({
    kind: fc.constantFrom('collapse' as const, 'insert' as const),
    from,
    len: fc.integer({ min: 1, max: 40 }),
  }),
);

/** What every file block should be: the plainest map there is. */
class Model {
  readonly pblk = new Array<number>(2 * DOMAIN).fill(0);
  readonly type = new Array<number>(2 * DOMAIN).fill(MappingType.HOLE);

  set(lblk: number, type: number, pblk: number): void {
    this.type[lblk] = type;
    this.pblk[lblk] = pblk;
  }

  remove(from: number, end: number): void {
    for (let lblk = from; lblk < end; lblk++) this.set(lblk, MappingType.HOLE, 0);
  }

  convert(from: number, end: number, type: number): void {
    for (let lblk = from; lblk < end; lblk++) if (this.type[lblk] !== MappingType.HOLE) this.type[lblk] = type;
  }

  collapse(from: number, len: number): void {
    for (const list of [this.pblk, this.type]) {
      list.splice(from, len);
      list.push(...new Array<number>(len).fill(0));
    }
  }

  insert(from: number, len: number): void {
    for (const list of [this.pblk, this.type]) {
      list.splice(from, 0, ...new Array<number>(len).fill(0));
      list.length = 2 * DOMAIN;
    }
  }
}

const out = new Mapping();

function fill(image: MapWriteImage, model: Model, from: number, end: number, unwritten: boolean): void {
  const type = unwritten ? MappingType.UNWRITTEN : MappingType.WRITTEN;
  for (let lblk = from; lblk < end; ) {
    if (model.type[lblk] !== MappingType.HOLE) {
      lblk++;
      continue;
    }
    let want = 1;
    while (lblk + want < end && model.type[lblk + want] === MappingType.HOLE) want++;
    image.change(() => allocateBlocks(image, image.file, lblk, want, type, out));
    expect(out.lblk).toBe(lblk);
    for (let block = 0; block < out.lenBlocks; block++) model.set(lblk + block, type, out.pblk + block);
    lblk += out.lenBlocks;
  }
}

function remove(image: MapWriteImage, from: number, end: number): void {
  while (!image.change(() => removeBlocks(image, image.file, from, end, false)));
}

function apply(image: MapWriteImage, model: Model, given: Step): void {
  const end = Math.min(DOMAIN, given.from + given.len);
  switch (given.kind) {
    case 'fill':
      image.allocator.maxRun = given.maxRun;
      fill(image, model, given.from, end, given.unwritten);
      return;
    case 'comb':
      image.allocator.maxRun = 1;
      for (let lblk = given.from; lblk < end; lblk += given.stride) fill(image, model, lblk, lblk + 1, given.unwritten);
      return;
    case 'remove':
      remove(image, given.from, end);
      model.remove(given.from, end);
      return;
    case 'write':
    case 'unwrite': {
      const unwritten = given.kind === 'unwrite';
      for (let at = given.from; at < end; ) {
        at = image.change(() => convertSome(image, image.file, at, end, unwritten));
      }
      model.convert(given.from, end, unwritten ? MappingType.UNWRITTEN : MappingType.WRITTEN);
      return;
    }
    case 'collapse':
      remove(image, given.from, given.from + given.len);
      for (let at = given.from + given.len; at < END; ) {
        at = image.change(() => shiftLeft(image, image.file, at, given.len));
      }
      model.collapse(given.from, given.len);
      return;
    case 'insert':
      remove(image, DOMAIN - given.len, 2 * DOMAIN);
      model.remove(DOMAIN - given.len, 2 * DOMAIN);
      image.change(() => splitExtentAt(image, image.file, given.from));
      for (let at = END; at > given.from; ) {
        at = image.change(() => shiftRight(image, image.file, given.from, at, given.len));
      }
      model.insert(given.from, given.len);
      return;
  }
}

function expectSame(image: MapWriteImage, model: Model): void {
  const { extents, nodes } = image.walkExtents();
  const pblk = new Array<number>(2 * DOMAIN).fill(0);
  const type = new Array<number>(2 * DOMAIN).fill(MappingType.HOLE);
  const used = [...nodes];
  for (const [lblk, first, rawLen] of extents) {
    const length = rawLen > 32768 ? rawLen - 32768 : rawLen;
    for (let block = 0; block < length; block++) {
      expect(type[lblk + block]).toBe(MappingType.HOLE);
      pblk[lblk + block] = first + block;
      type[lblk + block] = rawLen > 32768 ? MappingType.UNWRITTEN : MappingType.WRITTEN;
      used.push(first + block);
    }
  }
  expect(type.join()).toBe(model.type.join());
  expect(pblk.join()).toBe(model.pblk.join());
  used.sort((a, b) => a - b);
  expect(image.usedBlocks().join()).toBe(used.join());
  expect(image.file.allocatedBlocks512).toBe((used.length * BLOCK_SIZE) / 512);
}

/** The reader must agree with the walk over the whole tree. */
function expectReadable(image: MapWriteImage, model: Model): void {
  for (let lblk = 0; lblk < DOMAIN; ) {
    const found = image.ask(lblk);
    expect(found.type).toBe(model.type[lblk]);
    if (found.type !== MappingType.HOLE) expect(found.pblk + lblk - found.lblk).toBe(model.pblk[lblk]);
    lblk = found.lblk + found.lenBlocks;
  }
}

describe('a changing extent tree', () => {
  it('maps as the plainest table does, after any sequence of changes, and loses no block', () => {
    let deepest = 0;
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 14 }), (steps) => {
        const image = new MapWriteImage(BLOCK_SIZE, DEVICE_BLOCKS, true);
        const model = new Model();
        for (const given of steps) {
          apply(image, model, given);
          expectSame(image, model);
          deepest = Math.max(deepest, image.walkExtents().depth);
        }
        expectReadable(image, model);
        remove(image, 0, END);
        expect(image.usedBlocks()).toEqual([]);
        expect(image.walkExtents()).toEqual({ depth: 0, extents: [], nodes: [] });
      }),
      { numRuns: 60 },
    );
    expect(deepest).toBeGreaterThanOrEqual(3);
  });

  it('is as it was before when a change is cancelled at any point for lack of blocks', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 6 }), step, fc.nat(6), (steps, last, spare) => {
        const image = new MapWriteImage(BLOCK_SIZE, DEVICE_BLOCKS, true);
        const model = new Model();
        for (const given of steps) apply(image, model, given);
        image.allocator.reserve = image.allocator.free - spare;
        try {
          apply(image, model, last);
        } catch {
          // What earlier handles of the step did is in the tree, but not the last one's half.
          const { extents, nodes } = image.walkExtents();
          const blocks = extents.reduce((sum, [, , rawLen]) => sum + (rawLen > 32768 ? rawLen - 32768 : rawLen), 0);
          expect(image.usedBlocks().length).toBe(blocks + nodes.length);
          expect(image.file.allocatedBlocks512).toBe(((blocks + nodes.length) * BLOCK_SIZE) / 512);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('converts what was written even when no block is left but those kept for that', () => {
    const image = new MapWriteImage(BLOCK_SIZE, DEVICE_BLOCKS, true);
    const model = new Model();
    apply(image, model, { kind: 'fill', from: 0, len: DOMAIN, unwritten: true, maxRun: 1000 });
    image.allocator.reserve = image.allocator.free;
    for (let lblk = 0; lblk < 600; lblk += 2) apply(image, model, { kind: 'write', from: lblk, len: 1 });
    expectSame(image, model);
    expect(image.walkExtents().depth).toBeGreaterThanOrEqual(2);
  });

  it('keeps leaves full when a file is written from front to back', () => {
    const image = new MapWriteImage(BLOCK_SIZE, DEVICE_BLOCKS, true);
    const model = new Model();
    for (let lblk = 0; lblk < 900; lblk += 2)
      apply(image, model, { kind: 'fill', from: lblk, len: 1, unwritten: false, maxRun: 1 });
    const { extents, nodes } = image.walkExtents();
    expect(extents.length).toBe(450);
    expect(nodes.length).toBeLessThanOrEqual(Math.ceil(450 / 9) + 9);
  });

  it('makes one extent of a file that is allocated unwritten and converted piece by piece', () => {
    const image = new MapWriteImage(BLOCK_SIZE, DEVICE_BLOCKS, true);
    const model = new Model();
    for (let lblk = 0; lblk < 1000; lblk += 8) {
      apply(image, model, { kind: 'fill', from: lblk, len: 8, unwritten: true, maxRun: 1000 });
      apply(image, model, { kind: 'write', from: lblk, len: 3 });
      apply(image, model, { kind: 'write', from: lblk + 3, len: 5 });
    }
    expect(image.walkExtents().extents.length).toBe(1);
  });

  it('keeps extents within their greatest lengths, which differ for written and unwritten ones', () => {
    const image = new MapWriteImage(BLOCK_SIZE, 140_000, true);
    const lengths = (): number[] => image.walkExtents().extents.map(([, , rawLen]) => rawLen);
    const convert = (begin: number, end: number, unwritten: boolean): void => {
      for (let at = begin; at < end; ) at = image.change(() => convertSome(image, image.file, at, end, unwritten));
    };
    for (let lblk = 0; lblk < 100_000; lblk += out.lenBlocks) {
      image.change(() => allocateBlocks(image, image.file, lblk, 100_000 - lblk, MappingType.UNWRITTEN, out));
    }
    expect(lengths()).toEqual([32767, 32767, 32767, 1699].map((length) => length + 32768));
    convert(0, 100_000, false);
    expect(lengths().reduce((sum, length) => sum + length, 0)).toBe(100_000);
    expect(Math.max(...lengths())).toBeLessThanOrEqual(32768);
    for (let lblk = 0; lblk < 100_000; lblk += 1000) convert(lblk, lblk + 1000, true);
    expect(lengths().reduce((sum, length) => sum + length - 32768, 0)).toBe(100_000);
    for (let lblk = 99_000; lblk >= 0; lblk -= 1000) convert(lblk, lblk + 1000, false);
    expect(lengths().reduce((sum, length) => sum + length, 0)).toBe(100_000);
    expect(lengths().length).toBeLessThan(10);
    remove(image, 0, 100_000);
    for (let lblk = 0; lblk < 70_000; lblk += out.lenBlocks) {
      image.change(() => allocateBlocks(image, image.file, lblk, 70_000 - lblk, MappingType.WRITTEN, out));
    }
    expect(lengths()).toEqual([32768, 32768, 4464]);
    convert(0, 70_000, true);
    expect(lengths().reduce((sum, length) => sum + length - 32768, 0)).toBe(70_000);
    expect(lengths().every((length) => length > 32768)).toBe(true);
  });
});
