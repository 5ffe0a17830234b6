import { execFileSync, spawnSync } from 'node:child_process';
import { dropCaches } from './contenders.ts';
import { BIG_FILE_MIB, LARGE_DIRECTORY_FILES, SMALL_DIRECTORY_FILES } from './image.ts';

/** What a number means, so that ratios can be read the right way round. */
export type Unit = 'us' | 's' | 'ms' | 'MiB' | 'MiB/s' | 'entries/s' | 'IOPS';
export interface Measure {
  readonly name: string;
  readonly unit: Unit;
  /** fuse2fs takes a minute: once is enough. */
  readonly slowOnFuse2fs?: boolean;
  /** fuse2fs takes a quarter of an hour. */
  readonly hopelessOnFuse2fs?: boolean;
  run(mountpoint: string, latencyProgram: string): number;
}

const latency = (
  name: string,
  operation: string,
  path: string,
  count: number,
  calls: number,
  cold: boolean,
): Measure => ({
  name,
  unit: 'us',
  run: (mountpoint, program) => {
    if (cold) dropCaches();
    const output = execFileSync(program, [operation, `${mountpoint}${path}`, String(count), String(calls)], {
      encoding: 'utf8',
    });
    return Number(output.split(' ')[0]) / 1000;
  },
});

const seconds = (script: string, mountpoint: string): number => {
  dropCaches();
  const start = process.hrtime.bigint();
  const result = spawnSync('sh', ['-c', script, 'sh', mountpoint], { stdio: ['ignore', 'ignore', 'inherit'] });
  if (result.status !== 0) throw new Error(`${script} failed with status ${result.status}`);
  return Number(process.hrtime.bigint() - start) / 1e9;
};

const stream = (name: string, flags: string, cold: boolean): Measure => ({
  name,
  unit: 'MiB/s',
  run: (mountpoint) => {
    if (cold) dropCaches();
    const start = process.hrtime.bigint();
    execFileSync('sh', ['-c', `dd if="$1/big" of=/dev/null bs=1M ${flags} status=none`, 'sh', mountpoint]);
    return BIG_FILE_MIB / (Number(process.hrtime.bigint() - start) / 1e9);
  },
});

const randomDirect = (depth: number): Measure => ({
  name: `random 4 KiB direct read, queue depth ${depth}`,
  unit: 'IOPS',
  run: (mountpoint) => {
    const output = execFileSync(
      'fio',
      [
        '--name=r',
        `--filename=${mountpoint}/big`,
        '--rw=randread',
        '--bs=4k',
        '--direct=1',
        '--ioengine=libaio',
        `--iodepth=${depth}`,
        '--runtime=3',
        '--time_based',
        '--readonly',
        '--output-format=json',
        '--allow_file_create=0',
      ],
      { encoding: 'utf8' },
    );
    const report: { jobs: { read: { iops: number } }[] } = JSON.parse(output.slice(output.indexOf('{')));
    return report.jobs[0].read.iops;
  },
});

/** Enough calls for a server's compiler to have warmed up. */
const FRESH_NAMES = 10_000;

/** In this order within one mount; the first ones see fresh names. */
export const measures: readonly Measure[] = [
  latency(
    'stat, fresh name, first 1000 after the mount',
    'stat',
    '/first',
    SMALL_DIRECTORY_FILES,
    SMALL_DIRECTORY_FILES,
    false,
  ),
  latency('stat, fresh name, 100k directory', 'stat', '/large', LARGE_DIRECTORY_FILES, FRESH_NAMES, false),
  latency('stat, fresh name, small directory', 'stat', '/small', SMALL_DIRECTORY_FILES, SMALL_DIRECTORY_FILES, false),
  latency('stat, known name', 'stat', '/small', SMALL_DIRECTORY_FILES, 4000, false),
  latency('stat, absent name', 'absent', '/small', SMALL_DIRECTORY_FILES, SMALL_DIRECTORY_FILES, false),
  latency('stat, absent name again', 'absent', '/small', SMALL_DIRECTORY_FILES, SMALL_DIRECTORY_FILES, false),
  latency('open + close', 'open', '/small', SMALL_DIRECTORY_FILES, SMALL_DIRECTORY_FILES, false),
  latency('getxattr', 'getxattr', '/small', SMALL_DIRECTORY_FILES, SMALL_DIRECTORY_FILES, false),
  latency('readdir, 1000 entries', 'readdir', '/small', SMALL_DIRECTORY_FILES, 20, false),
  latency('pread 4 KiB, uncached', 'pread', '/big', (BIG_FILE_MIB * 2 ** 20) / 4096, 2000, true),
  stream('streaming read, cold', '', true),
  stream('streaming read, warm', '', false),
  stream('streaming read, direct', 'iflag=direct', true),
  randomDirect(1),
  randomDirect(16),
  {
    name: 'find -ls of 20,000 files, cold',
    unit: 's',
    slowOnFuse2fs: true,
    run: (mountpoint) => seconds('find "$1/tree" -ls', mountpoint),
  },
  {
    name: 'ls -l of 100,000 entries, cold',
    unit: 'entries/s',
    hopelessOnFuse2fs: true,
    run: (mountpoint) => LARGE_DIRECTORY_FILES / seconds('ls -l "$1/large"', mountpoint),
  },
];
