import {
  closeSync,
  copyFileSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { Filesystem } from '../../service/ext4/filesystem.ts';
import type { Inode } from '../../service/ext4/inode.ts';
import { e2fsprogs } from '../support/e2fsprogs.ts';
import { openImage } from '../support/ext4-image.ts';
import { blockOf } from '../support/journal-builder.ts';
import { compareWithReplay, journalFileOf, recoverImage } from '../support/journal-replay.ts';
import { kernelMount, makeImage } from '../support/kernel-image.ts';
import { run, TestRoom } from '../support/test-room.ts';

const room = new TestRoom('journal-recovery');
afterAll(() => room.clear());

const MIB = 2 ** 20;

interface Case {
  readonly name: string;
  readonly blockSize: number;
  readonly mkfs: readonly string[];
  readonly mount: string;
  /** Feature words that the journal must have got, as dumpe2fs prints them: else the row tests something else. */
  readonly features: RegExp;
}

const cases: readonly Case[] = [
  {
    name: 'ext4 defaults, 1 KiB blocks',
    blockSize: 1024,
    mkfs: [],
    mount: '',
    features: /journal_64bit journal_checksum_v3/,
  },
  {
    name: 'ext4 defaults, 4 KiB blocks',
    blockSize: 4096,
    mkfs: [],
    mount: '',
    features: /journal_64bit journal_checksum_v3/,
  },
  { name: '32-bit, checksum v3', blockSize: 1024, mkfs: ['-O', '^64bit'], mount: '', features: /journal_checksum_v3/ },
  { name: 'no checksums', blockSize: 1024, mkfs: ['-O', '^metadata_csum'], mount: '', features: /journal_64bit/ },
  {
    name: 'no checksums, 32-bit',
    blockSize: 4096,
    mkfs: ['-O', '^metadata_csum,^64bit'],
    mount: '',
    features: /^Journal features: +(\(none\)|journal_incompat_revoke)$/m,
  },
  {
    name: 'ext3 layout',
    blockSize: 1024,
    mkfs: ['-t', 'ext3'],
    mount: '',
    features: /^Journal features: +(\(none\)|journal_incompat_revoke)$/m,
  },
  {
    name: 'transaction checksums (v1)',
    blockSize: 1024,
    mkfs: ['-O', '^metadata_csum'],
    mount: ',journal_checksum',
    features: /journal_checksum(?!_v)/,
  },
  {
    name: 'asynchronous commits with transaction checksums (v1)',
    blockSize: 4096,
    mkfs: ['-O', '^metadata_csum,^64bit'],
    mount: ',journal_async_commit,data=writeback',
    features: /journal_async_commit/,
  },
  {
    name: 'asynchronous commits with checksum v3',
    blockSize: 1024,
    mkfs: [],
    mount: ',journal_async_commit,data=writeback',
    features: /journal_async_commit.*journal_checksum_v3|journal_checksum_v3.*journal_async_commit/,
  },
  { name: 'journalled data', blockSize: 1024, mkfs: [], mount: ',data=journal', features: /journal_checksum_v3/ },
  {
    name: 'journalled data without checksums',
    blockSize: 4096,
    mkfs: ['-O', '^metadata_csum'],
    mount: ',data=journal',
    features: /journal_64bit/,
  },
  {
    name: 'a fast-commit area that nothing uses',
    blockSize: 1024,
    mkfs: ['-O', 'fast_commit'],
    mount: ',data=journal',
    features: /fast_commit/,
  },
];

/** Durable without writing anything to its home location, unlike sync. */
function fsync(path: string): void {
  const fd = openSync(path, 'r');
  fsyncSync(fd);
  closeSync(fd);
}

/** File blocks of which each second one begins with the journal's magic number. */
const content = (blockSize: number, fill: number): Buffer =>
  Buffer.concat(Array.from({ length: 4 }, (_, index) => blockOf(blockSize, fill & 0xff, index % 2 === 0)));

/**
 * Creates, renames and removes names so that the log holds many transactions, blocks logged more than once,
 * and revoke records: directories go away and their blocks come back as file data.
 */
function churn(root: string, blockSize: number, rounds: number): void {
  const kept = join(root, 'kept');
  mkdirSync(kept);
  for (let round = 0; round < rounds; round++) {
    const directory = join(root, `directory${round}`);
    mkdirSync(directory);
    for (let nr = 0; nr < 40; nr++)
      writeFileSync(join(directory, `a name of some length, number ${nr}`), content(blockSize, nr));
    renameSync(join(directory, 'a name of some length, number 7'), join(kept, `renamed${round}`));
    fsync(join(kept, `renamed${round}`));
    if (round % 3 !== 2) rmSync(directory, { recursive: true });
    writeFileSync(join(kept, `after${round}`), content(blockSize, round));
    fsync(kept);
    if (round % 2 === 1) unlinkSync(join(kept, `after${round - 1}`));
  }
  overwrite(join(kept, 'renamed0'), blockSize);
}

function overwrite(path: string, blockSize: number): void {
  const fd = openSync(path, 'r+');
  writeSync(fd, content(blockSize, 0x77));
  fsyncSync(fd);
  closeSync(fd);
}

/** An image as a crash would leave it: copied while the kernel has it mounted, the last commit long since written. */
function dirtyImage({ name, blockSize, mkfs, mount }: Case, rounds: number): string {
  const options = ['-b', String(blockSize), '-J', `size=${blockSize === 1024 ? 1 : 4}`];
  const type = mkfs.includes('-t') ? [] : ['-t', 'ext4'];
  const image = makeImage(room, 'live.img', { sizeBytes: 24 * MIB, mkfs: [...type, ...options, ...mkfs] });
  const root = kernelMount(room, image, `commit=300${mount}`);
  churn(root, blockSize, rounds);
  const copy = room.path(`${name.replaceAll(/\W+/g, '-')}-${rounds}.img`);
  copyFileSync(image, copy);
  run('umount', [root]);
  return copy;
}

/** Number of revoke blocks anywhere in the journal. */
function revokeBlocks(image: string): number {
  const { bytes, blockSize, journal } = recoverImage(image);
  const view = new DataView(bytes.buffer);
  const isRevoke = (nr: number): boolean => {
    const at = journal.physicalBlock(nr) * blockSize;
    return view.getUint32(at) === 0xc03b3998 && view.getUint32(at + 4) === 5;
  };
  return Array.from({ length: journal.lengthBlocks }, (_, nr) => nr).filter(isRevoke).length;
}

/** Every path below the root with type, size and content, as the engine reads them. */
function treeOf(filesystem: Filesystem): ReadonlyMap<string, string> {
  const tree = new Map<string, string>();
  const visit = (path: string, ino: number): void => {
    filesystem.beginOperation();
    const inode = filesystem.inode(ino);
    const content = new Uint8Array(inode.isRegular ? inode.sizeBytes : 0);
    if (inode.isRegular) filesystem.readFile(inode, 0, content);
    tree.set(path, `${inode.mode} ${inode.sizeBytes} ${inode.linksCount} ${Buffer.from(content).toString('base64')}`);
    if (inode.isDirectory) for (const [name, child] of entriesOf(filesystem, inode)) visit(`${path}/${name}`, child);
  };
  visit('', 2);
  return tree;
}

function entriesOf(filesystem: Filesystem, dir: Inode): readonly (readonly [string, number])[] {
  const entries: [string, number][] = [];
  filesystem.readDirectory(dir, 0, 0, {
    entry(ino, _fileType, bytes, nameStart, nameEnd) {
      const name = Buffer.from(bytes.subarray(nameStart, nameEnd)).toString();
      if (name !== '.' && name !== '..') entries.push([name, ino]);
      return true;
    },
  });
  return entries;
}

describe.each(cases)('a journal that the kernel left dirty: $name', (row) => {
  test('is recovered as e2fsck replays it', () => {
    const image = dirtyImage(row, 6);
    expect(e2fsprogs('dumpe2fs', ['-h', image])).toMatch(row.features);
    const { differing, changedByReplay, recovered } = compareWithReplay(image);
    expect(recovered.size).toBeGreaterThan(10);
    expect(changedByReplay).toBeGreaterThan(5);
    expect(differing).toEqual([]);
  });

  test('is recovered as e2fsck replays it after the log has gone round several times', () => {
    const image = dirtyImage(row, 60);
    expect(Number(/^Journal sequence: +(0x.*)$/m.exec(e2fsprogs('dumpe2fs', ['-h', image]))?.[1])).toBeGreaterThan(10);
    // With journalled data the kernel has no need to revoke: it logs the reused block again.
    if (!row.mount.includes('data=journal')) expect(revokeBlocks(image)).toBeGreaterThan(0);
    const { differing, changedByReplay, recovered } = compareWithReplay(image);
    expect(recovered.size).toBeGreaterThan(0);
    expect(changedByReplay).toBeGreaterThan(0);
    expect(differing).toEqual([]);
  });
});

describe.each(cases)('the files behind a dirty journal: $name', (row) => {
  test('read as they do after a replay', () => {
    const image = dirtyImage(row, 9);
    const ours = treeOf(openImage(image));
    compareWithReplay(image);
    const replayed = treeOf(openImage(`${image}.replayed`));
    expect(ours.size).toBeGreaterThan(100);
    expect(ours).toEqual(replayed);
  });
});

test('journalled file data that begins with the magic number is seen with it', () => {
  const image = dirtyImage(cases[9], 3);
  const { recovered } = recoverImage(image);
  const escaped = [...recovered.blockNumbers()].filter((blockNr) => recovered.isEscaped(blockNr));
  expect(escaped.length).toBeGreaterThan(2);
  const block = new Uint8Array(1024);
  recovered.readNewest(escaped[0], block);
  expect([...block.subarray(0, 4)]).toEqual([0xc0, 0x3b, 0x39, 0x98]);
});

test('an image with fast commits is refused in words that say what to do', () => {
  const image = makeImage(room, 'fast.img', {
    sizeBytes: 32 * MIB,
    mkfs: ['-t', 'ext4', '-b', '1024', '-O', 'fast_commit', '-J', 'size=4'],
  });
  const root = kernelMount(room, image, 'commit=300');
  writeFileSync(join(root, 'file'), 'before');
  run('sync', ['-f', root]);
  for (let nr = 0; nr < 3; nr++) {
    writeFileSync(join(root, `fast${nr}`), `number ${nr}`);
    fsync(join(root, `fast${nr}`));
  }
  const copy = room.path('fast-copy.img');
  copyFileSync(image, copy);
  run('umount', [root]);
  expect(() => recoverImage(copy)).toThrow(/journal holds fast commits.*kernel driver or run e2fsck/);
});

test('a journal that was unmounted cleanly has nothing to recover', () => {
  const image = makeImage(room, 'clean.img', { sizeBytes: 16 * MIB, mkfs: ['-t', 'ext4', '-b', '1024'] });
  const root = kernelMount(room, image, 'rw');
  churn(root, 1024, 2);
  run('umount', [root]);
  expect(journalFileOf(image).lengthBlocks).toBeGreaterThanOrEqual(1024);
  expect(recoverImage(image).recovered.size).toBe(0);
});
