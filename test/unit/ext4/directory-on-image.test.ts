import { afterAll, describe, expect, test } from 'vitest';
import { InodeFlag } from '../../../service/ext4/layout/inode.ts';
import { consistencyFindings } from '../../support/consistency-checker.ts';
import { DirectoryOnImage } from '../../support/directory-on-image.ts';
import { ImageDirectory } from '../../support/ext4-image.ts';
import { e2fsckComplaints, openWritable, WritableImage } from '../../support/writable-image.ts';

const images = new ImageDirectory();
afterAll(() => images.remove());

const NO_JOURNAL = '^has_journal,^resize_inode';

interface Kind {
  readonly kind: string;
  readonly mkfs: readonly string[];
  readonly debugfs?: readonly string[];
  readonly hasIndex: boolean;
}

const KINDS: readonly Kind[] = [
  { kind: '1 KiB blocks', mkfs: ['-b', '1024', '-O', NO_JOURNAL], hasIndex: true },
  { kind: '2 KiB blocks', mkfs: ['-b', '2048', '-O', NO_JOURNAL], hasIndex: true },
  { kind: '4 KiB blocks and a journal', mkfs: ['-b', '4096'], hasIndex: true },
  { kind: '64 KiB blocks', mkfs: ['-b', '65536', '-O', NO_JOURNAL], hasIndex: true },
  {
    kind: '64 KiB blocks without checksums',
    mkfs: ['-b', '65536', '-O', `${NO_JOURNAL},^metadata_csum`],
    hasIndex: true,
  },
  { kind: 'no checksums', mkfs: ['-b', '1024', '-O', `${NO_JOURNAL},^metadata_csum`], hasIndex: true },
  { kind: 'no index', mkfs: ['-b', '1024', '-O', `${NO_JOURNAL},^dir_index`], hasIndex: false },
  { kind: 'no file types', mkfs: ['-b', '1024', '-O', `${NO_JOURNAL},^filetype`], hasIndex: true },
  { kind: 'no extents', mkfs: ['-b', '1024', '-O', `${NO_JOURNAL},^extents,^64bit`], hasIndex: true },
  { kind: 'inline data', mkfs: ['-b', '1024', '-I', '256', '-O', `${NO_JOURNAL},inline_data`], hasIndex: true },
  {
    kind: 'the TEA hash of unsigned bytes',
    mkfs: ['-b', '1024', '-O', NO_JOURNAL],
    debugfs: ['ssv def_hash_version tea', 'ssv flags 2'],
    hasIndex: true,
  },
  {
    kind: 'the legacy hash of signed bytes',
    mkfs: ['-b', '1024', '-O', NO_JOURNAL],
    debugfs: ['ssv def_hash_version legacy', 'ssv flags 1'],
    hasIndex: true,
  },
  { kind: 'revision 0', mkfs: ['-b', '1024', '-r', '0', '-O', 'none'], hasIndex: false },
];

function settle(image: WritableImage): void {
  image.close();
  const path = images.file('settled');
  image.save(path);
  expect(e2fsckComplaints(path)).toBe('');
  expect(consistencyFindings(image.device)).toEqual([]);
}

/** Names of many lengths, some of bytes above 0x7f. */
const nameOf = (index: number): string =>
  index % 4 === 0 ? `é${index}` : `${index}.`.padEnd(index % 4 === 1 ? 250 : 20 + (index % 50), 'name');

describe.each(KINDS)('a directory of $kind', ({ mkfs, debugfs, hasIndex }) => {
  test('keeps what is put into it, and e2fsck has nothing to say', () => {
    const image = new WritableImage(images.make(32 * 2 ** 20, ['-t', 'ext4', ...mkfs], debugfs));
    const small = DirectoryOnImage.make(image, 'small');
    small.add('one');
    const directory = DirectoryOnImage.make(image, 'dir');
    const count = hasIndex ? 2000 : 500;
    for (let index = 0; index < count; index++) directory.add(nameOf(index));
    for (let index = 0; index < count; index += 3) directory.remove(nameOf(index));
    for (let index = 0; index < count; index += 6) directory.add(nameOf(index));
    expect(directory.dir.hasFlag(InodeFlag.INDEX)).toBe(hasIndex);
    image.reopen();
    expect(directory.listed().sort()).toEqual(directory.wanted);
    for (let index = 0; index < count; index++) {
      expect(directory.isFound(nameOf(index))).toBe(directory.names.has(nameOf(index)));
    }
    expect(small.listed().sort()).toEqual(small.wanted);
    settle(image);
  });

  test('is empty and sound when all names were removed', () => {
    const image = new WritableImage(images.make(32 * 2 ** 20, ['-t', 'ext4', ...mkfs], debugfs));
    const directory = DirectoryOnImage.make(image, 'dir');
    for (let index = 0; index < 300; index++) directory.add(nameOf(index));
    for (const name of [...directory.names]) directory.remove(name);
    expect(directory.listed()).toEqual([]);
    settle(image);
  });
});

test('an index of three levels is in order for e2fsck', () => {
  const path = images.make(64 * 2 ** 20, ['-t', 'ext4', '-b', '1024', '-O', `${NO_JOURNAL},large_dir`]);
  const image = new WritableImage(path, { cacheBytes: 2 ** 28 });
  const directory = DirectoryOnImage.make(image, 'dir');
  const levels = (): number =>
    directory.dir.hasFlag(InodeFlag.INDEX) ? (image.fs.fileBlock(directory.dir, 0)?.bytes[30] ?? 0) : 0;
  for (let index = 0; levels() < 2 && index < 60_000; index++) directory.add(`${index}`.padEnd(255, '-'));
  expect(levels()).toBe(2);
  for (let index = 0; index < 300; index++) directory.add(`more ${index}`);
  settle(image);
}, 120_000);

test('an index that makes no sense is given up, and what is left is in order for e2fsck', () => {
  const path = images.make(32 * 2 ** 20, ['-t', 'ext4', '-b', '1024', '-O', `${NO_JOURNAL},^metadata_csum`]);
  const image = new WritableImage(path);
  const directory = DirectoryOnImage.make(image, 'dir');
  for (let index = 0; index < 800; index++) directory.add(nameOf(index));
  const rootBlock = image.fs.fileBlock(directory.dir, 0)?.blockNr ?? 0;
  image.close();
  const hashVersionAt = rootBlock * 1024 + 28;
  expect(image.bytes[hashVersionAt]).toBe(1);
  image.bytes[hashVersionAt] = 99;
  image.fs = openWritable(image.device);
  for (let index = 800; index < 900; index++) directory.add(nameOf(index));
  for (let index = 0; index < 900; index += 7) directory.remove(nameOf(index));
  expect(directory.dir.hasFlag(InodeFlag.INDEX)).toBe(false);
  image.reopen();
  expect(directory.listed().sort()).toEqual(directory.wanted);
  settle(image);
});
