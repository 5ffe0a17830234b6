import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync } from 'node:fs';

/** What the benchmark image holds; the names match bench/latency.c. */
export const SMALL_DIRECTORY_FILES = 1000;
export const LARGE_DIRECTORY_FILES = 100_000;
export const TREE_FILES = 20_000;
export const BIG_FILE_MIB = 512;

const shell = (script: string, ...words: string[]): string =>
  execFileSync('bash', ['-euc', script, 'bash', ...words], { encoding: 'utf8' });

const POPULATE = `
mkdir "$1"/first "$1"/other "$1"/small "$1"/large "$1"/tree
cd "$1"/other; printf 'f%06d\\n' $(seq 0 $(($2 - 1))) | xargs touch
cd "$1"/first; printf 'f%06d\\n' $(seq 0 $(($2 - 1))) | xargs touch
cd "$1"/small; printf 'f%06d\\n' $(seq 0 $(($2 - 1))) | xargs touch
for f in *; do setfattr -n user.bench -v value "$f"; done
cd "$1"/large; seq -f f%06.0f 0 $(($3 - 1)) | xargs touch
cd "$1"/tree
for d in $(seq 1 $(($4 / 100))); do mkdir d$d; for f in {000000..000099}; do echo $d$f >d$d/f$f; done; done
dd if=/dev/urandom of="$1"/big bs=1M count=$5 status=none
`;

/** Makes the image with the kernel driver as its author, once; later runs reuse it. */
export function makeBenchImage(path: string, workDirectory: string): void {
  if (existsSync(path)) return;
  const mountpoint = `${workDirectory}/populate`;
  const unfinished = `${path}.unfinished`;
  mkdirSync(mountpoint, { recursive: true });
  shell(
    'rm -f "$1"; truncate -s 2G "$1"; mkfs.ext4 -q -N 200000 "$1"; mount -o loop "$1" "$2"',
    unfinished,
    mountpoint,
  );
  try {
    const counts = [SMALL_DIRECTORY_FILES, LARGE_DIRECTORY_FILES, TREE_FILES, BIG_FILE_MIB].map(String);
    shell(POPULATE, mountpoint, ...counts);
  } finally {
    shell('umount "$1"', mountpoint);
  }
  renameSync(unfinished, path);
}

/** An empty file system of nearly 16 TiB in a sparse file. */
export function makeHugeImage(path: string): void {
  if (existsSync(path)) return;
  const unfinished = `${path}.unfinished`;
  shell(
    `rm -f "$1"
    truncate -s $((16 * 1024 ** 4 - 16 * 1024 ** 2)) "$1"
    mkfs.ext4 -q -E lazy_itable_init=1,lazy_journal_init=1,nodiscard "$1"`,
    unfinished,
  );
  renameSync(unfinished, path);
}
