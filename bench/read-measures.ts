import { execFileSync, spawnSync } from 'node:child_process';
import { dropCaches } from './contenders.ts';
import { BIG_FILE_MIB, LARGE_DIRECTORY_FILES, SMALL_DIRECTORY_FILES } from './image.ts';
import type { Unit } from './results.ts';

export interface Measure {
  readonly name: string;
  readonly unit: Unit;
  /** fuse2fs takes a minute: once is enough. */
  readonly slowOnFuse2fs?: boolean;
  /** fuse2fs takes a quarter of an hour. */
  readonly hopelessOnFuse2fs?: boolean;
  /** The server is confined to SHARED_CPU, and the client confines itself. */
  readonly oneCpu?: boolean;
  run(mountpoint: string, latencyProgram: string): number;
}

export const SHARED_CPU = 1;

interface LatencyPlan {
  readonly operation: string;
  readonly path: string;
  /** How many files the directory holds, how many calls to time, and how many files to pass over first. */
  readonly files: number;
  readonly calls: number;
  readonly skip?: number;
  readonly cold?: boolean;
}

/** Median of single calls. With `oneCpu`, client and server share a CPU: no wake-up crosses to an idle one. */
const latency = (name: string, plan: LatencyPlan, oneCpu = false): Measure => ({
  name: oneCpu ? `${name}, on one CPU` : name,
  unit: 'us',
  oneCpu,
  run: (mountpoint, program) => {
    if (plan.cold) dropCaches();
    const words = [plan.operation, `${mountpoint}${plan.path}`, plan.files, plan.calls, plan.skip ?? 0].map(String);
    const command = oneCpu ? ['taskset', '-c', String(SHARED_CPU), program, ...words] : [program, ...words];
    return Number(execFileSync(command[0], command.slice(1), { encoding: 'utf8' }).split(' ')[0]) / 1000;
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

/** Enough calls for a server's compiler to have warmed up, few enough for fuse2fs, which searches from the start. */
const FRESH_NAMES = 3000;
const small = { path: '/small', files: SMALL_DIRECTORY_FILES, calls: SMALL_DIRECTORY_FILES };
const large = { path: '/large', files: LARGE_DIRECTORY_FILES, calls: FRESH_NAMES };

/** In this order within one mount; the first ones see fresh names. */
export const measures: readonly Measure[] = [
  latency('stat, fresh name, first 1000 after the mount', { ...small, operation: 'stat', path: '/first' }),
  latency('stat, fresh name, 100k directory', { ...large, operation: 'stat' }),
  latency('stat, fresh name, small directory', { ...small, operation: 'stat' }),
  latency('stat, known name', { ...small, operation: 'stat' }),
  latency('stat, absent name', { ...small, operation: 'absent' }),
  latency('stat, absent name again', { ...small, operation: 'absent' }),
  latency('open + close', { ...small, operation: 'open' }),
  latency('getxattr', { ...small, operation: 'getxattr', calls: FRESH_NAMES }),
  latency('readdir, 1000 entries', { ...small, operation: 'readdir', calls: 20 }),
  latency('stat, fresh name, 100k directory', { ...large, operation: 'stat', skip: FRESH_NAMES }, true),
  latency('stat, fresh name, small directory', { ...small, operation: 'stat', path: '/other' }, true),
  latency('stat, absent name', { ...small, operation: 'absent', path: '/other' }, true),
  latency('getxattr', { ...small, operation: 'getxattr', calls: FRESH_NAMES }, true),
  latency('pread 4 KiB, uncached', {
    operation: 'pread',
    path: '/big',
    files: BIG_FILE_MIB * 256,
    calls: 2000,
    cold: true,
  }),
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
