import { afterAll, describe, expect, it } from 'vitest';
import { FsError } from '../../../service/ext4/errors.ts';
import type { Inode } from '../../../service/ext4/inode.ts';
import { StatFs } from '../../../service/ext4/statfs.ts';
import { Errno } from '../../../shared/errno.ts';
import { ImageDirectory } from '../../support/ext4-image.ts';
import { bytesOf, e2fsckComplaints, WritableImage } from '../../support/writable-image.ts';

const directory = new ImageDirectory();
afterAll(() => directory.remove());

const matrix: [string, string[]][] = [
  ['with a journal', ['-b', '1024']],
  ['without a journal', ['-b', '1024', '-O', '^has_journal']],
  ['with block maps', ['-b', '1024', '-t', 'ext3']],
  ['with 4 KiB blocks', ['-b', '4096']],
];

const REGULAR = 0o100644;
const name = (index: number): Uint8Array => bytesOf(`file${index}`);

function errnoOf(action: () => unknown): number {
  try {
    action();
  } catch (error) {
    if (error instanceof FsError) return error.errno;
    throw error;
  }
  return 0;
}

/** Writes the whole file, in pieces as they come from applications; false when space ran out. */
function write(image: WritableImage, inode: Inode, bytes: Uint8Array, uid: number): boolean {
  for (let at = 0; at < bytes.length; ) {
    let written = 0;
    const fs = image.begin(uid, uid);
    const errno = errnoOf(() => {
      written = fs.writeSmall(inode, at, bytes.subarray(at, at + 40_000));
    });
    if (errno !== 0) {
      expect(errno).toBe(Errno.ENOSPC);
      return false;
    }
    at += written;
  }
  return true;
}

function create(image: WritableImage, index: number, uid: number): Inode | null {
  const fs = image.begin(uid, uid);
  let inode: Inode | null = null;
  const bytes = name(index);
  const errno = errnoOf(() => {
    inode = fs.createNode(image.root, bytes, 0, bytes.length, REGULAR, 0, 0, 0);
  });
  if (errno !== 0) expect(errno).toBe(Errno.ENOSPC);
  return inode;
}

function remove(image: WritableImage, index: number): void {
  const fs = image.begin();
  const bytes = name(index);
  const { ino } = fs.unlink(image.root, bytes, 0, bytes.length);
  image.begin().evict(ino);
}

function statfs(image: WritableImage): StatFs {
  const out = new StatFs();
  image.begin().statfs(out, false);
  return out;
}

/** Files of many sizes until nothing fits; returns how many. */
function fill(image: WritableImage, uid: number): number {
  for (let index = 0; ; index++) {
    const inode = create(image, index, uid);
    if (inode === null) return index;
    const bytes = new Uint8Array(1000 + ((index * 7919) % 200_000)).fill(index);
    if (!write(image, inode, bytes, uid)) return index + 1;
  }
}

describe.each(matrix)('a full file system %s', (_name, options) => {
  function filled(uid: number, m: string, more: Partial<ConstructorParameters<typeof WritableImage>[1]> = {}) {
    const image = new WritableImage(directory.make(12 * 2 ** 20, ['-m', m, ...options]), more);
    return { image, files: fill(image, uid) };
  }

  function expectSound(image: WritableImage): void {
    image.close();
    const path = directory.file('dumped');
    image.save(path);
    expect(e2fsckComplaints(path)).toBe('');
  }

  it('is consistent, and has nothing left for those who filled it', () => {
    const { image, files } = filled(0, '0');
    expect(files).toBeGreaterThan(50);
    expect(statfs(image).blocksAvailable).toBeLessThanOrEqual(1);
    expectSound(image);
  });

  it('lets root write where a user can no more', () => {
    const { image, files } = filled(1000, '10');
    expect(create(image, files, 0)).not.toBeNull();
    const last = image.fs.inode(image.fs.lookup(image.root, name(files), 0, name(files).length));
    expect(write(image, last, new Uint8Array(300_000), 1000)).toBe(false);
    expect(write(image, last, new Uint8Array(300_000), 0)).toBe(true);
    expectSound(image);
  });

  it.each([false, true])('takes a new file at once after one was removed (discarding: %s)', (discard) => {
    const { image, files } = filled(0, '0', { discard });
    for (let round = 0; round < 8; round++) {
      // Of several blocks: the new name may need one in the directory.
      remove(image, 17 + round);
      const inode = create(image, files + round, 0);
      expect(inode).not.toBeNull();
      if (inode !== null) expect(write(image, inode, new Uint8Array(900).fill(round), 0)).toBe(true);
    }
    expectSound(image);
  });

  it('is empty again when everything was removed', () => {
    const image = new WritableImage(directory.make(12 * 2 ** 20, ['-m', '0', ...options]));
    const before = statfs(image);
    const files = fill(image, 0);
    for (let index = 0; index < files; index++) if (index % 3 !== 0) remove(image, index);
    for (let index = 0; index < files; index += 3) remove(image, index);
    image.fs.commitNow();
    const after = statfs(image);
    // The root directory keeps the blocks that it has grown to.
    const rootBlocks = image.root.sizeBytes / before.blockSize - 1;
    expect(after.blocksFree).toBeGreaterThanOrEqual(before.blocksFree - rootBlocks - 2);
    expect(after.filesFree).toBe(before.filesFree);
    expectSound(image);
  });
});

describe('a log that is small', () => {
  it('has room for whatever is deleted at once: the many large attributes of one file', () => {
    const path = directory.make(64 * 2 ** 20, ['-b', '1024', '-O', 'ea_inode', '-J', 'size=1']);
    const image = new WritableImage(path);
    const inode = create(image, 0, 0);
    if (inode === null) throw new Error('no file');
    for (let index = 0; index < 40; index++) {
      image.begin().setXattr(inode, bytesOf(`user.${index}`), new Uint8Array(60_000).fill(index), 0);
    }
    image.begin().unlink(image.root, name(0), 0, name(0).length);
    image.begin().evict(inode.ino);
    expect(image.fs.commitNow()).toBe(0);
    image.close();
    image.save(path);
    expect(e2fsckComplaints(path)).toBe('');
  });

  it.each([
    ['extents', []],
    ['block pointers', ['-t', 'ext3']],
  ])('has room for whatever is deleted at once: a large directory, mapped by %s', (_map, args) => {
    const path = directory.make(32 * 2 ** 20, ['-b', '1024', '-J', 'size=1', ...args]);
    const image = new WritableImage(path, { cacheBytes: 32 * 2 ** 20 });
    const file = create(image, 0, 0);
    if (file === null) throw new Error('no file');
    const dir = image.begin().makeDirectory(image.root, bytesOf('dir'), 0, 3, 0o755, 0);
    const long = (index: number): Uint8Array => bytesOf(`${index}`.padEnd(250, 'x'));
    for (let index = 0; index < 4000; index++) image.begin().link(file, dir, long(index), 0, 250);
    for (let index = 0; index < 4000; index++) image.begin().unlink(dir, long(index), 0, 250);
    expect(dir.sizeBytes).toBeGreaterThan(2 ** 20);
    image.begin().removeDirectory(image.root, bytesOf('dir'), 0, 3);
    image.begin().evict(dir.ino);
    expect(image.fs.commitNow()).toBe(0);
    image.close();
    image.save(path);
    expect(e2fsckComplaints(path)).toBe('');
  });
});
