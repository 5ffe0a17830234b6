import { afterAll, describe, expect, it } from 'vitest';
import { lookup, readDirectory } from '../../../service/ext4/directory.ts';
import { CorruptionError } from '../../../service/ext4/errors.ts';
import type { Inode } from '../../../service/ext4/inode.ts';
import { Compat, Incompat } from '../../../service/ext4/layout/features.ts';
import {
  bytesOf,
  Collector,
  type Entry,
  entry,
  fillIndexed,
  leafBlock,
  listDirectory,
  majorOf,
  namesOf,
  nodeBlock,
  rootBlock,
  sealIndex,
} from '../../support/directory-builder.ts';
import { debugfs, rebuildDirectories } from '../../support/e2fsprogs.ts';
import { ImageDirectory, openImage } from '../../support/ext4-image.ts';
import { FakeExt4Context, INDEXED } from '../../support/fake-ext4-context.ts';

const images = new ImageDirectory();
afterAll(() => images.remove());

const DIR_INO = 50;
const LARGE = { incompat: Incompat.FILETYPE | Incompat.LARGEDIR };

const numbered = (count: number): Entry[] =>
  Array.from({ length: count }, (_, index) => entry(`file number ${index}`, 100 + index));

interface Indexed {
  readonly context: FakeExt4Context;
  readonly dir: Inode;
  readonly entries: Entry[];
}

function indexed(count: number, perLeaf: number, perNode: number, options = {}): Indexed {
  const context = new FakeExt4Context({ ...LARGE, ...options });
  const dir = context.addDirectory(DIR_INO, INDEXED);
  const entries = numbered(count);
  fillIndexed(context, dir, entries, perLeaf, perNode);
  return { context, dir, entries };
}

function expectWhole({ context, dir, entries }: Indexed): void {
  for (const { name, ino } of entries) expect(lookup(context, dir, name, 0, name.length)).toBe(ino);
  const listed = listDirectory(context, dir, [11]);
  expect(namesOf(listed.slice(0, 2))).toEqual(['.', '..']);
  expect(listed.map(({ ino }) => ino).sort()).toEqual([DIR_INO, 2, ...entries.map(({ ino }) => ino)].sort());
  const majors = listed.slice(2).map(({ name }) => majorOf(context, new Uint8Array(Buffer.from(name, 'hex'))));
  expect(majors).toEqual([...majors].sort((a, b) => a - b));
}

const find = (context: FakeExt4Context, dir: Inode, name: string): number => {
  const bytes = bytesOf(name);
  return lookup(context, dir, bytes, 0, bytes.length);
};

/** Pairs of blocks, so that a patched one can be sealed and put back. */
function patch(
  { context, dir }: Indexed,
  lblk: number,
  entriesAt: number,
  change: (block: Uint8Array, view: DataView) => void,
): void {
  const block = context.readBlock(context.pblkOf(dir, lblk));
  change(block, new DataView(block.buffer));
  context.setFileBlock(dir, lblk, sealIndex(context, dir, block, entriesAt));
}

describe('an indexed directory', () => {
  for (const hashVersion of [0, 1, 2]) {
    for (const superblockFlags of [1, 2]) {
      for (const [levels, perNode] of [
        [1, 500],
        [2, 20],
        [3, 6],
      ]) {
        const signed = superblockFlags === 1 ? 'signed' : 'unsigned';
        it(`is found and listed with hash ${hashVersion}, ${signed}, ${levels} index levels`, () => {
          expectWhole(indexed(500, 5, perNode, { hashVersion, superblockFlags }));
        });
      }
    }
  }

  it('works without checksums and with blocks of 64 KiB', () => {
    expectWhole(indexed(300, 5, 12, { checksums: false }));
    expectWhole(indexed(5000, 600, 3, { blockSize: 65536, blocks: 40 }));
  });

  it('finds "." and ".." in its root', () => {
    const { context, dir } = indexed(100, 5, 100);
    expect(find(context, dir, '.')).toBe(DIR_INO);
    expect(find(context, dir, '..')).toBe(2);
  });

  it('reads one leaf for a name, absent or not', () => {
    const { context, dir } = indexed(500, 5, 500);
    find(context, dir, 'file number 7');
    const before = context.cache.misses;
    expect(find(context, dir, 'absent')).toBe(0);
    expect(context.cache.misses).toBeLessThanOrEqual(before + 1);
  });

  it('is read linearly when the file system has no dir_index', () => {
    const { context, dir, entries } = indexed(100, 5, 100, { compat: Compat.EXT_ATTR, checksums: false });
    expect(find(context, dir, 'file number 42')).toBe(142);
    expect(listDirectory(context, dir, [9]).length).toBe(entries.length + 2);
  });

  it('hands out END_OF_DIRECTORY with its last entry, where nothing is left', () => {
    const { context, dir } = indexed(50, 5, 50);
    expect(listDirectory(context, dir).at(-1)).toMatchObject({ high: 0x7fffffff, low: 0xffffffff });
  });

  it('asks for its blocks ahead when a listing starts', () => {
    const { context, dir } = indexed(500, 5, 500);
    listDirectory(context, dir, [10]);
    expect(context.readAheads.length).toBeGreaterThan(0);
    expect(context.readAheads.reduce((sum, [, count]) => sum + count, 0)).toBe(dir.sizeBytes / 1024 - 1);
  });
});

describe('names of equal hash', () => {
  /** Pairs of names with one legacy hash: among many names they turn up by themselves. */
  function collidingPairs(context: FakeExt4Context): Uint8Array[] {
    const byHash = new Map<number, Uint8Array>();
    const pairs: Uint8Array[] = [];
    for (let number = 0; number < 60_000 && pairs.length < 20; number++) {
      const name = bytesOf(`file number ${number}`);
      const major = majorOf(context, name);
      const other = byHash.get(major);
      if (other !== undefined) pairs.push(other, name);
      byHash.set(major, name);
    }
    return pairs;
  }

  it('are found and listed once across the leaves and nodes that they fill', () => {
    const context = new FakeExt4Context({ ...LARGE, hashVersion: 0 });
    const dir = context.addDirectory(DIR_INO, INDEXED);
    const pairs = collidingPairs(context);
    expect(pairs.length).toBeGreaterThan(3);
    const entries = pairs.map((name, index) => entry(name, 10_000 + index));
    fillIndexed(context, dir, entries, 1, 3);
    for (const room of [1, 2, 3, 100]) {
      const listed = listDirectory(context, dir, [room]);
      expect(listed.map(({ ino }) => ino).sort()).toEqual([DIR_INO, 2, ...entries.map(({ ino }) => ino)].sort());
    }
    for (const { name, ino } of entries) expect(lookup(context, dir, name, 0, name.length)).toBe(ino);
  });

  it('are told apart by their ordinal when all bits of the position agree', () => {
    const context = new FakeExt4Context(LARGE);
    const dir = context.addDirectory(DIR_INO, INDEXED);
    const twins = [entry('twin', 60), entry('twin', 61), entry('twin', 62), entry('twin', 63)];
    const major = majorOf(context, bytesOf('twin'));
    context.setFileBlock(dir, 1, leafBlock(context, dir, twins.slice(0, 1)));
    context.setFileBlock(dir, 2, leafBlock(context, dir, twins.slice(1, 3)));
    context.setFileBlock(dir, 3, leafBlock(context, dir, twins.slice(3)));
    const root = rootBlock(context, dir, 0, [
      { hash: 0, lblk: 1 },
      { hash: major + 1, lblk: 2 },
      { hash: major + 1, lblk: 3 },
    ]);
    context.setFileBlock(dir, 0, root);
    for (const room of [1, 2, 3, 4, 5]) {
      const listed = listDirectory(context, dir, [room]);
      expect(listed.map(({ ino }) => ino)).toEqual([DIR_INO, 2, 60, 61, 62, 63]);
    }
  });

  it('are refused when they go on for more leaves than any honest directory has', () => {
    const context = new FakeExt4Context({ ...LARGE, blocks: 1024 });
    const dir = context.addDirectory(DIR_INO, INDEXED);
    const leaves = Array.from({ length: 110 }, (_, index) => ({ hash: 1, lblk: 10 + index }));
    const nodes = Array.from({ length: 3 }, (_, index) => ({ hash: index === 0 ? 0 : 1, lblk: 1 + index }));
    for (let lblk = 4; lblk < 10 + 330; lblk++) context.setFileBlock(dir, lblk, leafBlock(context, dir, []));
    nodes.forEach(({ lblk }, index) => {
      const part = leaves.map(({ hash, lblk: leaf }) => ({ hash, lblk: leaf + index * 110 }));
      context.setFileBlock(dir, lblk, nodeBlock(context, dir, part));
    });
    context.setFileBlock(dir, 0, rootBlock(context, dir, 1, nodes));
    expect(() => listDirectory(context, dir)).toThrow(/too many names of one hash/);
  });
});

describe('a root that is not of the right form', () => {
  const CASES: readonly [string, (block: Uint8Array, view: DataView) => void][] = [
    ['an unknown hash version', (block) => block.fill(9, 28, 29)],
    ['unknown flags', (block) => block.fill(1, 31, 32)],
    ['too many levels', (block) => block.fill(3, 30, 31)],
    ['another limit', (_, view) => view.setUint16(32, view.getUint16(32, true) - 1, true)],
    ['no entries', (_, view) => view.setUint16(34, 0, true)],
    ['hashes out of order', (_, view) => view.setUint32(40, 0xfffffff0, true)],
    ['itself as a leaf', (_, view) => view.setUint32(36, 0, true)],
  ];
  for (const [what, change] of CASES) {
    it(`leaves the directory readable block by block: ${what}`, () => {
      const directory = indexed(20, 5, 100);
      patch(directory, 0, 32, change);
      const { context, dir, entries } = directory;
      for (const { name, ino } of entries) expect(lookup(context, dir, name, 0, name.length)).toBe(ino);
      expect(listDirectory(context, dir, [3]).length).toBe(22);
    });
  }
});

describe('a damaged index', () => {
  it('is refused for a wrong checksum in root and node', () => {
    const root = indexed(100, 5, 100);
    root.context.writeBlock(root.context.pblkOf(root.dir, 0), Uint8Array.of(9), 36);
    expect(() => find(root.context, root.dir, 'file number 1')).toThrow(/directory index.*checksum 0x/);
    expect(() => listDirectory(root.context, root.dir)).toThrow(CorruptionError);
    const deep = indexed(100, 5, 10);
    deep.context.writeBlock(deep.context.pblkOf(deep.dir, 21), Uint8Array.of(9), 12);
    expect(() => listDirectory(deep.context, deep.dir)).toThrow(/directory index.*checksum 0x/);
  });

  it('is refused for a leaf behind the end, and for a leaf that is a hole', () => {
    const behind = indexed(20, 5, 100);
    patch(behind, 0, 32, (_, view) => view.setUint32(36, 1000, true));
    expect(() => listDirectory(behind.context, behind.dir)).toThrow(/block 1000 is behind the end/);
    const hole = indexed(20, 5, 100);
    hole.context.punchHole(hole.dir, 1);
    expect(() => listDirectory(hole.context, hole.dir)).toThrow(/leaf 1 is a hole/);
  });

  it('is refused in a listing when a node leads back to the root', () => {
    const directory = indexed(100, 5, 10);
    patch(directory, 22, 8, (_, view) => view.setUint32(12, 0, true));
    expect(() => listDirectory(directory.context, directory.dir)).toThrow(/its own ancestor/);
  });

  it('is refused in a listing when a later node is none', () => {
    const directory = indexed(100, 5, 10);
    directory.context.setFileBlock(directory.dir, 22, leafBlock(directory.context, directory.dir, [entry('x', 60)]));
    expect(() => listDirectory(directory.context, directory.dir)).toThrow(/block 22 is no node/);
  });

  it('is refused in a listing when names are in the wrong leaf', () => {
    const directory = indexed(20, 5, 100);
    patch(directory, 0, 32, (_, view) => {
      view.setUint32(36, 2, true);
      view.setUint32(44, 1, true);
    });
    expect(() => listDirectory(directory.context, directory.dir)).toThrow(/name of hash 0x/);
  });

  it('is refused in a listing when empty leaves come again and again', () => {
    const context = new FakeExt4Context(LARGE);
    const dir = context.addDirectory(DIR_INO, INDEXED);
    context.setFileBlock(dir, 1, leafBlock(context, dir, []));
    const again = Array.from({ length: 100 }, (_, index) => ({ hash: index * 2, lblk: 1 }));
    context.setFileBlock(dir, 0, rootBlock(context, dir, 0, again));
    expect(() => listDirectory(context, dir)).toThrow(/too many leaves/);
  });
});

describe('a listing that is interrupted by changes', () => {
  it('neither skips nor repeats what stays', () => {
    const { context, dir, entries } = indexed(200, 5, 20);
    const survivors = new Set(entries.filter((_, index) => index % 3 !== 0).map(({ ino }) => ino));
    let changed = false;
    const listed = listDirectory(context, dir, [7], (sofar) => {
      if (changed || sofar.length < 60) return;
      changed = true;
      fillIndexed(
        context,
        dir,
        entries.filter(({ ino }) => survivors.has(ino)),
        4,
        20,
      );
    });
    const seen = listed.map(({ ino }) => ino).filter((ino) => survivors.has(ino));
    expect(changed).toBe(true);
    expect(seen.length).toBe(survivors.size);
    expect(new Set(seen)).toEqual(survivors);
  });

  it('goes on where it was when a directory of one block gets an index', () => {
    const context = new FakeExt4Context(LARGE);
    const dir = context.addDirectory(DIR_INO);
    const entries = numbered(20);
    context.setFileBlock(dir, 0, leafBlock(context, dir, [entry('.', DIR_INO, 2), entry('..', 2, 2), ...entries]));
    let changed = false;
    const listed = listDirectory(context, dir, [6], () => {
      if (changed) return;
      changed = true;
      dir.flags |= INDEXED;
      fillIndexed(context, dir, entries, 5, 20);
    });
    expect(listed.map(({ ino }) => ino).sort()).toEqual([DIR_INO, 2, ...entries.map(({ ino }) => ino)].sort());
  });
});

describe('directories indexed by e2fsck', () => {
  for (const [algorithm, blockSize, count] of [
    ['half_md4', '1024', 3000],
    ['tea', '1024', 1200],
    ['legacy', '4096', 1500],
  ] as const) {
    it(`are found and listed as debugfs lists them: ${algorithm}, ${count} names, ${blockSize} bytes a block`, () => {
      const names = Array.from({ length: count }, (_, index) => `${'some name '.repeat(index % 7)}${index}`);
      const quoted = names.map((name) => `symlink "${name}" target`);
      const image = images.make(
        16 * 2 ** 20,
        ['-b', blockSize, '-N', '8000', '-O', '^has_journal'],
        [`ssv def_hash_version ${algorithm}`, 'mkdir /many', 'cd /many', ...quoted],
      );
      rebuildDirectories(image);
      expect(debugfs(image, 'htree_dump /many')).toContain('Root node dump');
      const filesystem = openImage(image, { cacheBytes: 16 * 1024 });
      const path = bytesOf('many');
      const dir = filesystem.inode(filesystem.lookup(filesystem.inode(2), path, 0, path.length));
      const sink = new Collector(2 ** 31);
      filesystem.readDirectory(dir, 0, 0, sink);
      expect(namesOf(sink.entries.slice(2)).sort()).toEqual([...names].sort());
      expect(filesystem.cache.sizeBlocks, 'the listing must not keep all leaves').toBeLessThan(100);
      for (const { name, ino } of sink.entries.slice(2)) {
        const bytes = new Uint8Array(Buffer.from(name, 'hex'));
        expect(filesystem.lookup(dir, bytes, 0, bytes.length)).toBe(ino);
      }
      const half = sink.entries[Math.floor(count / 2)];
      const rest = new Collector(2 ** 31);
      readDirectory(filesystem, dir, half.high, half.low, rest);
      expect(rest.entries).toEqual(sink.entries.slice(Math.floor(count / 2) + 1));
    });
  }
});
