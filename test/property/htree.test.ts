import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { lookup } from '../../service/ext4/directory.ts';
import type { Inode } from '../../service/ext4/inode.ts';
import { Incompat } from '../../service/ext4/layout/features.ts';
import { directoryEntries, refusedOr, sinkRooms } from '../support/directory-arbitraries.ts';
import {
  type Entry,
  fillIndexed,
  leafBlock,
  listDirectory,
  majorOf,
  rootBlock,
  sealIndex,
  sealLeaf,
} from '../support/directory-builder.ts';
import { FakeExt4Context, INDEXED } from '../support/fake-ext4-context.ts';

const DIR_INO = 50;
const RUNS = 100;
const LARGE = { incompat: Incompat.FILETYPE | Incompat.LARGEDIR };

const names = directoryEntries(1, 150, 60);
const shape = fc.record({
  hashVersion: fc.integer({ min: 0, max: 2 }),
  superblockFlags: fc.integer({ min: 1, max: 2 }),
  checksums: fc.boolean(),
});
const perLeaf = fc.integer({ min: 1, max: 12 });
const perNode = fc.integer({ min: 6, max: 40 });

const inosOf = (entries: readonly Entry[]): number[] => [2, DIR_INO, ...entries.map(({ ino }) => ino)].sort();

describe('an indexed directory', () => {
  it('delivers every entry exactly once and finds every name, whatever the sink holds', () => {
    fc.assert(
      fc.property(names, shape, perLeaf, perNode, sinkRooms, (entries, options, leaf, node, sizes) => {
        const context = new FakeExt4Context({ ...LARGE, ...options });
        const dir = context.addDirectory(DIR_INO, INDEXED);
        fillIndexed(context, dir, entries, leaf, node);
        expect(
          listDirectory(context, dir, sizes)
            .map(({ ino }) => ino)
            .sort(),
        ).toEqual(inosOf(entries));
        for (const { name, ino } of entries) expect(lookup(context, dir, name, 0, name.length)).toBe(ino);
      }),
      { numRuns: RUNS },
    );
  });

  it('neither skips nor repeats survivors when names are deleted during the listing', () => {
    fc.assert(
      fc.property(
        names,
        shape,
        perLeaf,
        sinkRooms,
        fc.integer({ min: 2, max: 5 }),
        (entries, options, leaf, sizes, nth) => {
          const context = new FakeExt4Context({ ...LARGE, ...options });
          const dir = context.addDirectory(DIR_INO, INDEXED);
          fillIndexed(context, dir, entries, leaf, 40);
          let left = [...entries];
          let calls = 0;
          const listed = listDirectory(context, dir, sizes, () => {
            if (++calls % 3 !== 0) return;
            left = left.filter((_, index) => index % nth !== 0);
            fillIndexed(context, dir, left, leaf, 40);
          });
          const inos = listed.map(({ ino }) => ino);
          expect(new Set(inos).size).toBe(inos.length);
          for (const { ino } of left) expect(inos).toContain(ino);
        },
      ),
      { numRuns: RUNS },
    );
  });

  it('delivers entries whose positions are equal exactly once, spread over leaves as they may be', () => {
    const groups = fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(groups, fc.integer({ min: 0, max: 2 }), sinkRooms, (leaves, hashVersion, sizes) => {
        const context = new FakeExt4Context({ ...LARGE, hashVersion });
        const dir = context.addDirectory(DIR_INO, INDEXED);
        const name = Uint8Array.of(0x74, 0x77, 0x69, 0x6e);
        const hash = majorOf(context, name);
        let ino = 100;
        const all: Entry[] = [];
        leaves.forEach((count, index) => {
          const twins = Array.from({ length: count }, () => ({ name, ino: ino++, type: 1 }));
          all.push(...twins);
          context.setFileBlock(dir, index + 1, leafBlock(context, dir, twins));
        });
        const index = leaves.map((_, at) => ({ hash: at === 0 ? 0 : hash + 1, lblk: at + 1 }));
        context.setFileBlock(dir, 0, rootBlock(context, dir, 0, index));
        expect(listDirectory(context, dir, sizes).map((entry) => entry.ino)).toEqual([
          DIR_INO,
          2,
          ...all.map((entry) => entry.ino),
        ]);
      }),
      { numRuns: RUNS },
    );
  });
});

describe('a hostile index', () => {
  function exercise(context: FakeExt4Context, dir: Inode, entries: readonly Entry[]): void {
    for (const { name } of entries.slice(0, 20)) refusedOr(() => lookup(context, dir, name, 0, name.length));
    refusedOr(() => listDirectory(context, dir, [3]));
    refusedOr(() => listDirectory(context, dir, [1000]));
  }

  it('never crashes or loops when bytes of index and leaves change under good checksums', () => {
    const change = fc.record({
      lblk: fc.integer({ min: 0, max: 40 }),
      at: fc.oneof(fc.integer({ min: 0, max: 100 }), fc.integer({ min: 0, max: 1023 })),
      value: fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 255 })),
    });
    const changes = fc.array(change, { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(names, shape, fc.integer({ min: 2, max: 5 }), changes, (entries, options, leaf, list) => {
        const context = new FakeExt4Context({ ...LARGE, ...options });
        const dir = context.addDirectory(DIR_INO, INDEXED);
        fillIndexed(context, dir, entries, leaf, 6);
        for (const { lblk, at, value } of list) {
          const pblk = context.pblkOf(dir, lblk);
          if (pblk === 0) continue;
          const block = context.readBlock(pblk);
          const isNode = block[4] === 0 && block[5] === 4;
          block[at] = value;
          context.writeBlock(pblk, sealed(context, dir, block, lblk, isNode));
        }
        exercise(context, dir, entries);
      }),
      { numRuns: 2 * RUNS },
    );
  });

  /** Seals a changed block as what it was, if its fields still allow that. */
  function sealed(context: FakeExt4Context, dir: Inode, block: Uint8Array, lblk: number, isNode: boolean): Uint8Array {
    if (lblk !== 0 && !isNode) return sealLeaf(context, dir, block);
    const entriesAt = isNode ? 8 : 32;
    const view = new DataView(block.buffer);
    const limit = view.getUint16(entriesAt, true);
    const count = view.getUint16(entriesAt + 2, true);
    const fits = entriesAt + limit * 8 + 8 <= block.length && count <= limit;
    return fits ? sealIndex(context, dir, block, entriesAt) : block;
  }
});
