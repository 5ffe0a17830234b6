import { writeFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { lookup } from '../../../service/ext4/directory.ts';
import { CorruptionError } from '../../../service/ext4/errors.ts';
import { readInlineData } from '../../../service/ext4/inline-data.ts';
import type { Inode } from '../../../service/ext4/inode.ts';
import { Compat } from '../../../service/ext4/layout/features.ts';
import { FileType, InodeFlag } from '../../../service/ext4/layout/inode.ts';
import { bytesOf, entriesArea, entry, listDirectory, namesOf } from '../../support/directory-builder.ts';
import { ImageDirectory, openImage } from '../../support/ext4-image.ts';
import { FakeExt4Context, INLINE } from '../../support/fake-ext4-context.ts';
import { setInodeAttributes } from '../../support/xattr-builder.ts';

const images = new ImageDirectory();
afterAll(() => images.remove());

const DIR_INO = 50;
const CONTENT = Uint8Array.from({ length: 100 }, (_, index) => index + 1);

function inline(
  mode: number,
  head: Uint8Array,
  tail: Uint8Array | null,
  options = {},
): { context: FakeExt4Context; inode: Inode } {
  const context = new FakeExt4Context(options);
  const inode = context.addInode(DIR_INO, mode, INLINE);
  context.writeBlock(inode.tableBlock, head, inode.tableOffset + 0x28);
  if (tail !== null) setInodeAttributes(context, inode, [{ index: 7, name: 'data', value: tail }]);
  inode.sizeBytes = head.length + (tail?.length ?? 0);
  return { context, inode };
}

describe('inline file content', () => {
  it('is the first 60 bytes and the rest in system.data, as long as the size says', () => {
    const { context, inode } = inline(FileType.REGULAR, CONTENT.subarray(0, 60), CONTENT.subarray(60, 90));
    expect(readInlineData(context, inode)).toEqual(CONTENT.subarray(0, 90));
    inode.sizeBytes = 75;
    expect(readInlineData(context, inode)).toEqual(CONTENT.subarray(0, 75));
    inode.sizeBytes = 7;
    expect(readInlineData(context, inode)).toEqual(CONTENT.subarray(0, 7));
    inode.sizeBytes = 0;
    expect(readInlineData(context, inode).length).toBe(0);
  });

  it('is refused when the size is larger than the place, or system.data is missing', () => {
    const large = inline(FileType.REGULAR, CONTENT.subarray(0, 60), CONTENT.subarray(60, 90));
    large.inode.sizeBytes = 91;
    expect(() => readInlineData(large.context, large.inode)).toThrow(/size 91 of 90/);
    const missing = inline(FileType.REGULAR, CONTENT.subarray(0, 60), null);
    expect(() => readInlineData(missing.context, missing.inode)).toThrow(CorruptionError);
  });
});

describe('an inline directory', () => {
  const parent = Uint8Array.of(2, 0, 0, 0);
  const headOf = (area: Uint8Array): Uint8Array => Uint8Array.from([...parent, ...area]);
  const HEAD = headOf(entriesArea([entry('one', 60), entry('two', 61, 2)], 56));
  const TAIL = entriesArea([entry('three', 62), entry('four', 63, 7)], 48);
  const directory = (compat: number, head = HEAD, tail: Uint8Array | null = TAIL) => {
    const { context, inode } = inline(FileType.DIRECTORY | 0o755, head, tail, { compat });
    return { context, dir: inode };
  };
  const find = (context: FakeExt4Context, dir: Inode, name: string): number => {
    const bytes = bytesOf(name);
    return lookup(context, dir, bytes, 0, bytes.length);
  };

  it('finds names in both areas, and the dots that have no entries', () => {
    const { context, dir } = directory(Compat.EXT_ATTR);
    const found = ['one', 'two', 'three', 'four', '.', '..', 'five', ''].map((name) => find(context, dir, name));
    expect(found).toEqual([60, 61, 62, 63, DIR_INO, 2, 0, 0]);
  });

  it('is listed at the offsets that a block would have', () => {
    const { context, dir } = directory(Compat.EXT_ATTR);
    for (const room of [1, 2, 10]) {
      const listed = listDirectory(context, dir, [room]);
      expect(namesOf(listed)).toEqual(['.', '..', 'one', 'two', 'three', 'four']);
      expect(listed.map(({ low }) => low)).toEqual([12, 24, 36, 80, 96, 128]);
      expect(listed.map(({ type }) => type)).toEqual([2, 2, 1, 2, 1, 7]);
    }
  });

  it('is listed in hash order where it may become indexed', () => {
    const { context, dir } = directory(Compat.EXT_ATTR | Compat.DIR_INDEX);
    const whole = listDirectory(context, dir);
    expect(namesOf(whole).slice(0, 2)).toEqual(['.', '..']);
    expect(namesOf(whole).sort()).toEqual(['.', '..', 'four', 'one', 'three', 'two']);
    for (const room of [1, 2, 3]) expect(listDirectory(context, dir, [room])).toEqual(whole);
  });

  it('may be empty', () => {
    const empty = directory(Compat.EXT_ATTR, headOf(entriesArea([], 56)), new Uint8Array(0));
    expect(namesOf(listDirectory(empty.context, empty.dir))).toEqual(['.', '..']);
    expect(find(empty.context, empty.dir, 'a')).toBe(0);
  });

  const damage = (at: number, value: number): Uint8Array => {
    const head = HEAD.slice();
    head[at] = value;
    return head;
  };
  const CASES: readonly [string, Uint8Array][] = [
    ['a record length of 0', damage(4 + 4, 0)],
    ['a record that leads past its area', damage(4 + 12 + 4, 60)],
    ['a name as long as the area', damage(4 + 6, 200)],
    ['a "."', damage(4 + 6, 1).fill(0x2e, 12, 13)],
    ['no parent', damage(0, 0)],
    ['an impossible parent', damage(3, 0xff)],
  ];
  for (const [what, head] of CASES) {
    it(`is refused for ${what}`, () => {
      const { context, dir } = directory(Compat.EXT_ATTR, head);
      expect(() => find(context, dir, 'three')).toThrow(CorruptionError);
      expect(() => listDirectory(context, dir)).toThrow(/inline directory, inode 50/);
    });
  }
});

describe('inline data made by mkfs and debugfs', () => {
  it('is read back, files and directories', () => {
    const commands = ['mkdir /d', 'cd /d'];
    for (const [name, size] of [
      ['tiny', 5],
      ['sixty', 60],
      ['more', 90],
    ] as const) {
      const path = images.file(name);
      writeFileSync(path, 'z'.repeat(size));
      commands.push(`write ${path} ${name}`);
    }
    const image = images.make(8 * 2 ** 20, ['-O', 'inline_data', '-I', '256'], commands);
    const filesystem = openImage(image);
    const resolve = (dir: Inode, name: string): Inode => {
      const bytes = bytesOf(name);
      return filesystem.inode(filesystem.lookup(dir, bytes, 0, bytes.length));
    };
    const dir = resolve(filesystem.inode(2), 'd');
    expect(dir.hasFlag(InodeFlag.INLINE_DATA)).toBe(true);
    for (const [name, size] of [
      ['tiny', 5],
      ['sixty', 60],
      ['more', 90],
    ] as const) {
      const inode = resolve(dir, name);
      expect(inode.hasFlag(InodeFlag.INLINE_DATA)).toBe(true);
      expect(Buffer.from(readInlineData(filesystem, inode)).toString()).toBe('z'.repeat(size));
    }
  });
});
