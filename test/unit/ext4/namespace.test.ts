import { afterAll, describe, expect, test } from 'vitest';
import { consistencyFindings } from '../../support/consistency-checker.ts';
import { ImageDirectory } from '../../support/ext4-image.ts';
import { bytesOf, e2fsckComplaints, WritableImage } from '../../support/writable-image.ts';

const images = new ImageDirectory();
afterAll(() => images.remove());

const KINDS: readonly [string, readonly string[]][] = [
  ['ext4', ['-t', 'ext4', '-b', '4096']],
  ['ext4 of 1 KiB blocks', ['-t', 'ext4', '-b', '1024']],
  ['ext4 without checksums', ['-t', 'ext4', '-O', '^metadata_csum,uninit_bg']],
  ['ext4 of 64 KiB blocks', ['-t', 'ext4', '-b', '65536']],
  ['ext4 with inline data', ['-t', 'ext4', '-O', 'inline_data']],
  ['ext4 with an orphan file', ['-t', 'ext4', '-O', 'orphan_file']],
  ['ext4 with attribute inodes', ['-t', 'ext4', '-O', 'ea_inode']],
  ['ext4 without a journal', ['-t', 'ext4', '-O', '^has_journal']],
  ['ext3', ['-t', 'ext3', '-b', '1024']],
  ['ext2 of 128-byte inodes', ['-t', 'ext2', '-I', '128', '-b', '2048']],
];

const SIZE = 64 * 2 ** 20;

/** Closes the image; both judges must be content. */
function settle(image: WritableImage): void {
  image.close();
  const path = images.file('settled');
  image.save(path);
  expect(e2fsckComplaints(path)).toBe('');
  expect(consistencyFindings(image.device)).toEqual([]);
}

describe.each(KINDS)('%s', (_kind, options) => {
  const make = (): WritableImage => new WritableImage(images.make(SIZE, options));

  test('opening and closing changes nothing that matters', () => {
    settle(make());
  });

  test('files, directories, links and devices are made and removed', () => {
    const image = make();
    const { fs, root } = image;
    image.begin(1000, 1001);
    const dir = fs.makeDirectory(root, bytesOf('dir'), 0, 3, 0o777, 0o022);
    expect(dir.mode & 0o7777).toBe(0o755);
    expect([dir.uid, dir.gid, dir.linksCount, root.linksCount]).toEqual([1000, 1001, 2, 4]);
    const file = fs.createNode(dir, bytesOf('file'), 0, 4, 0o100666, 0o022, 0, 0);
    image.begin();
    expect(fs.writeSmall(file, 10, bytesOf('hello'))).toBe(5);
    fs.link(file, root, bytesOf('other'), 0, 5);
    const target = bytesOf(`/${'long/'.repeat(30)}`);
    const symlink = fs.makeSymlink(dir, bytesOf('symlink'), 0, 7, target);
    expect(Buffer.from(fs.readLink(symlink))).toEqual(target);
    fs.createNode(dir, bytesOf('device'), 0, 6, 0o020600, 0, 300, 70000);
    image.begin();
    fs.setXattr(file, bytesOf('user.name'), bytesOf('value'), 0);
    image.reopen();
    const again = image.fs.inode(image.fs.lookup(image.root, bytesOf('other'), 0, 5));
    const content = new Uint8Array(15);
    expect(image.fs.readFile(again, 0, content)).toBe(15);
    expect(Buffer.from(content).toString('latin1')).toBe(`${'\0'.repeat(10)}hello`);
    expect(Buffer.from(image.fs.getXattr(again, bytesOf('user.name')) ?? []).toString()).toBe('value');
    settle(image);
  });

  test('what is removed leaves nothing behind', () => {
    const image = make();
    const before = image.fs.blocks;
    expect(before).toBeDefined();
    const { fs, root } = image;
    image.begin();
    const dir = fs.makeDirectory(root, bytesOf('dir'), 0, 3, 0o777, 0);
    for (let index = 0; index < 300; index++) {
      const name = bytesOf(`a-rather-long-name-for-a-file-${index}`);
      image.begin();
      const file = fs.createNode(dir, name, 0, name.length, 0o100644, 0, 0, 0);
      fs.writeSmall(file, 0, bytesOf('x'.repeat(5000)));
      fs.setXattr(file, bytesOf('user.large'), bytesOf('y'.repeat(700)), 0);
    }
    for (let index = 0; index < 300; index++) {
      const name = bytesOf(`a-rather-long-name-for-a-file-${index}`);
      image.begin();
      fs.evict(fs.unlink(dir, name, 0, name.length).ino);
    }
    fs.evict(fs.removeDirectory(root, bytesOf('dir'), 0, 3).ino);
    settle(image);
  });

  test('names are moved, replaced and exchanged', () => {
    const image = make();
    const { fs, root } = image;
    const name = bytesOf;
    image.begin();
    const a = fs.makeDirectory(root, name('a'), 0, 1, 0o755, 0);
    const b = fs.makeDirectory(root, name('b'), 0, 1, 0o755, 0);
    const sub = fs.makeDirectory(a, name('sub'), 0, 3, 0o755, 0);
    const x = fs.createNode(a, name('x'), 0, 1, 0o100644, 0, 0, 0);
    const y = fs.createNode(b, name('y'), 0, 1, 0o100644, 0, 0, 0);
    image.begin();
    fs.rename(a, name('sub'), 0, 3, b, name('moved'), 0, 5, 0);
    expect([a.linksCount, b.linksCount]).toEqual([2, 3]);
    expect(fs.rename(a, name('x'), 0, 1, b, name('y'), 0, 1, 0)).toBe(y);
    expect(y.linksCount).toBe(0);
    fs.evict(y.ino);
    fs.rename(b, name('moved'), 0, 5, b, name('y'), 0, 1, 2);
    expect(fs.lookup(b, name('y'), 0, 1)).toBe(sub.ino);
    expect(fs.lookup(b, name('moved'), 0, 5)).toBe(x.ino);
    fs.rename(b, name('moved'), 0, 5, root, name('white'), 0, 5, 4);
    expect(fs.inode(fs.lookup(b, name('moved'), 0, 5)).mode).toBe(0o020000);
    expect(() => fs.rename(root, name('b'), 0, 1, sub, name('b'), 0, 1, 0)).toThrow('into itself');
    settle(image);
  });

  test('an operation that fails leaves everything as it was', () => {
    const image = make();
    const { fs, root } = image;
    image.begin();
    fs.createNode(root, bytesOf('file'), 0, 4, 0o100644, 0, 0, 0);
    expect(() => fs.makeDirectory(root, bytesOf('file'), 0, 4, 0o755, 0)).toThrow('exists');
    expect(() => fs.removeDirectory(root, bytesOf('file'), 0, 4)).toThrow('no directory');
    expect(() => fs.unlink(root, bytesOf('none'), 0, 4)).toThrow('no such name');
    settle(image);
  });

  test('files without names are freed, in this life or the next', () => {
    const image = make();
    const { fs, root } = image;
    image.begin();
    const unlinked = fs.createNode(root, bytesOf('file'), 0, 4, 0o100644, 0, 0, 0);
    fs.writeSmall(unlinked, 0, new Uint8Array(100_000).fill(7));
    fs.unlink(root, bytesOf('file'), 0, 4);
    const temporary = fs.makeTemporary(root, 0o100600, 0);
    fs.writeSmall(temporary, 0, bytesOf('temporary'));
    const named = fs.makeTemporary(root, 0o100600, 0);
    fs.link(named, root, bytesOf('named'), 0, 5);
    expect(named.linksCount).toBe(1);
    const content = new Uint8Array(9);
    expect(fs.readFile(temporary, 0, content)).toBe(9);
    image.reopen();
    expect(() => image.fs.inode(unlinked.ino)).toThrow('not in use');
    settle(image);
  });
});
