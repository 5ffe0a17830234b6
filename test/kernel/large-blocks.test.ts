import { afterAll, afterEach, expect, test } from 'vitest';
import { mountFuse4fs } from '../support/fuse4fs-mount.ts';
import { makeImage } from '../support/kernel-image.ts';
import { OperationScript } from '../support/operation-script.ts';
import { run, sha256OfFile, TestRoom } from '../support/test-room.ts';
import {
  type Allowance,
  compareSnapshots,
  FUSE_ALLOWANCES,
  summarize,
  type TreeSnapshot,
  takeSnapshot,
} from '../support/tree-snapshot.ts';

/**
 * A kernel refuses blocks that are larger than its pages. There mke2fs is the other side: it copies a source tree into
 * the image, and the tree must come back.
 */
const room = new TestRoom('large-blocks');
afterEach(() => room.reset());
afterAll(() => room.clear());

/** What a copy does not keep, or what belongs to the file system that holds it. */
const COPY_ALLOWANCES: readonly Allowance[] = [
  { field: 'ino', why: 'inode numbers belong to each file system' },
  { field: 'dirent', why: 'inode numbers belong to each file system' },
  { field: 'dirent:.', why: 'inode numbers belong to each file system' },
  { field: 'dirent:..', why: 'inode numbers belong to each file system' },
  { field: 'blksize', why: 'the block size differs on purpose' },
  { field: 'blocks', why: 'allocation depends on the block size' },
  { field: 'data', why: 'holes and data are in units of blocks' },
  { field: 'atime', why: 'mke2fs stores the time of the copy, or whole seconds' },
  { field: 'mtime', why: 'mke2fs stores whole seconds; compared as such below' },
  { field: 'ctime', why: 'the copy is a change' },
  { field: 'btime', why: 'the copy is a new file' },
  { field: 'flags', why: 'the source file system has its own' },
  { field: 'fsxattr', why: 'the source file system has its own' },
  { field: 'generation', why: 'generations belong to each file system' },
];

function addSource(script: OperationScript, blockBytes: number): void {
  script.mkdir('directory').mkdir('sizes').mkdir('sparse');
  for (const size of [0, 1, 59, 60, 61, 1000, blockBytes - 1, blockBytes, blockBytes + 1, 3 * blockBytes + 17]) {
    script.write(`sizes/${size}`, 0, size, size);
  }
  script.write('sparse/holes', 5 * blockBytes, 100, 1).write('sparse/holes', 20 * blockBytes, blockBytes, 2);
  script.stripes('sparse/fragments', blockBytes, 20, 3 * blockBytes, 3);
  script.symlink('fast', 'x'.repeat(59)).symlink('slow', 'y'.repeat(60)).symlink('long', 'z'.repeat(4000));
  script.node('fifo', 0o010640).node('character', 0o020600, 1, 3).node('block', 0o060600, 259, 70000);
  script.chmod('sizes/1000', 0o4751).chown('sizes/60', 70000, 80000).times('sizes/61', [5, 0], [1234567890, 0]);
  script.xattr('sizes/1', 'user.small', 'value').xattrRandom('sizes/0', 'user.large', 2500, 9);
  script.link('sizes/60', 'linked').mkdir('many').files('many/file-', 8);
  script.links('many/a-name-that-takes-some-room-', 3000, 8, 'many/file-');
}

const wholeSeconds = (snapshot: TreeSnapshot): Map<string, string> =>
  new Map([...snapshot].map(([path, line]) => [path, /\tmtime=(-?\d+)/.exec(line)?.[1] ?? '']));

function belowRoot(snapshot: TreeSnapshot): TreeSnapshot {
  const lostAndFound = Buffer.from('./lost+found').toString('hex');
  const root = Buffer.from('.').toString('hex');
  return new Map([...snapshot].filter(([path]) => path.length > root.length && path !== lostAndFound));
}

const CASES = [
  { blockBytes: 8192, mkfs: '-t ext4' },
  { blockBytes: 16384, mkfs: '-t ext4 -O ^metadata_csum' },
  { blockBytes: 32768, mkfs: '-t ext4 -O inline_data -I 512' },
  { blockBytes: 65536, mkfs: '-t ext4' },
  { blockBytes: 65536, mkfs: '-t ext2' },
  { blockBytes: 16384, mkfs: '-t ext3 -I 1024' },
  { blockBytes: 8192, mkfs: '-t ext4 -O bigalloc -C 65536' },
];

test.each(CASES)(
  '$blockBytes-byte blocks ($mkfs): the tree equals the one that was copied in',
  async ({ blockBytes, mkfs }) => {
    const source = room.mountPoint();
    const script = new OperationScript();
    addSource(script, blockBytes);
    script.run(source);
    const image = makeImage(room, 'large.img', {
      sizeBytes: 192 << 20,
      mkfs: ['-b', String(blockBytes), '-N', '4096', '-d', source, ...mkfs.split(' ')],
    });
    const expected = belowRoot(await takeSnapshot(source));
    const hash = sha256OfFile(image);
    const mount = await mountFuse4fs(room, image, 'ro,acl');
    const actual = belowRoot(await takeSnapshot(mount.mountPoint));
    await mount.unmount();
    const directorySize = { field: 'size', why: 'directory sizes are in units of blocks' };
    const allowances = [...FUSE_ALLOWANCES, ...COPY_ALLOWANCES];
    const forDirectories = ['./directory', './sizes', './sparse', './many'].map((path) => ({ ...directorySize, path }));
    expect(summarize(compareSnapshots(expected, actual, [...allowances, ...forDirectories]))).toEqual([]);
    expect(wholeSeconds(actual)).toEqual(wholeSeconds(expected));
    expect(run('debugfs', ['-R', 'show_super_stats -h', image])).toMatch(new RegExp(`Block size: +${blockBytes}\n`));
    expect(sha256OfFile(image)).toBe(hash);
    expect(room.leaks()).toEqual([]);
  },
);
