import { afterAll, describe, expect, it } from 'vitest';
import { lookup, readDirectory } from '../../../service/ext4/directory.ts';
import { CorruptionError, IncompatibleError } from '../../../service/ext4/errors.ts';
import type { Inode } from '../../../service/ext4/inode.ts';
import { Compat, Incompat } from '../../../service/ext4/layout/features.ts';
import { InodeFlag } from '../../../service/ext4/layout/inode.ts';
import {
  bytesOf,
  Collector,
  type Entry,
  entry,
  fillLinear,
  listDirectory,
  namesOf,
  sealLeaf,
} from '../../support/directory-builder.ts';
import { ImageDirectory, openImage } from '../../support/ext4-image.ts';
import { FakeExt4Context, INODES_COUNT } from '../../support/fake-ext4-context.ts';

const images = new ImageDirectory();
afterAll(() => images.remove());

const LINEAR = { compat: Compat.EXT_ATTR };
const DIR_INO = 50;

const find = (context: FakeExt4Context, dir: Inode, name: string): number => {
  const bytes = bytesOf(`<${name}>`);
  return lookup(context, dir, bytes, 1, bytes.length - 1);
};

const numbered = (count: number): Entry[] =>
  Array.from({ length: count }, (_, index) => entry(`file number ${index}`, 100 + index, 1 + (index % 7)));

function linear(entries: readonly Entry[], options = {}): { context: FakeExt4Context; dir: Inode } {
  const context = new FakeExt4Context({ ...LINEAR, ...options });
  const dir = context.addDirectory(DIR_INO);
  fillLinear(context, dir, entries);
  return { context, dir };
}

describe('a linear directory', () => {
  for (const blockSize of [1024, 4096, 65536]) {
    for (const checksums of [false, true]) {
      it(`finds and lists names in blocks of ${blockSize} bytes ${checksums ? 'with' : 'without'} checksums`, () => {
        const entries = numbered(blockSize === 65536 ? 4000 : 300);
        const { context, dir } = linear(entries, { blockSize, checksums, blocks: 64 });
        for (const item of entries) expect(lookup(context, dir, item.name, 0, item.name.length)).toBe(item.ino);
        expect(find(context, dir, 'file number')).toBe(0);
        expect(find(context, dir, '')).toBe(0);
        expect(find(context, dir, '.')).toBe(DIR_INO);
        expect(find(context, dir, '..')).toBe(2);
        const listed = listDirectory(context, dir, [7]);
        expect(listed.slice(2).map(({ ino, type }) => ({ ino, type }))).toEqual(
          entries.map(({ ino, type }) => ({ ino, type })),
        );
        expect(namesOf(listed.slice(0, 2))).toEqual(['.', '..']);
      });
    }
  }

  it('hands out the byte offset behind each entry', () => {
    const { context, dir } = linear([entry('abcde', 60), entry('f', 61)], { checksums: false });
    expect(listDirectory(context, dir).map(({ low }) => low)).toEqual([12, 24, 40, 1024]);
  });

  it('goes on with the entry that follows when the one at the cookie has been merged into its neighbour', () => {
    const { context, dir } = linear([entry('aaaa', 60), entry('bbbb', 61), entry('cccc', 62)]);
    const offsetOfB = 36;
    const block = context.readBlock(context.pblkOf(dir, 0));
    block[24 + 4] = 24; // "aaaa" swallows "bbbb"
    context.setFileBlock(dir, 0, sealLeaf(context, dir, block));
    const sink = new Collector(10);
    readDirectory(context, dir, 0, offsetOfB, sink);
    expect(namesOf(sink.entries)).toEqual(['cccc']);
  });

  it('says unknown for types without the filetype feature and for those that do not exist', () => {
    const without = linear([entry('a', 60, 2)], { incompat: Incompat.EXTENTS });
    expect(listDirectory(without.context, without.dir).map(({ type }) => type)).toEqual([0, 0, 0]);
    const strange = linear([entry('a', 60, 8), entry('b', 61, 0xff)]);
    expect(listDirectory(strange.context, strange.dir).map(({ type }) => type)).toEqual([2, 2, 0, 0]);
  });

  it('skips holes, but not in the place of the first block', () => {
    const { context, dir } = linear(numbered(200));
    const all = listDirectory(context, dir).length;
    context.punchHole(dir, 2);
    context.punchHole(dir, 3);
    expect(listDirectory(context, dir, [3]).length).toBeLessThan(all);
    expect(find(context, dir, 'file number 199')).toBe(299);
    context.punchHole(dir, 0);
    expect(() => find(context, dir, 'file number 199')).toThrow(CorruptionError);
    expect(() => listDirectory(context, dir)).toThrow(/block 0 is a hole/);
  });

  it('is at its end at any cookie behind it', () => {
    const { context, dir } = linear(numbered(3));
    for (const [high, low] of [
      [0, 1024],
      [1, 0],
      [0x7fffffff, 0xffffffff],
    ]) {
      const sink = new Collector(10);
      readDirectory(context, dir, high, low, sink);
      expect(sink.entries).toEqual([]);
    }
  });

  it('asks for the following blocks ahead, once, and not when they are cached', () => {
    const { context, dir } = linear(numbered(1000));
    const blocks = dir.sizeBytes / 1024;
    listDirectory(context, dir, [20]);
    expect(context.readAheads).toEqual([[context.pblkOf(dir, 0), blocks]]);
    listDirectory(context, dir, [20]);
    expect(context.readAheads.length).toBe(1);
  });

  it('has nothing in it when its size is 0', () => {
    const context = new FakeExt4Context(LINEAR);
    const dir = context.addDirectory(DIR_INO);
    expect(listDirectory(context, dir)).toEqual([]);
    expect(find(context, dir, 'a')).toBe(0);
    expect(find(context, dir, '.')).toBe(0);
  });
});

describe('a directory of one block that may become indexed', () => {
  it('is listed in hash order with the same names, whatever the sink holds', () => {
    const context = new FakeExt4Context();
    const dir = context.addDirectory(DIR_INO);
    const entries = numbered(30);
    fillLinear(context, dir, entries);
    const whole = listDirectory(context, dir);
    expect(namesOf(whole.slice(0, 2))).toEqual(['.', '..']);
    expect(whole.map(({ ino }) => ino).sort()).toEqual([DIR_INO, 2, ...entries.map(({ ino }) => ino)].sort());
    expect(whole.at(-1)).toMatchObject({ high: 0x7fffffff, low: 0xffffffff });
    for (const room of [1, 2, 3, 5]) expect(listDirectory(context, dir, [room])).toEqual(whole);
  });

  it('is listed anew after a change', () => {
    const context = new FakeExt4Context();
    const dir = context.addDirectory(DIR_INO);
    fillLinear(context, dir, [entry('a', 60), entry('b', 61)]);
    expect(namesOf(listDirectory(context, dir)).sort()).toEqual(['.', '..', 'a', 'b']);
    fillLinear(context, dir, [entry('a', 60), entry('c', 61)]);
    expect(namesOf(listDirectory(context, dir)).sort()).toEqual(['.', '..', 'a', 'c']);
  });
});

describe('a damaged directory block', () => {
  /** Applies the damage to a block that is sealed again, so that only the damage can be found. */
  function damaged(damage: (block: Uint8Array, dir: Inode) => void): { context: FakeExt4Context; dir: Inode } {
    const { context, dir } = linear([entry('aaaa', 60), entry('bbbb', 61)]);
    const block = context.readBlock(context.pblkOf(dir, 0));
    damage(block, dir);
    context.setFileBlock(dir, 0, sealLeaf(context, dir, block));
    return { context, dir };
  }

  const CASES: readonly [string, RegExp, (block: Uint8Array) => void][] = [
    ['a record length of 0', /rec_len 0/, (block) => block.fill(0, 28, 30)],
    ['a record length of 8', /rec_len 8/, (block) => block.set([8, 0], 28)],
    ['a record length that is no multiple of 4', /rec_len 18/, (block) => block.set([18, 0], 28)],
    ['a record too short for its name', /too small for a name of 200/, (block) => block.fill(200, 30, 31)],
    ['a record that leads past the end', /past the end/, (block) => block.set([0xfc, 3], 40)],
    ['a last record that leaves a few bytes', /bytes left|past the end/, (block) => block.set([0xcc, 3], 40)],
    ['an inode number beyond the last', /inode 100001 of/, (block) => block.set([0xa1, 0x86, 1], 24)],
    ['an empty name', /empty name/, (block) => block.fill(0, 30, 31)],
    ['a name with a slash', /"\/" or NUL/, (block) => block.fill(0x2f, 33, 34)],
    ['a name with a NUL', /"\/" or NUL/, (block) => block.fill(0, 34, 35)],
    ['a first entry that is not "."', /ordinary name where "\." belongs/, (block) => block.fill(0x41, 8, 9)],
    ['a "." that is another inode', /"\." is inode 7/, (block) => block.fill(7, 0, 1)],
    ['an unused "."', /where "\." belongs/, (block) => block.fill(0, 0, 4)],
    ['a second entry that is not ".."', /where "\.\." belongs/, (block) => block.fill(0x41, 21, 22)],
    [
      'a second ".."',
      /"\.\." where an ordinary name belongs/,
      (block) => {
        block[30] = 2;
        block.set([0x2e, 0x2e], 32);
      },
    ],
  ];
  for (const [what, finding, damage] of CASES) {
    it(`is refused for ${what}`, () => {
      const { context, dir } = damaged(damage);
      expect(() => find(context, dir, 'bbbb')).toThrow(CorruptionError);
      expect(() => find(context, dir, 'bbbb')).toThrow(finding);
      expect(() => listDirectory(context, dir)).toThrow(finding);
    });
  }

  it('names the inode and the block', () => {
    const { context, dir } = damaged((block) => block.fill(0, 30, 31));
    expect(() => listDirectory(context, dir)).toThrow(
      expect.objectContaining({ inode: DIR_INO, block: context.pblkOf(dir, 0) }),
    );
  });

  it('is refused for a wrong checksum, the checksum of another inode, and for none', () => {
    const { context, dir } = linear([entry('aaaa', 60)]);
    const block = context.readBlock(context.pblkOf(dir, 0));
    context.writeBlock(context.pblkOf(dir, 0), Uint8Array.of(0x62), 32);
    expect(() => find(context, dir, 'aaaa')).toThrow(/checksum 0x/);
    context.setFileBlock(dir, 0, block);
    expect(find(context, dir, 'aaaa')).toBe(60);
    dir.generation++;
    context.setFileBlock(dir, 0, block);
    expect(() => find(context, dir, 'aaaa')).toThrow(/checksum 0x/);
    block[1024 - 5] = 0;
    context.setFileBlock(dir, 0, block);
    expect(() => find(context, dir, 'aaaa')).toThrow(/no checksum tail/);
  });

  it('does not hide the entries of the blocks before it', () => {
    const { context, dir } = linear(numbered(200));
    context.writeBlock(context.pblkOf(dir, 3), Uint8Array.of(1), 4);
    const sink = new Collector(1000);
    expect(() => readDirectory(context, dir, 0, 0, sink)).toThrow(CorruptionError);
    expect(sink.entries.length).toBeGreaterThan(50);
    expect(find(context, dir, 'file number 0')).toBe(100);
  });
});

describe('an entry that leads to an inode it must not', () => {
  it('is refused when it is looked up, and only then', () => {
    const { context, dir } = linear([entry('self', DIR_INO), entry('journal', 8), entry('root', 2), entry('ok', 60)]);
    expect(() => find(context, dir, 'self')).toThrow(/directory itself/);
    expect(() => find(context, dir, 'journal')).toThrow(/inode 8/);
    expect(find(context, dir, 'root')).toBe(2);
    expect(find(context, dir, 'ok')).toBe(60);
    expect(listDirectory(context, dir).length).toBe(6);
  });
});

describe('a directory that is not served', () => {
  it('is an encrypted or a case-insensitive one', () => {
    for (const flag of [InodeFlag.ENCRYPT, InodeFlag.CASEFOLD]) {
      const { context, dir } = linear([entry('a', 60)]);
      dir.flags |= flag;
      expect(() => find(context, dir, 'a')).toThrow(IncompatibleError);
      expect(() => listDirectory(context, dir)).toThrow(IncompatibleError);
    }
  });

  it('is one of more bytes than can be searched in one request', () => {
    const { context, dir } = linear([entry('b', 12)], { incompat: Incompat.FILETYPE | Incompat.LARGEDIR });
    Object.defineProperty(context.superblock, 'blocksCount', { value: 2 ** 30 });
    let asked = 0;
    const fileBlock = context.fileBlock.bind(context);
    context.fileBlock = (inode) => {
      asked++;
      return fileBlock(inode, 0);
    };
    dir.sizeBytes = 2 ** 32 + context.blockSize;
    expect(() => find(context, dir, 'absent')).toThrow(/4294968320 bytes without a usable index/);
    expect(() => listDirectory(context, dir)).toThrow(/4294968320 bytes without a usable index/);
    expect(asked).toBe(0);
    expect(find(context, dir, '.')).toBe(DIR_INO);
  });

  it('is one of an impossible size', () => {
    for (const size of [1000, 1024 * 1024 * 1024]) {
      const { context, dir } = linear([entry('a', 60)]);
      dir.sizeBytes = size;
      expect(() => find(context, dir, 'b')).toThrow(/size \d+ is impossible/);
      expect(() => listDirectory(context, dir)).toThrow(/size \d+ is impossible/);
    }
  });
});

describe('a directory made by debugfs', () => {
  it('is searched and listed from one end to the other without growing the cache', () => {
    const commands = Array.from({ length: 1200 }, (_, index) => `symlink ${'n'.repeat(230)}${index} target`);
    const path = images.make(8 * 2 ** 20, ['-b', '1024', '-O', '^dir_index'], ['mkdir /m', 'cd /m', ...commands]);
    const filesystem = openImage(path, { cacheBytes: 16 * 1024 });
    const many = filesystem.inode(lookup(filesystem, filesystem.inode(2), bytesOf('m'), 0, 1));
    expect(many.sizeBytes).toBeGreaterThan(200 * 1024);
    expect(lookup(filesystem, many, bytesOf('absent'), 0, 6)).toBe(0);
    expect(filesystem.cache.sizeBlocks).toBeLessThan(128);
    filesystem.beginOperation();
    let listed = 0;
    readDirectory(filesystem, many, 0, 0, { entry: () => ++listed > 0 });
    expect(listed).toBe(1202);
    expect(filesystem.cache.sizeBlocks).toBeLessThan(128);
  });

  it('shows the names and inodes that were put there', () => {
    const names = Array.from({ length: 500 }, (_, index) => `${'name'.repeat(1 + (index % 40))}.${index}`);
    const image = images.make(
      8 * 2 ** 20,
      ['-b', '1024', '-O', '^dir_index'],
      ['mkdir /many', 'cd /many', ...names.map((name) => `symlink ${name} target`)],
    );
    const filesystem = openImage(image);
    const path = bytesOf('many');
    const dir = filesystem.inode(filesystem.lookup(filesystem.inode(2), path, 0, path.length));
    const sink = new Collector(2 ** 31);
    filesystem.readDirectory(dir, 0, 0, sink);
    expect(namesOf(sink.entries).sort()).toEqual(['.', '..', ...names].sort());
    for (const { name, ino, type } of sink.entries.slice(2)) {
      const bytes = new Uint8Array(Buffer.from(name, 'hex'));
      expect(filesystem.lookup(dir, bytes, 0, bytes.length)).toBe(ino);
      expect(type).toBe(7);
      expect(ino).toBeLessThan(INODES_COUNT);
    }
  });
});
