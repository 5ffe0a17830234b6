import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CorruptionError, DeviceError, FsError } from '../../service/ext4/errors.ts';
import { FallocateMode, fallocate } from '../../service/ext4/fallocate.ts';
import { writeSmall } from '../../service/ext4/file-write.ts';
import { allocateBlocks } from '../../service/ext4/map-write.ts';
import { Mapping, MappingType } from '../../service/ext4/mapping.ts';
import { releaseAllBlocks, truncate } from '../../service/ext4/truncate.ts';
import { MapWriteImage } from '../support/map-write-image.ts';

const M = FallocateMode;
const BLOCK_SIZE = 128;
const BLOCKS = 600;
const MODES = [0, M.PUNCH_HOLE | M.KEEP_SIZE, M.ZERO_RANGE, M.COLLAPSE_RANGE, M.INSERT_RANGE];

const damage = fc.record({ node: fc.nat(100), offset: fc.nat(BLOCK_SIZE - 1), value: fc.nat(255) });
const change = fc.record({
  kind: fc.constantFrom('write', 'truncate', 'fallocate', 'release'),
  mode: fc.constantFrom(...MODES),
  from: fc.nat(BLOCKS),
  len: fc.integer({ min: 1, max: BLOCKS }),
});

function build(extents: boolean): MapWriteImage {
  const image = new MapWriteImage(BLOCK_SIZE, 2048, extents);
  const out = new Mapping();
  for (let lblk = 0; lblk < BLOCKS; lblk += 3) {
    image.change(() => allocateBlocks(image, image.file, lblk, 1, MappingType.UNWRITTEN - (lblk % 2), out));
  }
  image.file.sizeBytes = BLOCKS * BLOCK_SIZE;
  return image;
}

/** Changes a byte of a node as if it had been like that on the device. */
function spoil(image: MapWriteImage, { node, offset, value }: { node: number; offset: number; value: number }): void {
  const used = image.usedBlocks().filter((block) => image.cache.has(block));
  const place = node % (used.length + 1);
  const block = image.cache.get(place === used.length ? image.file.tableBlock : used[place]);
  const at = place === used.length ? 0x28 + (offset % 60) : offset;
  block.bytes[at] = value;
  block.checked = 0;
}

describe.each([
  ['an extent tree', true],
  ['a tree of block pointers', false],
])('%s with damage', (_name, extents) => {
  it('is refused or changed, but nothing else happens', () => {
    let refused = 0;
    fc.assert(
      fc.property(
        fc.array(damage, { minLength: 1, maxLength: 4 }),
        fc.array(change, { maxLength: 6 }),
        (hits, changes) => {
          const image = build(extents);
          for (const hit of hits) spoil(image, hit);
          for (const { kind, mode, from, len } of changes) {
            const offset = from * BLOCK_SIZE;
            const length = len * BLOCK_SIZE;
            try {
              if (kind === 'write') writeSmall(image, image.file, offset, new Uint8Array(length));
              else if (kind === 'truncate') truncate(image, image.file, offset);
              else if (kind === 'fallocate') fallocate(image, image.file, mode, offset, length);
              else releaseAllBlocks(image, image.file);
            } catch (error) {
              if (!(error instanceof CorruptionError || error instanceof FsError || error instanceof DeviceError))
                throw error;
              refused++;
            }
            expect(image.handle.isOpen).toBe(false);
          }
        },
      ),
      { numRuns: 150 },
    );
    expect(refused).toBeGreaterThan(10);
  });
});
