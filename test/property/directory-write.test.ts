import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockRole } from '../../service/ext4/buffer-cache.ts';
import { isEmptyDirectory, setParent } from '../../service/ext4/directory-write.ts';
import { CorruptionError, FsError } from '../../service/ext4/errors.ts';
import { sealIndexBlock } from '../../service/ext4/htree-node-write.ts';
import { Compat, Incompat } from '../../service/ext4/layout/features.ts';
import { InodeFlag } from '../../service/ext4/layout/inode.ts';
import { sinkRooms } from '../support/directory-arbitraries.ts';
import { bytesOf, hexOf, listDirectory } from '../support/directory-builder.ts';
import { DirectoryModel } from '../support/directory-model.ts';
import { FakeWriteContext } from '../support/fake-write-context.ts';

const RUNS = 60;
const POOL = 250;

/** Names of all lengths: a third short, a third long, a third as long as names may be. */
function poolName(index: number): Uint8Array {
  const serial = `${index.toString(36)}.`;
  const length = index % 3 === 0 ? serial.length : index % 3 === 1 ? 20 + (index % 90) : 255;
  return bytesOf(serial.padEnd(length, 'näme with bytes')).slice(0, 255);
}

const pool = Array.from({ length: POOL }, (_, index) => poolName(index));

const shape = fc.record({
  blockSize: fc.constantFrom(1024, 2048, 4096, 65536),
  hashVersion: fc.integer({ min: 0, max: 2 }),
  superblockFlags: fc.integer({ min: 1, max: 2 }),
  checksums: fc.boolean(),
  inodeSize: fc.constantFrom(128, 256, 512),
  compat: fc.constantFrom(Compat.EXT_ATTR | Compat.DIR_INDEX, Compat.EXT_ATTR),
  incompat: fc
    .subarray([Incompat.FILETYPE, Incompat.EXTENTS, Incompat.LARGEDIR, Incompat.INLINE_DATA])
    .map((bits) => bits.reduce((sum, bit) => sum | bit, 0)),
});

/** A change of one name, or null: everything goes to the device and comes back. */
const change = fc.option(fc.record({ name: fc.integer({ min: 0, max: POOL - 1 }), mayReplace: fc.boolean() }), {
  freq: 20,
});
const changes = fc.oneof(
  { weight: 1, arbitrary: fc.array(change, { maxLength: 30 }) },
  { weight: 3, arbitrary: fc.array(change, { minLength: 100, maxLength: 500 }) },
);

describe('a directory that names are added to and removed from', () => {
  it('is like a map, in every format', () => {
    fc.assert(
      fc.property(shape, changes, sinkRooms, (options, list, rooms) => {
        const model = new DirectoryModel(new FakeWriteContext({ ...options, blocks: 2048 }));
        for (const step of list) {
          if (step === null) {
            model.context.settle();
            model.expectWhole(rooms);
          } else {
            model.toggle(pool[step.name], step.mayReplace);
            model.expectName(pool[step.name]);
          }
        }
        model.context.settle();
        model.expectWhole(rooms);
      }),
      { numRuns: RUNS },
    );
  });

  it('is as it was before when an addition fails for want of blocks', () => {
    fc.assert(
      fc.property(shape, fc.integer({ min: 0, max: 30 }), (options, blocksLeft) => {
        const model = new DirectoryModel(new FakeWriteContext({ ...options, blocks: 2048 }));
        model.context.blocksLeft = blocksLeft;
        for (const name of pool) {
          try {
            model.add(name);
          } catch (error) {
            expect(error).toBeInstanceOf(FsError);
            model.expectName(name);
          }
        }
        model.expectWhole();
        model.context.settle();
        model.expectWhole();
        for (const name of pool) model.remove(name);
        model.context.settle();
        model.expectWhole();
      }),
      { numRuns: RUNS },
    );
  });

  it('lists every name that stays exactly once, whatever comes and goes during the listing', () => {
    const nth = fc.constantFrom(5, 50);
    fc.assert(
      fc.property(shape, changes, sinkRooms, nth, (options, list, rooms, step) => {
        const model = new DirectoryModel(new FakeWriteContext({ ...options, blocks: 2048 }));
        const stays = (index: number): boolean => index % step === 0;
        for (let index = 0; index < POOL; index += step) model.add(pool[index]);
        let next = 0;
        const listed = listDirectory(model.context, model.dir, rooms, () => {
          for (let change = list[next++] ?? null; change !== null; change = list[next++] ?? null) {
            if (!stays(change.name)) model.toggle(pool[change.name], change.mayReplace);
          }
        });
        const times = new Map<string, number>();
        for (const { name } of listed) times.set(name, (times.get(name) ?? 0) + 1);
        for (let index = 0; index < POOL; index += step) expect(times.get(hexOf(pool[index]))).toBe(1);
      }),
      { numRuns: RUNS },
    );
  });

  it('is refused or changed, and no handle stays open, when bytes of it are wrong under good checksums', () => {
    const damage = fc.record({
      lblk: fc.integer({ min: 0, max: 12 }),
      at: fc.oneof(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 0, max: 1023 })),
      value: fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 255 })),
    });
    const damages = fc.array(damage, { minLength: 1, maxLength: 6 });
    const names = fc.integer({ min: 30, max: 150 });
    fc.assert(
      fc.property(shape, names, damages, changes, (options, count, wrong, list) => {
        const context = new FakeWriteContext({ ...options, blocks: 2048, blockSize: 1024 });
        const model = new DirectoryModel(context);
        for (let index = 0; index < count; index++) model.add(pool[index]);
        for (const { lblk, at, value } of wrong) damageBlock(model, lblk, at, value);
        context.settle();
        for (const step of list) {
          refusedOrFull(() => (step === null ? context.settle() : model.toggle(pool[step.name], step.mayReplace)));
          expect(context.handle.isOpen).toBe(false);
        }
        refusedOrFull(() => context.atomically(() => isEmptyDirectory(context, model.dir)));
        refusedOrFull(() => context.atomically(() => setParent(context, model.dir, 3)));
      }),
      { numRuns: 2 * RUNS },
    );
  });

  /** Changes a byte as a writer would, who makes the checksum match; not where no checksum could. */
  function damageBlock({ context, dir }: DirectoryModel, lblk: number, at: number, value: number): void {
    if (dir.hasFlag(InodeFlag.INLINE_DATA) || lblk * context.blockSize >= dir.sizeBytes) return;
    const block = context.fileBlock(dir, lblk);
    if (block === null) return;
    const before = block.bytes[at];
    block.bytes[at] = value;
    try {
      if (block.role === BlockRole.HTREE_NODE) sealIndexBlock(context, block);
    } catch (error) {
      expect(error).toBeInstanceOf(CorruptionError);
      block.bytes[at] = before;
    }
  }

  /** A wrong name or inode is as good as absent; the comparison with the model is not the point here. */
  function refusedOrFull(action: () => void): void {
    try {
      action();
    } catch (error) {
      const isRefusal = error instanceof FsError || error instanceof CorruptionError;
      if (!isRefusal && !(error instanceof Error && error.name === 'AssertionError')) throw error;
    }
  }
});
