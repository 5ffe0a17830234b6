import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, renameSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';

const IMAGE_MIB = 6 * 1024;
const MIB = 2 ** 20;
const DIRECTORIES = 200;
const FILES_IN_DIRECTORY = 100;
/** Of every fourth file or so the repository has a copy: a checkout of 5,000 files. */
const REPOSITORY_DIRECTORIES = 50;
/** Sizes of small files, by turns: 4 KiB in the middle. */
const FILE_BYTES = [300, 1200, 2500, 4096, 6000, 10_000];

const shell = (script: string, ...words: string[]): void => {
  execFileSync('bash', ['-euc', script, 'bash', ...words], { stdio: ['ignore', 'ignore', 'inherit'] });
};

/**
 * A file that has all its blocks, so that nobody pays for their allocation below. Formatted anew for each contender,
 * as mke2fs leaves it when nothing is left for the kernel to do later.
 */
export function formatImage(path: string): void {
  if (!existsSync(path)) writeZeros(`${path}.unfinished`, path);
  shell('mkfs.ext4 -q -F -N 400000 -E nodiscard,lazy_itable_init=0,lazy_journal_init=0 "$1"; sync "$1"', path);
}

function writeZeros(unfinished: string, path: string): void {
  const zeros = new Uint8Array(MIB);
  const fd = openSync(unfinished, 'w');
  for (let mib = 0; mib < IMAGE_MIB; mib++) writeSync(fd, zeros);
  closeSync(fd);
  renameSync(unfinished, path);
}

/** 20,000 small files in an archive, and 5,000 of them in a repository. */
export interface SmallFiles {
  readonly archive: string;
  readonly repository: string;
}

export function makeSmallFiles(directory: string): SmallFiles {
  const archive = join(directory, 'small-files.tar');
  const repository = join(directory, 'repository.git');
  if (!existsSync(archive) || !existsSync(repository)) {
    const tree = join(directory, 'small-files');
    rmSync(tree, { recursive: true, force: true });
    writeTree(tree);
    shell('tar -C "$1" -cf "$2" .', tree, archive);
    shell(COMMIT_TREE, tree, repository, String(REPOSITORY_DIRECTORIES));
    rmSync(tree, { recursive: true });
  }
  return { archive, repository };
}

const COMMIT_TREE = `
cd "$1"; git init -q; for d in $(seq 0 $(($3 - 1))); do git add d$d; done
git -c user.name=bench -c user.email=bench@localhost commit -qm tree
rm -rf "$2"; git clone -q --bare . "$2"; rm -rf .git
`;

function writeTree(tree: string): void {
  for (let d = 0; d < DIRECTORIES; d++) {
    mkdirSync(join(tree, `d${d}`), { recursive: true });
    for (let f = 0; f < FILES_IN_DIRECTORY; f++) {
      const bytes = FILE_BYTES[(d + f) % FILE_BYTES.length];
      const line = `file ${f} of directory ${d}\n`;
      writeFileSync(join(tree, `d${d}`, `f${f}`), line.repeat(Math.ceil(bytes / line.length)).slice(0, bytes));
    }
  }
}
