import { execFileSync, spawnSync } from 'node:child_process';
import { dropCaches } from './contenders.ts';
import type { Unit } from './results.ts';
import type { SmallFiles } from './write-inputs.ts';

/** What measures need besides the mount. */
export interface WriteTools extends SmallFiles {
  /** Made from changes.c. */
  readonly changes: string;
}

export interface WriteMeasure {
  readonly name: string;
  readonly unit: Unit;
  run(mountpoint: string, tools: WriteTools): number;
}

/** Enough for the kernel to take a tenth of a second, few enough for fuse2fs, which searches from the start. */
const NAMES = 5000;
const CREATORS = 4;
const NAMES_OF_CREATOR = 1500;
const APPENDS = 500;
const STREAM_MIB = 1024;
const RANDOM_MIB = 512;
const RANDOM_SECONDS = 3;
const TRANSACTIONS = 500;

/** Runs a script with the mountpoint as $1 and other words behind it; returns seconds. */
function seconds(script: string, ...words: string[]): number {
  const start = process.hrtime.bigint();
  const result = spawnSync('bash', ['-euc', script, 'bash', ...words], { stdio: ['ignore', 'ignore', 'inherit'] });
  if (result.status !== 0) throw new Error(`${script} failed with status ${result.status}`);
  return Number(process.hrtime.bigint() - start) / 1e9;
}

const program = (name: string, prepare: string, script: string): WriteMeasure => ({
  name,
  unit: 's',
  run: (mountpoint, { archive, repository }) => {
    seconds(prepare, mountpoint);
    execFileSync('sync');
    return seconds(script, mountpoint, archive, repository);
  },
});

/** Which number of the program's answer counts. */
const MEAN = 0;
const MEDIAN = 1;

const changes = (name: string, operation: string, directory: string, count = NAMES, which = MEAN): WriteMeasure => ({
  name,
  unit: 'us',
  run: (mountpoint, tools) => {
    seconds(`mkdir -p "$1/${directory}"`, mountpoint);
    const words = [operation, `${mountpoint}/${directory}`, String(count)];
    return Number(execFileSync(tools.changes, words, { encoding: 'utf8' }).split(' ')[which]) / 1000;
  },
});

const parallelCreators: WriteMeasure = {
  name: `create with 4 KiB, ${CREATORS} processes`,
  unit: 'us',
  run: (mountpoint, tools) => {
    seconds('mkdir -p "$1"/parallel/p{0..9}', mountpoint);
    const words = ['write', `${mountpoint}/parallel`, String(NAMES_OF_CREATOR), String(CREATORS)];
    return Number(execFileSync(tools.changes, words, { encoding: 'utf8' }).split(' ')[MEAN]) / 1000;
  },
};

const stream = (name: string, script: string): WriteMeasure => ({
  name,
  unit: 'MiB/s',
  run: (mountpoint) => {
    seconds('rm -f "$1/stream"; sync "$1"', mountpoint);
    return STREAM_MIB / seconds(script, mountpoint);
  },
});

interface FioReport {
  readonly jobs: readonly { readonly read: { readonly iops: number }; readonly write: { readonly iops: number } }[];
}

/** fio on a file that has all its blocks. */
const random = (name: string, direction: 'read' | 'write', ...words: string[]): WriteMeasure => ({
  name,
  unit: 'IOPS',
  run: (mountpoint) => {
    seconds(
      `[ -e "$1/random" ] || dd if=/dev/zero of="$1/random" bs=1M count=${RANDOM_MIB} conv=fsync status=none`,
      mountpoint,
    );
    dropCaches();
    const common = ['--name=r', `--filename=${mountpoint}/random`, `--rw=rand${direction}`, '--bs=4k'];
    const output = execFileSync('fio', [...common, ...words, '--allow_file_create=0', '--output-format=json'], {
      encoding: 'utf8',
    });
    const report: FioReport = JSON.parse(output.slice(output.indexOf('{')));
    return report.jobs[0][direction].iops;
  },
});

const direct = (direction: 'read' | 'write', depth: number): WriteMeasure =>
  random(
    `random 4 KiB direct ${direction}, queue depth ${depth}`,
    direction,
    '--direct=1',
    '--ioengine=libaio',
    `--iodepth=${depth}`,
    '--time_based',
    `--runtime=${RANDOM_SECONDS}`,
  );

const sqlite = (mode: string): WriteMeasure => ({
  name: `sqlite, ${TRANSACTIONS} transactions, journal mode ${mode}`,
  unit: 's',
  run: (mountpoint) => {
    const path = `${mountpoint}/${mode}.db`;
    const setUp = `PRAGMA journal_mode=${mode}; CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT);`;
    execFileSync('sqlite3', [path], { input: setUp, stdio: ['pipe', 'ignore', 'inherit'] });
    const inserts = Array.from({ length: TRANSACTIONS }, (_, n) => `INSERT INTO t (text) VALUES ('number ${n}');`);
    const start = process.hrtime.bigint();
    execFileSync('sqlite3', ['-bail', path], { input: inserts.join('\n'), stdio: ['pipe', 'ignore', 'inherit'] });
    return Number(process.hrtime.bigint() - start) / 1e9;
  },
});

/** Left for the unmount to write: files, and data in the page cache. */
export function leaveDirty(mountpoint: string, tools: WriteTools): void {
  seconds('sync; mkdir "$1/last"', mountpoint);
  execFileSync(tools.changes, ['write', `${mountpoint}/last`, '2000'], { stdio: 'ignore' });
  seconds('dd if=/dev/zero of="$1/last/data" bs=1M count=128 status=none', mountpoint);
}

/** In this order within one mount. */
export const writeMeasures: readonly WriteMeasure[] = [
  changes('create', 'create', 'names'),
  changes('rename', 'rename', 'names'),
  changes('rename back', 'rename-back', 'names'),
  changes('unlink', 'unlink', 'names'),
  changes('mkdir', 'mkdir', 'names'),
  changes('rmdir', 'rmdir', 'names'),
  changes('create with 4 KiB', 'write', 'names'),
  changes('unlink with 4 KiB', 'unlink', 'names'),
  parallelCreators,
  program('tar x of 20,000 small files', 'mkdir "$1/tree"', 'tar -C "$1/tree" -xf "$2"'),
  program('cp -a of 20,000 small files', '', 'cp -a "$1/tree" "$1/copy"'),
  program('rm -rf of 20,000 small files', '', 'rm -rf "$1/copy"'),
  program('git clone of 5,000 files', '', 'git clone -q "file://$3" "$1/clone"'),
  program('git status of 5,000 files', '', 'git -C "$1/clone" status --porcelain'),
  changes('append 4 KiB + fsync, median', 'append', 'names', APPENDS, MEDIAN),
  sqlite('delete'),
  sqlite('wal'),
  stream(
    'streaming write, buffered',
    `dd if=/dev/zero of="$1/stream" bs=1M count=${STREAM_MIB} conv=fsync status=none`,
  ),
  stream(
    'streaming write, direct',
    `dd if=/dev/zero of="$1/stream" bs=1M count=${STREAM_MIB} oflag=direct conv=fsync status=none`,
  ),
  direct('write', 1),
  direct('write', 16),
  direct('read', 1),
  direct('read', 16),
  random('random 4 KiB write + fsync of each', 'write', '--fsync=1', '--time_based', `--runtime=${RANDOM_SECONDS}`),
  random('random 4 KiB write, 64 MiB then fsync', 'write', '--io_size=64m', '--end_fsync=1'),
];
