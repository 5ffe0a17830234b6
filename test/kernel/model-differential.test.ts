import fc from 'fast-check';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { type Fuse4fsMount, mountFuse4fs } from '../support/fuse4fs-mount.ts';
import { kernelMount, kernelSnapshot, makeImage } from '../support/kernel-image.ts';
import { setting as anySetting, steps as anySteps } from '../support/sequence-arbitraries.ts';
import { comparableTree, comparePerformances, type StepAllowance } from '../support/sequence-differences.ts';
import { SequencePerformer, type Setting } from '../support/sequence-performer.ts';
import { mountsBelow, run, TestRoom } from '../support/test-room.ts';
import {
  type Allowance,
  compareSnapshots,
  summarize,
  type TreeSnapshot,
  takeSnapshot,
} from '../support/tree-snapshot.ts';
import { e2fsckComplaints } from '../support/writable-image.ts';

/**
 * The kernel's ext4 is the model: random sequences of system calls are performed on a mount of ours and on one of the
 * kernel's, of images made alike. Every result, every errno, all data that was read, and the trees must be the same.
 */
const room = new TestRoom('model');
afterEach(() => room.reset());
afterAll(() => room.clear());

const SEQUENCES = Number(process.env.FUSE4FS_SEQUENCES ?? 200);
const SEED = Number(process.env.FUSE4FS_MODEL_SEED ?? 1);
const MIB = 2 ** 20;
const SIZE_BYTES = 512 * MIB;

interface Variant {
  readonly name: string;
  readonly mkfs: string;
  /** What the kernel's image has instead of `mkfs`, where the kernel can't mount ours. */
  readonly kernelMkfs?: string;
  readonly options?: string;
  readonly ourOptions?: string;
  readonly kernelOptions?: string;
  /** The kernel loses data of its own on such images: its image does not count, only what it does while mounted. */
  readonly kernelForgets?: boolean;
  readonly steps?: readonly StepAllowance[];
  readonly tree?: readonly Allowance[];
}

const isSeekResult = (result: string): boolean => /^(\d+|ENXIO)\b/.test(result);
/** What a watched step tells of changed times, by letters: "amc.". */
const withoutTimes = (result: string, letters: RegExp): string =>
  result.replace(/ [amc]*\./g, (all) => all.replaceAll(letters, ''));

/** What FUSE does by itself, without a chance for the server. See also sequence-performer.c, which avoids some more. */
const STEP_ALLOWANCES: readonly StepAllowance[] = [
  {
    step: /^\*?lseek \d -?\d+ [34]$/,
    why: 'unwritten extents count as data where pages are cached, and the kernel caches in other units; never -3',
    accepts: (expected, actual) => isSeekResult(expected) && isSeekResult(actual),
  },
  {
    step: /^\*setflags /,
    why: 'the kernel keeps the times that it knows, and does not know what an ioctl does',
    accepts: (expected, actual) => withoutTimes(expected, /c/g) === withoutTimes(actual, /c/g),
  },
  {
    step: /^\*/,
    why: 'what fails makes the kernel ask again for the times that an ioctl has changed before',
    accepts: (expected, actual) => /^E/.test(expected) && withoutTimes(expected, /c/g) === withoutTimes(actual, /c/g),
  },
  {
    step: /^\*fallocate /,
    why: 'gathering writes, the kernel takes the attempt for a change before it asks',
    accepts: (expected, actual) => /^EPERM/.test(expected) && withoutTimes(actual, /[mc]/g) === expected,
  },
  {
    step: /^\*(setacl|removexattr) /,
    why: 'gathering writes, the kernel sets the time of change of files itself, also when there was nothing to remove',
    accepts: (expected, actual) => actual.replace(/(\| 10\d{4} [^|]*) c\./, '$1 .') === expected,
  },
];
const LIVE_ALLOWANCES: readonly Allowance[] = [
  { field: 'data', why: 'as for lseek; what the images hold in the end is compared without exception' },
];

/** The directory of all sequences is the only one with an index. */
const SPLIT_DIRECTORY: Allowance = { path: '.', field: 'size', why: 'where an index block is split is a choice' };

const READS_UNSEEN: Pick<Variant, 'steps' | 'tree'> = {
  steps: [
    {
      step: /^\*/,
      why: 'reads of cached pages and mappings do not reach the server, which keeps the access times',
      accepts: (expected, actual) => withoutTimes(expected, /a/g) === withoutTimes(actual, /a/g),
    },
  ],
  tree: [{ field: 'atime', why: 'reads of cached pages and mappings do not reach the server' }],
};

const WHOLE_SECONDS: Pick<Variant, 'steps'> = {
  steps: [
    {
      step: /^\*/,
      why: 'the clock need not have ticked',
      accepts: (expected, actual) => withoutTimes(expected, /[amc]/g) === withoutTimes(actual, /[amc]/g),
    },
  ],
};

/** FS_EXTENT_FL and FS_INLINE_DATA_FL (linux/fs.h). */
const STORAGE_FLAGS = 0x1008_0000;
const INLINE: Pick<Variant, 'tree' | 'kernelOptions' | 'kernelForgets'> = {
  // With delayed allocation, writes that reach into a second page leave the kernel's file inline and half of it lost.
  kernelOptions: 'nodelalloc',
  kernelForgets: true,
  tree: [
    {
      field: 'flags',
      why: 'an empty file is inline from the start; the kernel makes it so with the first write',
      accepts: (expected, actual) => {
        const difference = Number.parseInt(expected, 16) ^ Number.parseInt(actual, 16);
        return difference === STORAGE_FLAGS;
      },
    },
    ...['seek-past-end', 'direct'].map((field) => ({ field, why: 'the kernel may leave large files inline' })),
  ],
};

const LARGER_DIRECTORIES: Pick<Variant, 'tree'> = {
  tree: [
    {
      field: 'size',
      why: 'a directory has whole blocks',
      accepts: (expected, actual) => expected === '4096' && actual === '65536',
    },
  ],
};

const VARIANTS: readonly Variant[] = [
  { name: 'ext4, 4 KiB blocks', mkfs: '-t ext4 -b 4096' },
  { name: 'ext4, 1 KiB blocks', mkfs: '-t ext4 -b 1024' },
  { name: 'ext4, 2 KiB blocks, 512-byte inodes', mkfs: '-t ext4 -b 2048 -I 512' },
  {
    name: 'ext4, 64 KiB blocks',
    mkfs: '-t ext4 -b 65536 -O ea_inode',
    kernelMkfs: '-t ext4 -b 4096 -O ea_inode',
    ...LARGER_DIRECTORIES,
  },
  { name: 'ext4 without the kernel gathering writes', mkfs: '-t ext4 -b 4096', ourOptions: 'nowriteback_cache' },
  { name: 'ext4, access times', mkfs: '-t ext4 -b 4096', options: 'relatime', ...READS_UNSEEN },
  { name: 'ext4, inline data', mkfs: '-t ext4 -b 4096 -O inline_data', ...INLINE },
  { name: 'ext4, inline data in 1 KiB inodes', mkfs: '-t ext4 -b 1024 -I 1024 -O inline_data', ...INLINE },
  { name: 'ext4, attributes in inodes', mkfs: '-t ext4 -b 1024 -O ea_inode' },
  { name: 'ext4, orphan file', mkfs: '-t ext4 -b 4096 -O orphan_file' },
  { name: 'ext4 without checksums', mkfs: '-t ext4 -b 1024 -O ^metadata_csum,uninit_bg' },
  { name: 'ext4 without extents', mkfs: '-t ext4 -b 1024 -O ^extents,^64bit' },
  { name: 'ext4 without a journal', mkfs: '-t ext4 -b 4096 -O ^has_journal' },
  { name: 'ext3', mkfs: '-t ext3 -b 4096 -I 256' },
  { name: 'ext2, 128-byte inodes', mkfs: '-t ext2 -b 1024 -I 128', ...WHOLE_SECONDS },
];

/** 16 TiB are more than a file may have in blocks of 4 KiB, but not in blocks of 64 KiB. */
const withoutEdge = (step: string): string => step.replaceAll(String(2 ** 44), String(2 ** 52));

/** Two mounts that have seen the same so far. */
class Pair {
  readonly #ours: SequencePerformer;
  readonly #kernels: SequencePerformer;
  readonly #variant: Variant;
  #count = 0;

  constructor(variant: Variant, ourRoot: string, kernelRoot: string) {
    this.#variant = variant;
    this.#ours = new SequencePerformer(ourRoot);
    this.#kernels = new SequencePerformer(kernelRoot);
  }

  async differences(setting: Setting, anySizes: readonly string[]): Promise<string[]> {
    const steps = this.#variant.kernelMkfs === undefined ? anySizes : anySizes.map(withoutEdge);
    const name = `sequence-${this.#count++}`;
    const [expected, actual] = await Promise.all([
      this.#kernels.perform(name, setting, steps),
      this.#ours.perform(name, setting, steps),
    ]);
    const stepAllowances = [...STEP_ALLOWANCES, ...(this.#variant.steps ?? [])];
    const treeAllowances = [...LIVE_ALLOWANCES, ...(this.#variant.tree ?? [])];
    return comparePerformances(steps, expected, actual, stepAllowances, treeAllowances);
  }

  async close(): Promise<void> {
    await this.#ours.close();
    await this.#kernels.close();
  }
}

interface Mounts {
  readonly ourImage: string;
  readonly kernelImage: string;
  readonly ours: Fuse4fsMount;
  readonly kernelRoot: string;
}

async function mountBoth(variant: Variant): Promise<Mounts> {
  const { mkfs, kernelMkfs = mkfs, options = 'noatime', ourOptions, kernelOptions } = variant;
  const ourImage = makeImage(room, 'ours.img', { sizeBytes: SIZE_BYTES, mkfs: mkfs.split(' ') });
  const kernelImage = makeImage(room, 'kernel.img', { sizeBytes: SIZE_BYTES, mkfs: kernelMkfs.split(' ') });
  const ourWords = [
    'rw',
    'acl',
    'allow_other',
    'suid',
    'dev',
    options,
    ...(ourOptions === undefined ? [] : [ourOptions]),
  ];
  const ours = await mountFuse4fs(room, ourImage, ourWords.join(','));
  const kernelWords = ['rw', 'acl', options, ...(kernelOptions === undefined ? [] : [kernelOptions])];
  const kernelRoot = kernelMount(room, kernelImage, kernelWords.join(','));
  return { ourImage, kernelImage, ours, kernelRoot };
}

/** After the unmount: the images themselves, read by the kernel. `last`: what our mount showed in the end. */
async function compareImages({ ourImage, kernelImage }: Mounts, variant: Variant, last: TreeSnapshot): Promise<void> {
  expect(e2fsckComplaints(ourImage)).toBe('');
  // The kernel does not mount images with blocks larger than its pages can take.
  if (variant.kernelMkfs !== undefined) return;
  const actual = comparableTree(await kernelSnapshot(room, ourImage));
  expect(summarize(compareSnapshots(comparableTree(last), actual, LIVE_ALLOWANCES))).toEqual([]);
  if (variant.kernelForgets === true) return;
  const expected = comparableTree(await kernelSnapshot(room, kernelImage));
  expect(summarize(compareSnapshots(expected, actual, [SPLIT_DIRECTORY, ...(variant.tree ?? [])]))).toEqual([]);
}

async function withPair(variant: Variant, use: (pair: Pair) => Promise<void>): Promise<void> {
  const mounts = await mountBoth(variant);
  const pair = new Pair(variant, mounts.ours.mountPoint, mounts.kernelRoot);
  try {
    await use(pair);
  } finally {
    await pair.close();
  }
  const last = await takeSnapshot(mounts.ours.mountPoint);
  await mounts.ours.unmount();
  run('umount', [mounts.kernelRoot]);
  await compareImages(mounts, variant, last);
  expect(mountsBelow(room.directory)).toEqual([]);
}

const ROOT: Setting = { uid: 0, umask: 0o022, mode: 0o755, gid: 0, defaultAcl: '-' };
const USER: Setting = { ...ROOT, uid: 1000, mode: 0o2775, gid: 1001 };
const ACL = '0200000001000700ffffffff02000500e803000004000700ffffffff10000700ffffffff20000500ffffffff';

/** Sequences that once had other results. */
const REGRESSIONS: readonly (readonly [name: string, setting: Setting, steps: readonly string[]])[] = [
  [
    'removing an access control list that is not there',
    ROOT,
    [
      'mkdir d 0755',
      '*removexattr d system.posix_acl_default',
      '*removexattr d system.posix_acl_access',
      '*removexattr d user.a',
    ],
  ],
  ['times that can not be stored', ROOT, ['open 0 a 0102 0644', 'utimens a -3000000000 1', 'utimens . 20000000000 1']],
  [
    'whiteouts in a directory with a default list',
    { ...ROOT, defaultAcl: ACL },
    ['open 0 a 0102 0644', 'symlink s a', '*rename a b 4', '*rename s c 5', '*getxattr a system.posix_acl_access'],
  ],
  [
    'set-user-ID and set-group-ID after changes by a user',
    USER,
    ['open 0 a 0102 06755', '*fallocate 0 0 0 1', 'open 1 b 0102 06755', 'pwrite 0 0 100 1', '*copy 0 0 1 0 50'],
  ],
  [
    'set-group-ID of a directory that gets a default list',
    { ...USER, gid: 2000 },
    ['mkdir d 0755', `*setacl d system.posix_acl_default ${ACL}`, `*setacl d system.posix_acl_access ${ACL}`],
  ],
  [
    'ranges beyond the largest size of a file',
    ROOT,
    [
      'open 0 a 0102 0644',
      `*fallocate 0 3 ${2 ** 52} 1`,
      `*fallocate 0 1 ${2 ** 52} 1`,
      `*fallocate 0 16 ${2 ** 52} 1`,
    ],
  ],
  [
    'times of append-only files',
    ROOT,
    ['open 0 a 0102 0644', 'setflags a 32 0', '*utimens a 1000000000 now', '*utimens a now now', '*utimens a 1 1'],
  ],
  [
    'holes up to and beyond the end of a file',
    ROOT,
    [
      'open 0 a 0102 0644',
      'pwrite 0 0 5000 1',
      'fsync 0',
      'fallocate 0 3 4096 1000',
      'open 1 b 0102 0644',
      'pwrite 1 0 5000 1',
      'fsync 1',
      'fallocate 1 3 4096 904',
      'utimens b 1 1',
      '*fallocate 1 3 100000 1',
    ],
  ],
];

test.each(REGRESSIONS)('%s', async (_, setting, steps) => {
  const variant: Variant = { name: 'regression', mkfs: '-t ext4 -b 1024' };
  await withPair(variant, async (pair) => {
    expect(await pair.differences(setting, steps)).toEqual([]);
  });
});

describe.each(VARIANTS.map((variant, nr) => ({ ...variant, nr })))('$name', ({ nr, ...variant }) => {
  test('random sequences of system calls have the results that they have on the kernel', async () => {
    await withPair(variant, async (pair) => {
      const property = fc.asyncProperty(anySetting, anySteps, async (setting, steps) => {
        expect(await pair.differences(setting, steps)).toEqual([]);
      });
      await fc.assert(property, { numRuns: SEQUENCES, seed: SEED * 1000 + nr, verbose: 0 });
    });
  });
});
