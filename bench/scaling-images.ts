import { execFileSync } from 'node:child_process';
import { existsSync, linkSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

type Sizes<Size> = readonly (readonly [name: string, size: Size])[];

export const DIRECTORY_SIZES: Sizes<number> = [
  ['1,000 entries', 1000],
  ['10,000 entries', 10_000],
  ['100,000 entries', 100_000],
  ['1,000,000 entries', 1_000_000],
];

/** As truncate(1) takes them. The last ones are as large as 4 KiB blocks allow. */
export const FILE_SIZES: Sizes<string> = [
  ['1 GiB', '1G'],
  ['100 GiB', '100G'],
  ['16 TiB', String(16 * 2 ** 40 - 4096)],
];
export const IMAGE_SIZES: Sizes<string> = [
  ['1 GiB', '1G'],
  ['100 GiB', '100G'],
  ['16 TiB', String(16 * 2 ** 40 - 16 * 2 ** 20)],
];

/** A file has at most 65000 names. */
const NAMES_OF_FILE = 60_000;

const shell = (script: string, ...words: string[]): void => {
  execFileSync('bash', ['-euc', script, 'bash', ...words], { stdio: ['ignore', 'ignore', 'inherit'] });
};

/** Directories full of names for few files, made by the kernel driver, once; later runs reuse it. */
export function makeDirectoriesImage(path: string, mountpoint: string): void {
  if (existsSync(path)) return;
  const unfinished = `${path}.unfinished`;
  shell('rm -f "$1"; truncate -s 2G "$1"; mkfs.ext4 -q "$1"; mount -o loop "$1" "$2"', unfinished, mountpoint);
  try {
    for (const [name, entries] of DIRECTORY_SIZES) fill(mountpoint, name, entries);
  } finally {
    shell('umount "$1"', mountpoint);
  }
  renameSync(unfinished, path);
}

function fill(mountpoint: string, name: string, entries: number): void {
  const directory = join(mountpoint, name);
  mkdirSync(directory);
  for (let entry = 0; entry < entries; entry++) {
    const file = `${directory}, file ${Math.floor(entry / NAMES_OF_FILE)}`;
    if (entry % NAMES_OF_FILE === 0) writeFileSync(file, '');
    linkSync(file, join(directory, `entry${entry}`));
  }
}

/** An empty file system in a sparse file. */
export function formatSparseImage(path: string, size: string): void {
  const features = 'lazy_itable_init=1,lazy_journal_init=1,nodiscard';
  shell('rm -f "$1"; truncate -s "$2" "$1"; mkfs.ext4 -q -N 2000000 -E "$3" "$1"; sync "$1"', path, size, features);
}
