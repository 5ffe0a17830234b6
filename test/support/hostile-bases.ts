import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { debugfs, debugfsWrite, e2fsprogs, FIXED_IDENTITY, rebuildDirectories } from './e2fsprogs.ts';
import { journalFileOf } from './journal-replay.ts';

/** A sound small image, of which corrupted variants are made. */
export interface BaseImage {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** Device blocks of the journal in order; empty when there is none. */
  readonly journalBlocks: readonly number[];
}

interface Recipe {
  readonly name: string;
  readonly blockSize: number;
  readonly blocks: number;
  readonly mkfs: readonly string[];
  /** debugfs commands besides those that all images get. */
  readonly debugfs?: readonly string[];
  /** Number of long names in one directory, which e2fsck -D indexes. */
  readonly names?: number;
  readonly journal?: boolean;
}

const NO_JOURNAL = '^has_journal';

const recipes: readonly Recipe[] = [
  { name: '1k-metadata-csum', blockSize: 1024, blocks: 1500, mkfs: ['-t', 'ext4', '-O', NO_JOURNAL] },
  { name: '4k-metadata-csum', blockSize: 4096, blocks: 600, mkfs: ['-t', 'ext4', '-O', NO_JOURNAL] },
  {
    name: '1k-gdt-csum',
    blockSize: 1024,
    blocks: 1500,
    mkfs: ['-t', 'ext4', '-I', '128', '-O', `${NO_JOURNAL},^metadata_csum,uninit_bg,^64bit`],
  },
  { name: '1k-no-csum', blockSize: 1024, blocks: 1500, mkfs: ['-t', 'ext4', '-O', `${NO_JOURNAL},^metadata_csum`] },
  { name: '1k-ext2', blockSize: 1024, blocks: 1500, mkfs: ['-t', 'ext2'] },
  {
    name: '1k-inline-ea-inode',
    blockSize: 1024,
    blocks: 1500,
    mkfs: ['-t', 'ext4', '-I', '512', '-O', `${NO_JOURNAL},inline_data,ea_inode`],
    debugfs: ['ea_set -f BIG tree/plain user.huge', 'ea_set -f BIG tree/sub user.huge'],
  },
  {
    name: '1k-htree',
    blockSize: 1024,
    blocks: 2000,
    mkfs: ['-t', 'ext4', '-N', '1000', '-O', NO_JOURNAL],
    names: 700,
  },
  {
    name: '4k-htree-no-csum',
    blockSize: 4096,
    blocks: 800,
    mkfs: ['-t', 'ext4', '-N', '1000', '-O', `${NO_JOURNAL},^metadata_csum,large_dir`],
    names: 300,
  },
  { name: '1k-journal', blockSize: 1024, blocks: 4000, mkfs: ['-t', 'ext4', '-J', 'size=1'], journal: true },
  {
    name: '1k-meta-bg-small-groups',
    blockSize: 1024,
    blocks: 2000,
    mkfs: ['-t', 'ext4', '-g', '512', '-O', `${NO_JOURNAL},meta_bg,^resize_inode,^flex_bg`],
  },
  {
    name: '1k-bigalloc',
    blockSize: 1024,
    blocks: 2400,
    mkfs: ['-t', 'ext4', '-C', '4096', '-O', `${NO_JOURNAL},bigalloc`],
  },
];

/** Makes all base images in a temporary directory, which is gone afterwards. */
export function makeBaseImages(): readonly BaseImage[] {
  const directory = mkdtempSync(join(tmpdir(), 'fuse4fs-hostile-'));
  try {
    return recipes.map((recipe) => makeBase(directory, recipe));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function makeBase(directory: string, recipe: Recipe): BaseImage {
  const { name, blockSize, blocks } = recipe;
  const image = join(directory, `${name}.img`);
  const tree = sourceTree(join(directory, `${name}.tree`), blockSize, recipe.names ?? 0);
  writeFileSync(image, '');
  truncateSync(image, blocks * blockSize);
  e2fsprogs('mke2fs', ['-q', '-F', '-b', String(blockSize), ...recipe.mkfs, ...FIXED_IDENTITY, '-d', tree, image]);
  const big = join(directory, 'big');
  writeFileSync(big, Buffer.alloc(5000, 0x42));
  writeFileSync(join(directory, 'medium'), Buffer.alloc(Math.floor(blockSize / 3), 0x43));
  runDebugfs(directory, image, [...commonCommands(blockSize), ...(recipe.debugfs ?? [])]);
  if (recipe.names !== undefined) rebuildDirectories(image);
  if (recipe.journal === true) fillJournal(directory, image, blockSize);
  const journal = recipe.journal === true ? journalFileOf(image) : { lengthBlocks: 0, physicalBlock: () => 0 };
  const journalBlocks = Array.from({ length: journal.lengthBlocks }, (_, nr) => journal.physicalBlock(nr));
  return { name, bytes: new Uint8Array(readFileSync(image)), journalBlocks };
}

/** BIG and MEDIUM in a command stand for the files of these names. */
function runDebugfs(directory: string, image: string, commands: readonly string[]): void {
  const fill = (line: string): string =>
    line.replace('BIG', join(directory, 'big')).replace('MEDIUM', join(directory, 'medium'));
  debugfsWrite(image, commands.map(fill));
}

/** The files that mke2fs copies in: small and large ones, links, nested and populous directories. */
function sourceTree(root: string, blockSize: number, names: number): string {
  const tree = join(root, 'tree');
  mkdirSync(join(tree, 'sub', 'deeper', 'deepest'), { recursive: true });
  writeFileSync(join(tree, 'plain'), 'plain content\n');
  writeFileSync(join(tree, 'tiny'), 'x'.repeat(40));
  writeFileSync(join(tree, 'large'), Buffer.alloc(300 * 1024, 0x61));
  writeFileSync(join(tree, 'fragmented'), Buffer.alloc(200 * blockSize, 0x62));
  symlinkSync('plain', join(tree, 'short-link'));
  symlinkSync('d/'.repeat(100), join(tree, 'long-link'));
  for (let nr = 0; nr < 30; nr++) writeFileSync(join(tree, 'sub', `entry ${nr}`), `${nr}`);
  if (names > 0) mkdirSync(join(root, 'many'));
  for (let nr = 0; nr < names; nr++) writeFileSync(join(root, 'many', `${nr} ${'n'.repeat(180)}`), '');
  return root;
}

/** What only debugfs makes: holes that break up extents, attributes, devices, unwritten and far-off blocks. */
function commonCommands(blockSize: number): readonly string[] {
  const punches = Array.from({ length: 99 }, (_, nr) => `punch tree/fragmented ${2 * nr + 1} ${2 * nr + 1}`);
  const attributes = ['tree/plain', 'tree/sub', 'tree/short-link'].flatMap((path) => [
    `ea_set ${path} user.first value`,
    `ea_set ${path} security.second "another value"`,
    `ea_set -f MEDIUM ${path} user.in-block`,
  ]);
  return [
    ...punches,
    ...attributes,
    'cd tree',
    'mknod fifo p',
    'mknod device c 5 1',
    'fallocate large 600 605',
    `set_inode_field tiny size ${40 * blockSize}`,
    'cd /',
  ];
}

/** Leaves transactions in the log that replace blocks of directories and inodes by copies of themselves. */
function fillJournal(directory: string, image: string, blockSize: number): void {
  const bytes = new Uint8Array(readFileSync(image));
  const rootBlock = Number(debugfs(image, 'bmap <2> 0').trim());
  const inodeTable = new DataView(bytes.buffer).getUint32(2 * blockSize + 8, true);
  const logged = [rootBlock, inodeTable, inodeTable + 1, inodeTable + 2];
  const contents = logged.map((nr) => bytes.subarray(nr * blockSize, (nr + 1) * blockSize));
  writeFileSync(join(directory, 'logged'), Buffer.concat(contents));
  runDebugfs(directory, image, [
    'jo -c -v 3',
    `jw -b ${logged.join(',')} ${join(directory, 'logged')}`,
    `jw -r ${logged[3]},3999`,
    `jw -b ${logged.slice(0, 2).join(',')} ${join(directory, 'logged')}`,
    'jc',
  ]);
}
