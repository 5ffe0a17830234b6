import { writeFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { CorruptionError, FsError, SpaceAwaitsCommit } from '../../../service/ext4/errors.ts';
import { GroupFlag } from '../../../service/ext4/layout/group-descriptor.ts';
import { BlockRun } from '../../../service/ext4/write-context.ts';
import { Errno } from '../../../shared/errno.ts';
import { AllocationImage } from '../../support/allocation-image.ts';
import { e2fsprogs } from '../../support/e2fsprogs.ts';
import { ImageDirectory, imageBytes } from '../../support/ext4-image.ts';

const MIB = 2 ** 20;
const directory = new ImageDirectory();
afterAll(() => directory.remove());

const NO_JOURNAL = ['-O', '^has_journal'];

/** Size in MiB and mkfs options of file systems in which the groups differ in every way that matters here. */
const matrix: [string, number, string[]][] = [
  ['ext2 with 1 KiB blocks', 40, ['-t', 'ext2', '-b', '1024']],
  ['ext2 of revision 0', 40, ['-t', 'ext2', '-r', '0', '-O', 'none', '-b', '1024']],
  ['ext4', 100, ['-g', '8192', ...NO_JOURNAL]],
  ['ext4 with 1 KiB blocks', 60, ['-b', '1024', ...NO_JOURNAL]],
  ['ext4 with 2 KiB blocks', 60, ['-b', '2048', '-g', '8192', ...NO_JOURNAL]],
  ['ext4 with 64 KiB blocks', 80, ['-b', '65536', ...NO_JOURNAL]],
  ['32-byte descriptors', 100, ['-g', '8192', '-O', '^has_journal,^64bit']],
  ['uninit_bg', 100, ['-g', '8192', '-O', '^has_journal,^64bit,^metadata_csum,uninit_bg']],
  ['no descriptor checksums', 40, ['-b', '1024', '-O', '^has_journal,^metadata_csum,^uninit_bg']],
  ['metadata_csum_seed', 40, ['-b', '1024', '-O', '^has_journal,metadata_csum_seed']],
  ['meta_bg', 60, ['-b', '1024', '-O', '^has_journal,meta_bg,^resize_inode']],
  ['many small groups', 60, ['-b', '1024', '-O', '^has_journal,^resize_inode', '-g', '1024']],
  ['sparse_super2', 60, ['-b', '1024', '-O', '^has_journal,sparse_super2']],
  ['no flex_bg', 60, ['-b', '1024', '-O', '^has_journal,^flex_bg']],
  ['flexible groups of 64', 100, ['-b', '1024', '-G', '64', ...NO_JOURNAL]],
];

/** Free blocks as dumpe2fs, which verifies bitmaps and descriptors, prints them. */
function shownFree(image: string): number[] {
  const free: number[] = [];
  for (const line of e2fsprogs('dumpe2fs', [image]).split('\n')) {
    const list = /^ {2}Free blocks: (.*)$/.exec(line)?.[1] ?? '';
    for (const range of list.split(', ').filter((text) => text !== '')) {
      const [first, last = first] = range.split('-').map(Number);
      for (let block = first; block <= last; block++) free.push(block);
    }
  }
  return free;
}

/** Block numbers as a text of ranges, which is faster to compare than lists. */
function ranges(blocks: readonly number[]): string {
  const found: string[] = [];
  for (let at = 0; at < blocks.length; ) {
    const first = blocks[at];
    let count = 1;
    while (blocks[at + count] === first + count) count++;
    found.push(`${first}+${count}`);
    at += count;
  }
  return found.join(' ');
}

const make = (sizeMib: number, options: readonly string[]): string => directory.make(sizeMib * MIB, options);

function dump(bytes: Uint8Array): string {
  const path = directory.file('dumped');
  writeFileSync(path, bytes);
  return path;
}

const without = (blocks: readonly number[], taken: ReadonlySet<number>): number[] =>
  blocks.filter((block) => !taken.has(block));

function errnoOf(action: () => unknown): number {
  try {
    action();
  } catch (error) {
    if (error instanceof FsError) return error.errno;
    throw error;
  }
  return 0;
}

describe.each(matrix)('block allocation on %s', (_name, sizeMib, options) => {
  it('takes blocks that e2fsprogs called free, and leaves bitmaps, counts and checksums as they should be', () => {
    const path = make(sizeMib, options);
    const bytes = imageBytes(path);
    const image = new AllocationImage(bytes);
    const before = shownFree(path);
    expect(ranges(image.freeBlocks())).toBe(ranges(before));
    const run = new BlockRun();
    const taken = new Set<number>();
    for (let round = 0; round < 40; round++) {
      image.atomically(() => {
        const file = image.newFile(12 + (round % 7));
        image.allocator.allocateData(
          file,
          3 * round,
          round % 2 === 0 ? 0 : before[(round * 997) % before.length],
          1 + (round % 9),
          run,
        );
        for (let block = run.pblk; block < run.pblk + run.lenBlocks; block++) taken.add(block);
        taken.add(image.allocator.allocateMetadata(before[(round * 4561) % before.length]));
      });
    }
    image.settle();
    expect(image.reports).toEqual([]);
    const path2 = dump(bytes);
    expect(ranges(shownFree(path2))).toBe(ranges(without(before, taken)));
    expect(e2fsprogs('dumpe2fs', ['-h', path2])).toMatch(new RegExp(`Free blocks: +${before.length - taken.size}\n`));
    for (const block of taken) image.atomically(() => image.allocator.free(block, 1));
    image.settle();
    const path3 = dump(bytes);
    expect(ranges(shownFree(path3))).toBe(ranges(before));
    e2fsprogs('e2fsck', ['-fn', path3]);
  });

  it('gives out every block once, then says that there is no space', () => {
    const path = make(Math.min(sizeMib, 80), options);
    const bytes = imageBytes(path);
    const image = new AllocationImage(bytes);
    const before = image.counts.clusters;
    const reserve = Math.min(4096, Math.floor(image.geometry.blocksCount / 50));
    const run = new BlockRun();
    const file = image.newFile(12);
    const taken = new Set<number>();
    let lblk = 0;
    const fill = (): number =>
      errnoOf(() => {
        for (;;) {
          image.atomically(() => image.allocator.allocateData(file, lblk, run.pblk + run.lenBlocks, 3000, run));
          for (let block = run.pblk; block < run.pblk + run.lenBlocks; block++) taken.add(block);
          lblk += run.lenBlocks;
        }
      });
    expect(fill()).toBe(Errno.ENOSPC);
    const hasGrowthReserve = image.geometry.superblock.hasIncompat(0x40);
    expect(taken.size).toBe(lblk);
    expect(before - lblk).toBe(hasGrowthReserve ? reserve : 0);
    image.settle();
    while (image.counts.clusters > 0) image.atomically(() => taken.add(image.allocator.allocateMetadata(0, true)));
    expect(errnoOf(() => image.atomically(() => image.allocator.allocateMetadata(0, true)))).toBe(Errno.ENOSPC);
    expect(taken.size).toBe(before);
    image.settle();
    expect(shownFree(dump(bytes))).toEqual([]);
  });
});

describe('who gets the last blocks', () => {
  const options = ['-b', '1024', '-m', '10', ...NO_JOURNAL];

  it('keeps the reserved blocks for root and for the reserving user and group', () => {
    const bytes = imageBytes(make(16, options));
    const image = new AllocationImage(bytes);
    const { caller, allocator, counts } = image;
    const { reservedBlocksCount } = image.geometry.superblock;
    caller.uid = 1000;
    caller.gid = 1000;
    const run = new BlockRun();
    const file = image.newFile(12);
    file.sizeBytes = 2 ** 40;
    const take = (): number => errnoOf(() => image.atomically(() => allocator.allocateData(file, 0, 0, 1000, run)));
    while (take() === 0);
    const growth = Math.min(4096, Math.floor(image.geometry.blocksCount / 50));
    expect(counts.clusters).toBe(reservedBlocksCount + growth);
    caller.uid = 0;
    expect(take()).toBe(0);
    while (take() === 0);
    expect(counts.clusters).toBe(growth);
  });
});

describe('freed blocks', () => {
  const options = ['-b', '1024', ...NO_JOURNAL];

  function filled(): { image: AllocationImage; runs: BlockRun[] } {
    const image = new AllocationImage(imageBytes(make(8, options)));
    const file = image.newFile(12);
    file.sizeBytes = 2 ** 40;
    const runs: BlockRun[] = [];
    for (;;) {
      const run = new BlockRun();
      const errno = errnoOf(() => image.atomically(() => image.allocator.allocateData(file, 0, 0, 100, run)));
      if (errno !== 0) break;
      runs.push(run);
    }
    image.settle();
    return { image, runs };
  }

  it('are not handed out before the transaction that freed them has committed', () => {
    const { image, runs } = filled();
    const run = new BlockRun();
    const file = image.newFile(13);
    const { pblk, lenBlocks } = runs[3];
    image.atomically(() => image.allocator.free(pblk, lenBlocks));
    image.atomically(() => {
      for (let count = 0; count < Math.min(lenBlocks, 160); count++) {
        image.allocator.allocateMetadata(pblk, true);
      }
    });
    for (let left = image.counts.clusters - image.allocator.awaitingCommit; left > 0; left--) {
      image.atomically(() => expect(image.allocator.allocateMetadata(pblk, true)).not.toBe(pblk));
    }
    expect(image.counts.clusters).toBe(lenBlocks);
    expect(() => image.atomically(() => image.allocator.allocateMetadata(pblk, true))).toThrow(SpaceAwaitsCommit);
    const transaction = image.close();
    expect(() => image.atomically(() => image.allocator.allocateMetadata(pblk, true))).toThrow(SpaceAwaitsCommit);
    image.commit(transaction);
    // Somebody has been waiting: no time for discarding.
    expect(image.discardable).toEqual([]);
    expect(image.atomically(() => image.allocator.allocateMetadata(pblk, true))).toBe(pblk);
    expect(errnoOf(() => image.atomically(() => image.allocator.allocateData(file, 0, 0, 1, run)))).toBe(Errno.ENOSPC);
  });

  it('stay in use when the handle that freed them is cancelled', () => {
    const { image, runs } = filled();
    const { pblk, lenBlocks } = runs[1];
    const before = image.counts.clusters;
    expect(() =>
      image.atomically(() => {
        image.allocator.free(pblk, lenBlocks);
        throw new Error('changed my mind');
      }),
    ).toThrow('changed my mind');
    expect(image.counts.clusters).toBe(before);
    expect(image.allocator.awaitingCommit).toBe(0);
    image.settle();
    expect(image.discardable).toEqual([]);
    image.atomically(() => image.allocator.free(pblk, lenBlocks));
    image.settle();
    expect(image.discardable).toEqual([[pblk, lenBlocks]]);
  });

  it('are kept out of reach while they are being discarded', () => {
    const { image, runs } = filled();
    const { pblk, lenBlocks } = runs[1];
    while (image.counts.clusters > 0) image.atomically(() => image.allocator.allocateMetadata(0, true));
    image.discards = true;
    image.atomically(() => image.allocator.free(pblk, lenBlocks));
    image.settle();
    expect(() => image.atomically(() => image.allocator.allocateMetadata(pblk, true))).toThrow(SpaceAwaitsCommit);
    image.allocator.discarded(pblk, lenBlocks);
    expect(image.atomically(() => image.allocator.allocateMetadata(pblk, true))).toBe(pblk);
  });

  it('are refused when they are free already, partly or wholly, or the file system’s own', () => {
    const { image, runs } = filled();
    const { pblk, lenBlocks } = runs[1];
    const { descriptors } = image;
    image.atomically(() => image.allocator.free(pblk, 1));
    const before = image.counts.clusters;
    for (const [start, count] of [
      [pblk, 1],
      [pblk, lenBlocks],
      [descriptors.blockBitmap(0), 1],
      [descriptors.inodeTable(0) + 1, 4],
      [1, 1],
      [image.geometry.blocksCount - 1, 2],
    ]) {
      expect(() => image.atomically(() => image.allocator.free(start, count))).toThrow(CorruptionError);
    }
    expect(image.counts.clusters).toBe(before);
  });
});

describe('a group whose bitmap is bad', () => {
  it('is left alone and reported once, and its blocks are not counted on', () => {
    const bytes = imageBytes(make(64, ['-b', '1024', ...NO_JOURNAL]));
    const probe = new AllocationImage(bytes.slice());
    const bad = probe.geometry.groupCount - 1;
    expect(probe.descriptors.blocksAreUninitialised(bad)).toBe(false);
    bytes[probe.descriptors.blockBitmap(bad) * 1024 + 100] ^= 1;
    const image = new AllocationImage(bytes);
    const run = new BlockRun();
    const goal = image.geometry.groupFirstBlock(bad) + 1000;
    for (let count = 0; count < 5; count++) {
      image.atomically(() => image.allocator.allocateData(image.newFile(12), count, goal, 8, run));
      expect(image.geometry.groupOfBlock(run.pblk)).not.toBe(bad);
    }
    image.atomically(() => image.allocator.free(goal, 4));
    expect(image.reports).toHaveLength(1);
    expect(String(image.reports[0])).toMatch(/block bitmap.*bad checksum/);
    const reserve = Math.min(4096, Math.floor(image.geometry.blocksCount / 50));
    while (errnoOf(() => image.atomically(() => image.allocator.allocateMetadata(0))) === 0);
    expect(image.counts.clusters).toBe(reserve + image.descriptors.freeClusters(bad));
    expect(image.reports).toHaveLength(1);
  });

  it.each([
    [
      'padding',
      /bits behind its \d+ blocks are not set/,
      (bytes: Uint8Array, at: number) => bytes.fill(0, at + 1000, at + 1024),
    ],
    [
      'a block of the file system itself',
      /counts as free/,
      (bytes: Uint8Array, at: number) => {
        bytes[at] &= 0xfe;
      },
    ],
    [
      'the count',
      /\d+ blocks are free, \d+ should be/,
      (bytes: Uint8Array, at: number) => {
        bytes[at + 900] ^= 0xff;
      },
    ],
  ])('is found by its %s where there are no checksums', (_what, finding, damage) => {
    const bytes = imageBytes(make(20, ['-b', '1024', '-g', '7680', '-O', '^has_journal,^metadata_csum,^uninit_bg']));
    const probe = new AllocationImage(bytes.slice());
    damage(bytes, probe.descriptors.blockBitmap(1) * 1024);
    const image = new AllocationImage(bytes);
    const goal = image.geometry.groupFirstBlock(1) + 5000;
    expect(image.geometry.groupOfBlock(image.atomically(() => image.allocator.allocateMetadata(goal)))).not.toBe(1);
    expect(image.reports.map(String)).toEqual([expect.stringMatching(finding)]);
  });
});

describe('a bitmap that two groups claim', () => {
  it('is that of one of them only', () => {
    const bytes = imageBytes(make(40, ['-b', '1024', '-O', '^has_journal,^metadata_csum,^uninit_bg,^64bit']));
    const view = new DataView(bytes.buffer);
    const descriptorsAt = 2048;
    const ofGroup2 = view.getUint32(descriptorsAt + 2 * 32, true);
    view.setUint32(descriptorsAt + 3 * 32, ofGroup2, true);
    view.setUint16(descriptorsAt + 3 * 32 + 0xc, view.getUint16(descriptorsAt + 2 * 32 + 0xc, true), true);
    const image = new AllocationImage(bytes);
    const goalIn = (group: number): number => image.geometry.groupFirstBlock(group) + 5000;
    expect(image.atomically(() => image.allocator.allocateMetadata(goalIn(2)))).toBe(goalIn(2));
    const pblk = image.atomically(() => image.allocator.allocateMetadata(goalIn(3)));
    expect(image.geometry.groupOfBlock(pblk)).not.toBe(3);
    expect(image.reports.map(String)).toEqual([expect.stringMatching(/group 3: its bitmap is also something else/)]);
  });
});

describe('groups that were never used', () => {
  it('get their bitmap when a block is taken, not when somebody looks', () => {
    const bytes = imageBytes(make(60, ['-b', '1024', ...NO_JOURNAL]));
    const image = new AllocationImage(bytes);
    const { descriptors, geometry } = image;
    let group = 0;
    while (!descriptors.blocksAreUninitialised(group)) group++;
    image.bitmaps.get(group);
    image.settle();
    expect(descriptors.flags(group) & GroupFlag.BLOCK_UNINIT).not.toBe(0);
    const goal = geometry.groupFirstBlock(group) + 1000;
    expect(() =>
      image.atomically(() => {
        image.allocator.allocateMetadata(goal);
        throw new Error('no');
      }),
    ).toThrow('no');
    expect(descriptors.blocksAreUninitialised(group)).toBe(true);
    expect(image.atomically(() => image.allocator.allocateMetadata(goal))).toBe(goal);
    image.settle();
    expect(descriptors.blocksAreUninitialised(group)).toBe(false);
    const free = shownFree(dump(bytes));
    expect(free).not.toContain(goal);
    expect(free).toContain(goal + 1);
  });
});

describe('appends', () => {
  const options = ['-b', '4096', ...NO_JOURNAL];

  it('of files written at the same time each go on where they left off', () => {
    const image = new AllocationImage(imageBytes(make(120, options)));
    const run = new BlockRun();
    const files = [12, 13, 14, 15].map((ino) => image.newFile(ino));
    const fragments = files.map(() => 0);
    const nextOf = files.map(() => 0);
    for (let lblk = 0; lblk < 4096; lblk += 32) {
      for (const [index, file] of files.entries()) {
        for (let done = 0; done < 32; done += run.lenBlocks) {
          image.atomically(() => image.allocator.allocateData(file, lblk + done, nextOf[index], 32 - done, run));
          if (run.pblk !== nextOf[index]) fragments[index]++;
          nextOf[index] = run.pblk + run.lenBlocks;
        }
        file.sizeBytes = (lblk + 32) * 4096;
      }
    }
    for (const count of fragments) expect(count).toBeLessThan(12);
  });

  it('of one block at a time stay together although others allocate between them', () => {
    const image = new AllocationImage(imageBytes(make(60, options)));
    const run = new BlockRun();
    const log = image.newFile(12);
    let next = 0;
    let fragments = 0;
    for (let lblk = 0; lblk < 1000; lblk++) {
      image.atomically(() => image.allocator.allocateData(log, lblk, next, 1, run));
      if (run.pblk !== next) fragments++;
      next = run.pblk + 1;
      log.sizeBytes = (lblk + 1) * 4096;
      image.atomically(() => image.allocator.allocateData(image.newFile(100 + lblk), 0, 0, 2, run));
    }
    expect(fragments).toBeLessThan(24);
  });

  it('of very many files keep nothing set aside for those that had their turn long ago', () => {
    const image = new AllocationImage(imageBytes(make(200, options)));
    const run = new BlockRun();
    for (let ino = 12; ino < 812; ino++) {
      image.atomically(() => image.allocator.allocateData(image.newFile(ino), 0, 0, 20, run));
      expect(run.lenBlocks).toBe(20);
    }
    // 512 files, of which each has 32 blocks set aside less the 20 in use.
    expect(image.allocator.reservedAhead).toBeLessThanOrEqual(512 * 12);
    expect(image.allocator.reservedAhead).toBeGreaterThan(0);
  });

  it('leave nothing set aside when the file is closed', () => {
    const image = new AllocationImage(imageBytes(make(60, options)));
    const run = new BlockRun();
    const file = image.newFile(12);
    image.atomically(() => image.allocator.allocateData(file, 0, 0, 100, run));
    expect(image.allocator.reservedAhead).toBeGreaterThan(0);
    image.allocator.discardReservation(12);
    expect(image.allocator.reservedAhead).toBe(0);
  });

  it('set nothing aside that others need', () => {
    const image = new AllocationImage(imageBytes(make(32, options)));
    const run = new BlockRun();
    for (
      let ino = 12;
      errnoOf(() => image.atomically(() => image.allocator.allocateData(image.newFile(ino), 0, 0, 40, run))) === 0;
      ino++
    );
    expect(image.counts.clusters).toBe(Math.floor(image.geometry.blocksCount / 50));
    expect(image.allocator.reservedAhead).toBeLessThanOrEqual(image.counts.clusters);
  });

  it('go on at another place after the handle was cancelled, and nothing is lost', () => {
    const bytes = imageBytes(make(60, options));
    const image = new AllocationImage(bytes);
    const before = image.counts.clusters;
    const run = new BlockRun();
    const file = image.newFile(12);
    image.atomically(() => image.allocator.allocateData(file, 0, 0, 50, run));
    expect(() =>
      image.atomically(() => {
        image.allocator.allocateData(file, 50, run.pblk + 50, 50, run);
        throw new Error('no');
      }),
    ).toThrow('no');
    expect(image.counts.clusters).toBe(before - 50);
    expect(image.allocator.reservedAhead).toBe(0);
  });
});

describe('small files', () => {
  it('of one neighbourhood lie next to each other', () => {
    const image = new AllocationImage(imageBytes(make(60, ['-g', '4096', ...NO_JOURNAL])));
    const run = new BlockRun();
    const starts: number[] = [];
    for (let ino = 20; ino < 120; ino++) {
      image.atomically(() => image.allocator.allocateData(image.newFile(ino), 0, 0, 3, run));
      expect(run.lenBlocks).toBe(3);
      starts.push(run.pblk);
    }
    expect(Math.max(...starts) - Math.min(...starts)).toBe(99 * 3);
  });
});
