import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CorruptionError, DeviceError } from '../../service/ext4/errors.ts';
import { MappingType } from '../../service/ext4/mapping.ts';
import { type IndexEntry, type LeafEntry, MapImage } from '../support/map-image.ts';

const BLOCK_SIZE = 1024;
const DEVICE_BLOCKS = 256;
const END = 2 ** 32 - 1;

/** Random gaps and lengths become sorted extents that do not overlap. */
const extents = fc
  .array(
    fc.record({
      gap: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 2 ** 24 })),
      len: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 32767 })),
      pblk: fc.integer({ min: DEVICE_BLOCKS, max: 2 ** 40 }),
      unwritten: fc.boolean(),
    }),
    { maxLength: 60 },
  )
  .map((steps) => {
    let next = 0;
    return steps.map(({ gap, len, pblk, unwritten }): LeafEntry => {
      const lblk = next + gap;
      next = lblk + len;
      return { lblk, pblk, len, unwritten };
    });
  });

/** Cuts a list into pieces of the given sizes, used over and over. */
function pieces<T>(list: readonly T[], sizes: readonly number[]): T[][] {
  const cut: T[][] = [];
  for (let at = 0, turn = 0; at < list.length; turn++) {
    const size = sizes[turn % sizes.length];
    cut.push(list.slice(at, at + size));
    at += size;
  }
  return cut;
}

/** Writes the extents as a tree of at least `minDepth` levels whose nodes have the given numbers of entries. */
function build(entries: readonly LeafEntry[], minDepth: number, fanouts: readonly number[]): MapImage {
  const image = new MapImage(BLOCK_SIZE, DEVICE_BLOCKS, true);
  if (entries.length === 0 || (minDepth === 0 && entries.length <= 4)) {
    image.leafRoot(entries);
    return image;
  }
  let block = 2;
  let level: IndexEntry[] = pieces(entries, fanouts).map((piece) => {
    image.leaf(block, piece);
    return { lblk: piece[0].lblk, leaf: block++ };
  });
  let depth = 1;
  while (level.length > 4 || depth < minDepth) {
    const height = depth++;
    level = pieces(level, fanouts).map((piece) => {
      image.index(block, height, piece);
      return { lblk: piece[0].lblk, leaf: block++ };
    });
  }
  image.indexRoot(depth, level);
  return image;
}

/** What a list of extents says about a block, found the simple way. */
function model(entries: readonly LeafEntry[], lblk: number): { type: number; lblk: number; pblk: number; end: number } {
  let floor = 0;
  for (const entry of entries) {
    if (lblk < entry.lblk) return { type: MappingType.HOLE, lblk: floor, pblk: 0, end: entry.lblk };
    const end = entry.lblk + entry.len;
    const type = entry.unwritten === true ? MappingType.UNWRITTEN : MappingType.WRITTEN;
    if (lblk < end) return { type, lblk: entry.lblk, pblk: entry.pblk, end };
    floor = end;
  }
  return { type: MappingType.HOLE, lblk: floor, pblk: 0, end: END };
}

const fanouts = fc.array(fc.integer({ min: 4, max: 12 }), { minLength: 1, maxLength: 4 });
const depths = fc.integer({ min: 0, max: 3 });
const anyBlock = fc.oneof(fc.integer({ min: 0, max: 2000 }), fc.integer({ min: 0, max: END - 1 }));

describe('the extent tree', () => {
  it('answers as a plain list of extents does, whatever the shape of the tree', () => {
    fc.assert(
      fc.property(extents, depths, fanouts, fc.array(anyBlock, { maxLength: 10 }), (entries, depth, shape, blocks) => {
        const image = build(entries, depth, shape);
        const edges = entries.flatMap(({ lblk, len }) => [Math.max(0, lblk - 1), lblk, lblk + len - 1, lblk + len]);
        for (const lblk of [...blocks, ...edges]) {
          const expected = model(entries, lblk);
          const found = image.ask(lblk);
          expect({ ...found, lenBlocks: undefined }).toEqual({ ...expected, end: undefined, lenBlocks: undefined });
          expect(found.lblk + found.lenBlocks).toBe(expected.end);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('never answers anything but a run around the block, or corruption, after arbitrary damage', () => {
    const damage = fc.array(
      fc.record({ block: fc.nat(20), offset: fc.nat(160), bytes: fc.uint8Array({ minLength: 1, maxLength: 12 }) }),
      { minLength: 1, maxLength: 6 },
    );
    fc.assert(
      fc.property(extents, depths, fanouts, damage, fc.array(anyBlock, { minLength: 3, maxLength: 10 }), (...given) => {
        const [entries, depth, shape, hits, blocks] = given;
        const image = build(entries, depth, shape);
        for (const { block, offset, bytes } of hits) {
          const at = block === 0 ? image.rootAt + (offset % 60) : (block + 1) * BLOCK_SIZE + offset;
          image.bytes.set(block === 0 ? bytes.subarray(0, 60 - (offset % 60)) : bytes, at);
          if (block > 0) image.seal(block + 1);
        }
        for (const lblk of [...blocks, ...entries.map((entry) => entry.lblk)]) expectRunOrCorruption(image, lblk);
      }),
      { numRuns: 600 },
    );
  });

  it('survives a root of arbitrary bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 60, maxLength: 60 }), fc.boolean(), anyBlock, (root, withMagic, lblk) => {
        const image = new MapImage(BLOCK_SIZE, 8, false);
        image.useExtents();
        image.bytes.set(root, image.rootAt);
        if (withMagic) {
          image.view.setUint16(image.rootAt, 0xf30a, true);
          image.view.setUint16(image.rootAt + 2, root[2] % 5, true);
          image.view.setUint16(image.rootAt + 4, 4, true);
          image.view.setUint16(image.rootAt + 6, root[6] % 6, true);
        }
        expectRunOrCorruption(image, lblk);
      }),
      { numRuns: 2000 },
    );
  });
});

function expectRunOrCorruption(image: MapImage, lblk: number): void {
  try {
    const found = image.ask(lblk);
    expect(found.lblk).toBeLessThanOrEqual(lblk);
    expect(found.lblk + found.lenBlocks).toBeGreaterThan(lblk);
  } catch (error) {
    // Nodes may be said to lie behind the end of the small device.
    if (!(error instanceof CorruptionError || error instanceof DeviceError)) throw error;
  }
}
