import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CorruptionError, DeviceError } from '../../service/ext4/errors.ts';
import { MappingType } from '../../service/ext4/mapping.ts';
import { MapImage } from '../support/map-image.ts';

const BLOCK_SIZE = 1024;
const DEVICE_BLOCKS = 128;
const N = BLOCK_SIZE / 4;
const REACH = 12 + N + N ** 2 + N ** 3;

/** Writes data pointers one by one, making the indirect blocks on the way. */
class MapBuilder {
  readonly image = new MapImage(BLOCK_SIZE, DEVICE_BLOCKS, false);
  readonly pointers = new Map<number, number>();
  #nextBlock = 2;

  add(lblk: number, pblk: number): void {
    if (lblk < 12) {
      this.image.rootPointer(lblk, pblk);
    } else {
      let rest = lblk - 12;
      let level = 1;
      while (rest >= N ** level) rest -= N ** level++;
      if (this.#nextBlock + level > DEVICE_BLOCKS) return;
      let at = this.image.rootAt + 4 * (11 + level);
      for (let span = N ** level; span > 1; span /= N) {
        let block = this.image.view.getUint32(at, true);
        if (block === 0) {
          block = this.#nextBlock++;
          this.image.view.setUint32(at, block, true);
        }
        const index = Math.floor(rest / (span / N));
        rest -= index * (span / N);
        at = block * BLOCK_SIZE + 4 * index;
      }
      this.image.view.setUint32(at, pblk, true);
    }
    this.pointers.set(lblk, pblk);
  }
}

const lblks = fc.oneof(fc.nat(11), fc.nat(400), fc.nat(70_000), fc.nat(REACH - 1));
const runs = fc.array(
  fc.record({
    lblk: lblks,
    len: fc.integer({ min: 1, max: 30 }),
    pblk: fc.integer({ min: DEVICE_BLOCKS, max: 2 ** 31 }),
  }),
  { maxLength: 12 },
);

describe('the indirect map', () => {
  it('answers as a plain table of pointers does', () => {
    fc.assert(
      fc.property(runs, fc.array(lblks, { maxLength: 10 }), (given, asked) => {
        const builder = new MapBuilder();
        for (const { lblk, len, pblk } of given) {
          for (let i = 0; i < len && lblk + i < REACH; i++) builder.add(lblk + i, pblk + i);
        }
        const { image, pointers } = builder;
        for (const lblk of [...asked, ...given.map((run) => run.lblk), ...given.map((run) => run.lblk + run.len)]) {
          const found = image.ask(lblk);
          const end = found.lblk + found.lenBlocks;
          const pblk = pointers.get(lblk) ?? 0;
          expect(found.type).toBe(pblk === 0 ? MappingType.HOLE : MappingType.WRITTEN);
          expect(lblk >= found.lblk && lblk < end).toBe(true);
          if (pblk !== 0) expect(found.pblk + (lblk - found.lblk)).toBe(pblk);
          for (const [other, target] of pointers) {
            if (other < found.lblk || other >= end) continue;
            expect(target).toBe(pblk === 0 ? 0 : found.pblk + (other - found.lblk));
          }
          if (pblk !== 0) expect(pointers.has(end - 1)).toBe(true);
        }
      }),
      { numRuns: 200 },
    );
  });

  it('never loops or fails otherwise than by corruption on arbitrary pointers', () => {
    const smallPointers = fc.array(fc.oneof(fc.nat(20), fc.nat(2 ** 32 - 1)), { minLength: 4 * N, maxLength: 4 * N });
    fc.assert(
      fc.property(smallPointers, fc.array(lblks, { minLength: 1, maxLength: 10 }), (pointers, asked) => {
        const image = new MapImage(BLOCK_SIZE, 16, false);
        for (const [index, pointer] of pointers.entries()) image.pointer(2 + Math.floor(index / N), index % N, pointer);
        for (let index = 0; index < 15; index++) image.rootPointer(index, pointers[index * 7]);
        for (const lblk of asked) {
          try {
            const found = image.ask(lblk);
            expect(found.lblk <= lblk && lblk < found.lblk + found.lenBlocks).toBe(true);
          } catch (error) {
            if (!(error instanceof CorruptionError || error instanceof DeviceError)) throw error;
          }
        }
      }),
      { numRuns: 300 },
    );
  });
});
