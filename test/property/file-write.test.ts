import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FsError } from '../../service/ext4/errors.ts';
import { FallocateMode, fallocate } from '../../service/ext4/fallocate.ts';
import { FileData } from '../../service/ext4/file-data.ts';
import { writeSmall } from '../../service/ext4/file-write.ts';
import { MappingType } from '../../service/ext4/mapping.ts';
import { finishWrite, planWrite, WritePlan } from '../../service/ext4/planned-write.ts';
import { releaseAllBlocks, truncate } from '../../service/ext4/truncate.ts';
import { Errno } from '../../shared/errno.ts';
import { MapWriteImage } from '../support/map-write-image.ts';

const M = FallocateMode;
const MAX_BYTES = 60_000;

interface Step {
  readonly kind: 'write' | 'planned' | 'truncate' | 'fallocate';
  readonly offset: number;
  readonly length: number;
  readonly mode: number;
  readonly seed: number;
  readonly maxRun: number;
}

const modes = [
  0,
  M.KEEP_SIZE,
  M.PUNCH_HOLE | M.KEEP_SIZE,
  M.ZERO_RANGE,
  M.ZERO_RANGE | M.KEEP_SIZE,
  M.COLLAPSE_RANGE,
  M.INSERT_RANGE,
];

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom('write', 'planned', 'truncate', 'fallocate', 'fallocate'),
  offset: fc.oneof(fc.nat(3000), fc.nat(MAX_BYTES)),
  length: fc.oneof(fc.integer({ min: 1, max: 700 }), fc.integer({ min: 1, max: MAX_BYTES / 3 })),
  mode: fc.constantFrom(...modes),
  seed: fc.nat(250),
  maxRun: fc.constantFrom(1, 3, 1000),
});

/** Bytes that are never zero, so that they can't be taken for a hole. */
const pattern = (length: number, seed: number): Uint8Array =>
  Uint8Array.from({ length }, (_, index) => 1 + ((seed + index * 7) % 250));

/** Content of a file as bytes alone. */
class Model {
  data = new Uint8Array(0);

  resize(size: number): void {
    const data = new Uint8Array(size);
    data.set(this.data.subarray(0, size));
    this.data = data;
  }

  write(offset: number, bytes: Uint8Array): void {
    if (offset + bytes.length > this.data.length) this.resize(offset + bytes.length);
    this.data.set(bytes, offset);
  }

  fallocate(mode: number, offset: number, length: number): void {
    const end = offset + length;
    if ((mode & (M.PUNCH_HOLE | M.ZERO_RANGE)) !== 0) this.data.fill(0, offset, end);
    if (mode === 0 || mode === M.ZERO_RANGE) this.resize(Math.max(this.data.length, end));
    if (mode === M.COLLAPSE_RANGE) {
      const rest = this.data.slice(end);
      this.data.set(rest, offset);
      this.resize(this.data.length - length);
    }
    if (mode === M.INSERT_RANGE) {
      const rest = this.data.slice(offset);
      this.resize(this.data.length + length);
      this.data.fill(0, offset, end);
      this.data.set(rest, end);
    }
  }
}

const plan = new WritePlan();

function writePlanned(image: MapWriteImage, offset: number, bytes: Uint8Array): void {
  let done = 0;
  while (done < bytes.length) {
    planWrite(image, image.file, offset + done, bytes.length - done, plan);
    if (plan.lengthBytes === 0) {
      // As the service does: the rest through the page cache, a block or less at its beginning.
      const inBlock = (offset + done) % image.blockSize;
      const part = Math.min(bytes.length - done, image.blockSize - inBlock);
      done += writeSmall(image, image.file, offset + done, bytes.subarray(done, done + part));
      continue;
    }
    let at = done;
    for (let index = 0; index < plan.segmentCount; index++) {
      const [deviceOffset, lengthBytes] = plan.segments.subarray(2 * index, 2 * index + 2);
      image.device.write(deviceOffset, bytes.subarray(at, at + lengthBytes));
      at += lengthBytes;
    }
    expect(at - done).toBe(plan.lengthBytes);
    finishWrite(image, image.file, offset + done, plan.lengthBytes);
    done += plan.lengthBytes;
  }
}

/** Returns false when the step was refused for its arguments, as it should be then. */
function apply(image: MapWriteImage, model: Model, given: Step): void {
  const { blockSize } = image;
  image.allocator.maxRun = given.maxRun;
  image.cache.beginOperation();
  const bytes = pattern(given.length, given.seed);
  switch (given.kind) {
    case 'write':
      expect(writeSmall(image, image.file, given.offset, bytes)).toBe(bytes.length);
      model.write(given.offset, bytes);
      return;
    case 'planned': {
      const offset = given.offset - (given.offset % blockSize);
      writePlanned(image, offset, bytes);
      model.write(offset, bytes);
      return;
    }
    case 'truncate':
      truncate(image, image.file, given.offset);
      model.resize(given.offset);
      return;
    case 'fallocate':
      applyFallocate(image, model, given);
  }
}

function applyFallocate(image: MapWriteImage, model: Model, given: Step): void {
  const { blockSize } = image;
  const shifts = (given.mode & (M.COLLAPSE_RANGE | M.INSERT_RANGE)) !== 0;
  const offset = shifts ? given.offset - (given.offset % blockSize) : given.offset;
  const length = shifts ? Math.ceil(given.length / blockSize) * blockSize : given.length;
  const size = model.data.length;
  const isRefused =
    (given.mode === M.COLLAPSE_RANGE && offset + length >= size) || (given.mode === M.INSERT_RANGE && offset >= size);
  const isIndirect = image.superblock.incompat === 0;
  let refusal = 0;
  if (isRefused) refusal = Errno.EINVAL;
  if (isIndirect && given.mode !== (M.PUNCH_HOLE | M.KEEP_SIZE)) refusal = Errno.EOPNOTSUPP;
  try {
    fallocate(image, image.file, given.mode, offset, length);
    expect(refusal).toBe(0);
    model.fallocate(given.mode, offset, length);
  } catch (error) {
    if (!(error instanceof FsError)) throw error;
    expect(error.errno).toBe(refusal);
  }
}

/** No block is lost or used twice, and none with data is behind the end of the file. */
function expectSound(image: MapWriteImage): void {
  const used: number[] = [];
  const endBlock = Math.ceil(image.file.sizeBytes / image.blockSize);
  for (let lblk = 0; lblk < 4 * MAX_BYTES; ) {
    const found = image.ask(lblk);
    const length = found.lblk + found.lenBlocks - lblk;
    if (found.type === MappingType.WRITTEN) expect(lblk + length).toBeLessThanOrEqual(endBlock);
    if (found.type !== MappingType.HOLE) {
      for (let block = 0; block < length; block++) used.push(found.pblk + lblk - found.lblk + block);
    }
    lblk += length;
  }
  const inUse = new Set(image.usedBlocks());
  for (const block of used) expect(inUse.delete(block)).toBe(true);
  const nodes = image.superblock.incompat === 0 ? inUse.size : image.walkExtents().nodes.length;
  expect(inUse.size).toBe(nodes);
  expect(image.file.allocatedBlocks512).toBe(((used.length + nodes) * image.blockSize) / 512);
  for (const block of used) expect(image.cache.has(block)).toBe(false);
}

function newImage(blockSize: number, extents: boolean): MapWriteImage {
  const image = new MapWriteImage(blockSize, Math.ceil((8 * MAX_BYTES) / blockSize), extents);
  // What is on the device before is not zeros.
  image.bytes.fill(0xee, 2 * blockSize);
  return image;
}

const kinds: [string, number, boolean][] = [
  ['extents and blocks of 128 bytes', 128, true],
  ['extents and blocks of 1 KiB', 1024, true],
  ['extents and blocks of 4 KiB', 4096, true],
  ['block pointers and blocks of 128 bytes', 128, false],
  ['block pointers and blocks of 1 KiB', 1024, false],
];

describe.each(kinds)('a file with %s', (_name, blockSize, extents) => {
  it('has the content that plain bytes have after the same changes', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), (steps) => {
        const image = newImage(blockSize, extents);
        const model = new Model();
        for (const given of steps) {
          apply(image, model, given);
          expect(image.file.sizeBytes).toBe(model.data.length);
          expect(Buffer.compare(image.content(), model.data)).toBe(0);
          expectSound(image);
        }
        expectSeekable(image, model);
        releaseAllBlocks(image, image.file);
        expect(image.usedBlocks()).toEqual([]);
      }),
      { numRuns: 30 },
    );
  });
});

/** Whatever is no data according to the search reads as zeros. */
function expectSeekable(image: MapWriteImage, model: Model): void {
  const data = new FileData(image, image.device, false);
  for (let at = 0; at < model.data.length; ) {
    const begin = data.seekData(image.file, at);
    const hole = begin < 0 ? model.data.length : begin;
    expect(model.data.subarray(at, hole).every((byte) => byte === 0)).toBe(true);
    if (begin < 0) return;
    at = data.seekHole(image.file, begin);
    expect(at).toBeGreaterThan(begin);
  }
}
