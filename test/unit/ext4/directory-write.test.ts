import { describe, expect, it } from 'vitest';
import { addEntry, initDirectory, parentOf, removeEntry, setParent } from '../../../service/ext4/directory-write.ts';
import { CorruptionError, FsError } from '../../../service/ext4/errors.ts';
import { Compat, Incompat } from '../../../service/ext4/layout/features.ts';
import { HashVersion } from '../../../service/ext4/layout/htree.ts';
import { InodeFlag } from '../../../service/ext4/layout/inode.ts';
import { Errno } from '../../../shared/errno.ts';
import { collidingNames } from '../../support/colliding-names.ts';
import {
  bytesOf,
  entry,
  fillLinear,
  leafBlock,
  listDirectory,
  namesOf,
  rootBlock,
} from '../../support/directory-builder.ts';
import { DirectoryModel } from '../../support/directory-model.ts';
import { INDEXED } from '../../support/fake-ext4-context.ts';
import { FakeWriteContext } from '../../support/fake-write-context.ts';

const EXTENTS = Incompat.EXTENTS | Incompat.FILETYPE;
const NO_INDEX = { compat: Compat.EXT_ATTR };
const DIR_INO = 50;

const numbered = (index: number, length = 0): Uint8Array => bytesOf(`${index}`.padEnd(length, '.'));

/** A directory with the names numbered [0, count), padded to `length`. */
function filled(count: number, options = {}, length = 0): DirectoryModel {
  const model = new DirectoryModel(new FakeWriteContext({ blocks: 4096, ...options }));
  for (let index = 0; index < count; index++) model.add(numbered(index, length));
  return model;
}

function blockOf({ context, dir }: DirectoryModel, lblk: number): Uint8Array {
  const block = context.fileBlock(dir, lblk);
  if (block === null) throw new Error(`block ${lblk} is a hole`);
  return block.bytes;
}

const sizeInBlocks = ({ context, dir }: DirectoryModel): number => dir.sizeBytes / context.blockSize;

function add(context: FakeWriteContext, dir: DirectoryModel['dir'], name: string, ino: number): void {
  const bytes = bytesOf(name);
  context.atomically(() => addEntry(context, dir, bytes, 0, bytes.length, ino, 1));
}

describe('a new directory', () => {
  it('is a block with "." and ".." and a checksum tail', () => {
    const model = filled(0);
    const block = blockOf(model, 0);
    const view = new DataView(block.buffer);
    expect([view.getUint32(0, true), view.getUint16(4, true), block[6], block[7]]).toEqual([DIR_INO, 12, 1, 2]);
    expect([view.getUint32(12, true), view.getUint16(16, true), block[18], block[19]]).toEqual([2, 1000, 2, 2]);
    expect([view.getUint32(1012, true), view.getUint32(1016, true)]).toEqual([0, 0xde00000c]);
    expect([model.dir.sizeBytes, model.dir.allocatedBlocks512]).toEqual([1024, 2]);
    model.context.settle();
    model.expectWhole();
  });

  it('has no tail without checksums, and no types without the filetype feature', () => {
    const model = filled(0, { checksums: false, incompat: Incompat.EXTENTS });
    const block = blockOf(model, 0);
    expect([...block.subarray(0, 24)]).toEqual([
      ...[DIR_INO, 0, 0, 0, 12, 0, 1, 0, 0x2e, 0, 0, 0],
      ...[2, 0, 0, 0, 0xf4, 3, 2, 0, 0x2e, 0x2e, 0, 0],
    ]);
    expect(block.subarray(24).every((byte) => byte === 0)).toBe(true);
  });

  it('says with 65535 that an entry fills a block of 64 KiB', () => {
    const model = filled(0, { ...NO_INDEX, blockSize: 65536, checksums: false, blocks: 64 });
    const recLen = (lblk: number, at: number): number => new DataView(blockOf(model, lblk).buffer).getUint16(at, true);
    expect(recLen(0, 16)).toBe(65536 - 12);
    for (let index = 0; sizeInBlocks(model) === 1; index++) model.add(numbered(index, 250));
    expect(recLen(1, 4)).toBe(65535);
    model.context.settle();
    model.expectWhole();
  });

  it('lives in the inode with the inline_data feature', () => {
    const model = filled(0, { incompat: EXTENTS | Incompat.INLINE_DATA });
    expect(model.dir.hasFlag(InodeFlag.INLINE_DATA)).toBe(true);
    expect([model.dir.hasFlag(InodeFlag.EXTENTS), model.dir.sizeBytes]).toEqual([false, 60]);
    model.expectWhole();
  });
});

describe('a directory in the inode', () => {
  const INLINE = { incompat: EXTENTS | Incompat.INLINE_DATA };

  it('takes names into i_block, then into what is left of the inode, and then moves to a block', () => {
    const model = filled(0, INLINE);
    const sizes = new Set<number>();
    for (let index = 0; !sizes.has(1024); index++) {
      model.add(numbered(index, 20));
      sizes.add(model.dir.sizeBytes);
      model.expectWhole();
    }
    // 256 bytes of inode: 128 and 32 in use, 4 of magic, 20 of the attribute's entry and 4 behind it.
    expect([...sizes]).toEqual([60, 60 + 68, 1024]);
    expect(model.dir.flags & (InodeFlag.INLINE_DATA | InodeFlag.EXTENTS)).toBe(InodeFlag.EXTENTS);
    model.context.settle();
    model.expectWhole();
  });

  it('stays there while names come and go', () => {
    const model = filled(0, INLINE);
    for (let round = 0; round < 20; round++) {
      if (round > 1) model.remove(numbered(round - 2, 30));
      model.add(numbered(round, 30));
      model.expectWhole();
    }
    expect(model.dir.hasFlag(InodeFlag.INLINE_DATA)).toBe(true);
  });

  it('keeps the positions of a listing when it moves to a block', () => {
    const model = filled(3, { ...INLINE, ...NO_INDEX }, 12);
    const before = listDirectory(model.context, model.dir);
    for (let index = 10; model.dir.hasFlag(InodeFlag.INLINE_DATA); index++) model.add(numbered(index, 12));
    const after = listDirectory(model.context, model.dir);
    for (const name of before.slice(0, -1)) expect(after).toContainEqual(name);
  });
});

describe('a directory without an index', () => {
  it('takes names where room is, and puts the room of removed ones to use again', () => {
    const model = filled(300, NO_INDEX, 20);
    const blocks = sizeInBlocks(model);
    expect(blocks).toBe(Math.ceil((300 * 28 + 24) / 1012));
    for (let index = 0; index < 300; index += 3) model.remove(numbered(index, 20));
    for (let index = 300; index < 400; index++) model.add(numbered(index, 20));
    expect(sizeInBlocks(model)).toBe(blocks);
    model.context.settle();
    model.expectWhole();
  });

  it('finds room for a short name before a block that was full for a long one', () => {
    const model = filled(50, NO_INDEX, 200);
    const blocks = sizeInBlocks(model);
    for (let index = 100; index < 130; index++) model.add(numbered(index, 12));
    expect(sizeInBlocks(model)).toBe(blocks);
  });

  it('gets an allocated block where it has a hole', () => {
    const context = new FakeWriteContext(NO_INDEX);
    const dir = context.addDirectory(DIR_INO, InodeFlag.EXTENTS);
    context.atomically(() => initDirectory(context, dir, 2));
    for (let index = 0; index < 4; index++) add(context, dir, `${index}`.padEnd(240, '-'), 100);
    dir.sizeBytes = 5 * 1024;
    for (let index = 4; index < 9; index++) add(context, dir, `${index}`.padEnd(240, '-'), 100);
    expect([dir.sizeBytes, dir.allocatedBlocks512]).toEqual([5 * 1024, 6]);
    context.settle();
    expect(listDirectory(context, dir)).toHaveLength(2 + 9);
  });

  it('is left alone when it is malformed', () => {
    const context = new FakeWriteContext();
    const dir = context.addDirectory(DIR_INO);
    fillLinear(context, dir, [entry('first', 100), entry('second', 101)]);
    const block = context.readBlock(context.pblkOf(dir, 0));
    block[4] = 11;
    context.writeBlock(context.pblkOf(dir, 0), block);
    expect(() => add(context, dir, 'third', 102)).toThrow(CorruptionError);
    expect(context.handle.running.isEmpty).toBe(true);
  });

  it('never has an index when the hash in the superblock is unknown', () => {
    const model = filled(100, { hashVersion: 6 }, 100);
    expect(model.dir.hasFlag(InodeFlag.INDEX)).toBe(false);
    model.expectWhole();
  });
});

describe('a directory that outgrows its block', () => {
  it('gets an index of one root and two leaves', () => {
    const model = filled(35, {}, 20);
    expect(model.dir.hasFlag(InodeFlag.INDEX)).toBe(false);
    model.add(numbered(35, 20));
    expect(model.dir.hasFlag(InodeFlag.INDEX)).toBe(true);
    model.add(numbered(36, 20));
    expect(model.dir.sizeBytes).toBe(3 * 1024);
    const root = blockOf(model, 0);
    expect([...root.subarray(24, 32)]).toEqual([0, 0, 0, 0, 1, 8, 0, 0]);
    expect([...root.subarray(32, 36)]).toEqual([123, 0, 2, 0]);
    model.context.settle();
    model.expectWhole();
  });

  it('is as it was before when that fails, and when the handle is cancelled', () => {
    const model = filled(35, {}, 20);
    const block = blockOf(model, 0).slice();
    model.context.blocksLeft = 1;
    expect(() => filledUp(model)).toThrow(FsError);
    model.context.blocksLeft = 100;
    const { context, dir } = model;
    expect(() =>
      context.atomically(() => {
        for (let index = 500; index < 600; index++) addEntry(context, dir, numbered(index), 0, 3, 100, 1);
        throw new Error('something else failed');
      }),
    ).toThrow('something else failed');
    expect(dir.hasFlag(InodeFlag.INDEX)).toBe(false);
    expect(blockOf(model, 0)).toEqual(block);
    model.expectWhole();
  });

  /** Adds one name after the other within one handle. */
  function filledUp({ context, dir }: DirectoryModel): void {
    context.atomically(() => {
      for (let index = 500; index < 600; index++) addEntry(context, dir, numbered(index), 0, 3, 100, 1);
    });
  }
});

describe('an index', () => {
  const LONG = 255;

  it('grows to three levels with large_dir', () => {
    const model = filled(0, { incompat: EXTENTS | Incompat.LARGEDIR, blocks: 40_000, checksums: true });
    let count = 0;
    while ((count < 1000 || blockOf(model, 0)[30] < 2) && count < 60_000) model.add(numbered(count++, LONG));
    expect(blockOf(model, 0)[30]).toBe(2);
    for (let more = 0; more < 500; more++) model.add(numbered(count++, LONG));
    for (let index = 0; index < count; index += 50) model.remove(numbered(index, LONG));
    model.context.settle();
    model.expectWhole([5000]);
  }, 60_000);

  it('is full after two levels without large_dir', () => {
    const model = filled(0, { blocks: 40_000, checksums: false });
    let count = 0;
    const fill = (): void => {
      while (count < 60_000) model.add(numbered(count++, LONG));
    };
    expect(fill).toThrow('is full');
    expect(blockOf(model, 0)[30]).toBe(1);
    const names = model.entries.size;
    model.remove(numbered(7, LONG));
    model.add(numbered(7, LONG));
    expect(model.entries.size).toBe(names);
    model.context.settle();
    model.expectWhole([5000]);
  }, 60_000);

  it('moves the entries of a leaf together before it splits it', () => {
    const model = filled(36, {}, 20);
    const blocks = sizeInBlocks(model);
    for (let round = 0; round < 40; round++) {
      for (let index = 0; index < 36; index += 2) model.remove(numbered(index, 20));
      for (let index = 0; index < 36; index += 2) model.add(numbered(index, 20));
    }
    expect(sizeInBlocks(model)).toBe(blocks);
    model.expectWhole();
  });

  it('that makes no sense is given up without checksums, and is an error with them', () => {
    for (const checksums of [false, true]) {
      const context = new FakeWriteContext({ checksums });
      const dir = context.addDirectory(DIR_INO, INDEXED);
      context.setFileBlock(dir, 1, leafBlock(context, dir, [entry('leaf', 100)]));
      const root = rootBlock(context, dir, 0, [{ hash: 0, lblk: 1 }]);
      root[28] = 17;
      context.setFileBlock(dir, 0, root);
      if (checksums) {
        expect(() => add(context, dir, 'name', 101)).toThrow(CorruptionError);
        continue;
      }
      for (let index = 0; index < 30; index++) add(context, dir, `name ${index}`, 101);
      expect(dir.hasFlag(InodeFlag.INDEX)).toBe(false);
      context.settle();
      expect(namesOf(listDirectory(context, dir))).toHaveLength(2 + 1 + 30);
    }
  });

  it('refuses to split a leaf with names that do not belong there', () => {
    const model = filled(60, {}, 60);
    const { context, dir } = model;
    context.settle();
    const strangers = Array.from({ length: 3 }, (_, index) => entry(`${index}`.padEnd(255, 'z'), 100));
    const leaves = sizeInBlocks(model) - 1;
    for (let lblk = 1; lblk <= leaves; lblk++) {
      const leaf = context.fileBlock(dir, lblk);
      if (leaf !== null) context.writeBlock(leaf.blockNr, leafBlock(context, dir, strangers));
    }
    const { sizeBytes } = dir;
    expect(() => add(context, dir, 'y'.repeat(255), 100)).toThrow(/3 names of hashes .* in leaf/);
    expect([dir.sizeBytes, context.handle.running.isEmpty]).toEqual([sizeBytes, true]);
  });

  /** Entries of the root's own whose leaves go on with the hash of the leaf before. */
  function continuedLeaves(model: DirectoryModel): number {
    const view = new DataView(blockOf(model, 0).buffer);
    const count = view.getUint16(34, true);
    return Array.from({ length: count }, (_, index) => view.getUint32(32 + 8 * index, true) & 1)
      .slice(1)
      .reduce((sum, bit) => sum + bit, 0);
  }

  it('goes on with names of one hash from leaf to leaf', () => {
    for (const superblockFlags of [1, 2]) {
      const model = filled(20, { hashVersion: HashVersion.LEGACY, superblockFlags }, 250);
      for (const name of collidingNames) model.add(name);
      for (let index = 20; index < 60; index++) model.add(numbered(index, 250));
      model.context.settle();
      expect(continuedLeaves(model)).toBeGreaterThan(1);
      model.expectWhole([1]);
      for (const name of collidingNames.slice(3, 9)) model.remove(name);
      model.expectWhole([2]);
      for (const name of collidingNames.slice(3, 9)) model.add(name);
      model.context.settle();
      model.expectWhole([3]);
    }
  });
});

describe('removing a name', () => {
  it('gives its room to the entry before, and clears it', () => {
    const model = filled(3);
    model.remove(numbered(1));
    const block = blockOf(model, 0);
    expect(new DataView(block.buffer).getUint16(24 + 4, true)).toBe(24);
    expect(block.subarray(36, 48).every((byte) => byte === 0)).toBe(true);
    model.expectWhole();
  });

  it('that is absent changes nothing', () => {
    const model = filled(3);
    model.context.settle();
    model.remove(bytesOf('absent'));
    model.replace(bytesOf('absent'));
    expect(model.context.handle.running.isEmpty).toBe(true);
  });

  it('leaves an empty directory that takes names again, whatever its form', () => {
    for (const options of [{}, NO_INDEX, { incompat: EXTENTS | Incompat.INLINE_DATA }]) {
      const model = filled(200, options, 30);
      const { sizeBytes } = model.dir;
      for (let index = 0; index < 200; index++) model.remove(numbered(index, 30));
      model.context.settle();
      model.expectWhole();
      expect(model.dir.sizeBytes).toBe(sizeBytes);
      model.add(numbered(1));
      model.expectWhole();
    }
  });
});

describe('names', () => {
  it('of more than 255 bytes or none are refused', () => {
    const { context, dir } = filled(0);
    const tryName = (length: number) => (): void => {
      context.atomically(() => addEntry(context, dir, new Uint8Array(300).fill(0x61), 0, length, 100, 1));
    };
    expect(tryName(256)).toThrow(expect.objectContaining({ errno: Errno.ENAMETOOLONG }));
    expect(tryName(0)).toThrow(expect.objectContaining({ errno: Errno.EINVAL }));
    expect(tryName(255)).not.toThrow();
  });
});

describe('the parent', () => {
  it('can be changed in directories of all forms', () => {
    for (const [count, options] of [
      [0, { incompat: EXTENTS | Incompat.INLINE_DATA }],
      [5, {}],
      [100, NO_INDEX],
      [100, {}],
    ] as const) {
      const { context, dir } = filled(count, options, 30);
      context.settle();
      context.atomically(() => setParent(context, dir, 77));
      context.settle();
      expect(parentOf(context, dir)).toBe(77);
      const dotdot = listDirectory(context, dir).find(({ name }) => name === '2e2e');
      expect(dotdot?.ino).toBe(77);
    }
  });
});

describe('an encrypted or case-insensitive directory', () => {
  it('is not changed', () => {
    for (const flag of [InodeFlag.ENCRYPT, InodeFlag.CASEFOLD]) {
      const { context, dir } = filled(3);
      dir.flags |= flag;
      expect(() => add(context, dir, 'name', 100)).toThrow('directory inode 50 is');
      expect(() => context.atomically(() => removeEntry(context, dir, numbered(1), 0, 1))).toThrow('directory inode');
    }
  });
});
