import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { lookup } from '../../service/ext4/directory.ts';
import { CorruptionError, IncompatibleError } from '../../service/ext4/errors.ts';
import type { Inode } from '../../service/ext4/inode.ts';
import { Compat } from '../../service/ext4/layout/features.ts';
import { type Entry, fillLinear, listDirectory, sealLeaf } from '../support/directory-builder.ts';
import { FakeExt4Context, INLINE } from '../support/fake-ext4-context.ts';
import { setInodeAttributes } from '../support/xattr-builder.ts';

const DIR_INO = 50;
const RUNS = 200;

/** Names of any bytes that names may have, all different; "." and ".." are not among them. */
const names = fc
  .uniqueArray(
    fc
      .uint8Array({ minLength: 1, maxLength: 40, min: 1 })
      .filter((name) => !name.includes(0x2f) && !(name[0] === 0x2e && name.length <= 2)),
    { maxLength: 120, selector: (name) => Buffer.from(name).toString('hex') },
  )
  .map((list): Entry[] => list.map((name, index) => ({ name, ino: 100 + index, type: 1 + (index % 7) })));

const rooms = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 4 });
const compats = fc.constantFrom(Compat.EXT_ATTR, Compat.EXT_ATTR | Compat.DIR_INDEX);

/** Runs and takes refusals for an answer; anything else that is thrown is a fault. */
function refusedOr<T>(action: () => T): T | null {
  try {
    return action();
  } catch (error) {
    if (error instanceof CorruptionError || error instanceof IncompatibleError) return null;
    throw error;
  }
}

function exercise(context: FakeExt4Context, dir: Inode): void {
  const name = Uint8Array.of(0x61, 0x62);
  refusedOr(() => lookup(context, dir, name, 0, 2));
  refusedOr(() => lookup(context, dir, Uint8Array.of(0x2e, 0x2e), 0, 2));
  refusedOr(() => listDirectory(context, dir, [3]));
}

describe('a linear directory', () => {
  it('delivers every entry exactly once and finds every name, whatever the sink holds', () => {
    fc.assert(
      fc.property(names, rooms, compats, fc.boolean(), (entries, sizes, compat, checksums) => {
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
