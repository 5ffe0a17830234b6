import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { lookup } from '../../service/ext4/directory.ts';
import type { Inode } from '../../service/ext4/inode.ts';
import { Compat } from '../../service/ext4/layout/features.ts';
import { directoryEntries, refusedOr, sinkRooms } from '../support/directory-arbitraries.ts';
import { fillLinear, listDirectory, sealLeaf } from '../support/directory-builder.ts';
import { FakeExt4Context, INLINE } from '../support/fake-ext4-context.ts';
import { setInodeAttributes } from '../support/xattr-builder.ts';

const DIR_INO = 50;
const RUNS = 200;

const names = directoryEntries(0, 120, 40);
const compats = fc.constantFrom(Compat.EXT_ATTR, Compat.EXT_ATTR | Compat.DIR_INDEX);

function exercise(context: FakeExt4Context, dir: Inode): void {
  const name = Uint8Array.of(0x61, 0x62);
  refusedOr(() => lookup(context, dir, name, 0, 2));
  refusedOr(() => lookup(context, dir, Uint8Array.of(0x2e, 0x2e), 0, 2));
  refusedOr(() => listDirectory(context, dir, [3]));
}

describe('a linear directory', () => {
  it('delivers every entry exactly once and finds every name, whatever the sink holds', () => {
    fc.assert(
      fc.property(names, sinkRooms, compats, fc.boolean(), (entries, sizes, compat, checksums) => {
        const context = new FakeExt4Context({ compat, checksums });
        const dir = context.addDirectory(DIR_INO);
        fillLinear(context, dir, entries);
        const inos = listDirectory(context, dir, sizes).map(({ ino }) => ino);
        expect(inos.sort()).toEqual([2, DIR_INO, ...entries.map(({ ino }) => ino)].sort());
        for (const { name, ino } of entries) expect(lookup(context, dir, name, 0, name.length)).toBe(ino);
      }),
      { numRuns: RUNS },
    );
  });

  it('never crashes or loops on arbitrary bytes under a good checksum', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ minLength: 1024, maxLength: 1024 }), { minLength: 1, maxLength: 3 }),
        (blocks) => {
          const context = new FakeExt4Context();
          const dir = context.addDirectory(DIR_INO);
          blocks.forEach((block, lblk) => {
            context.setFileBlock(dir, lblk, sealLeaf(context, dir, block));
          });
          exercise(context, dir);
        },
      ),
      { numRuns: RUNS },
    );
  });

  it('never crashes or loops when any bytes of a good directory change', () => {
    const changes = fc.array(fc.tuple(fc.integer({ min: 0, max: 2047 }), fc.integer({ min: 0, max: 255 })), {
      minLength: 1,
      maxLength: 6,
    });
    fc.assert(
      fc.property(names, changes, compats, (entries, bytes, compat) => {
        const context = new FakeExt4Context({ compat, checksums: false });
        const dir = context.addDirectory(DIR_INO);
        fillLinear(context, dir, entries);
        for (const [at, value] of bytes) {
          const pblk = context.pblkOf(dir, Math.floor(at / 1024));
          if (pblk !== 0) context.writeBlock(pblk, Uint8Array.of(value), at % 1024);
        }
        exercise(context, dir);
      }),
      { numRuns: RUNS },
    );
  });
});

describe('an inline directory', () => {
  it('never crashes or loops on arbitrary bytes', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 60, maxLength: 60 }),
        fc.uint8Array({ maxLength: 60 }),
        compats,
        (head, tail, compat) => {
          const context = new FakeExt4Context({ compat });
          const dir = context.addDirectory(DIR_INO, INLINE);
          head.set([2, 0, 0, 0]);
          context.writeBlock(dir.tableBlock, head, dir.tableOffset + 0x28);
          setInodeAttributes(context, dir, [{ index: 7, name: 'data', value: tail }]);
          dir.sizeBytes = 60 + tail.length;
          exercise(context, dir);
        },
      ),
      { numRuns: RUNS },
    );
  });
});
