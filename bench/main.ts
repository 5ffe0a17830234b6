// Measures fuse4fs against fuse2fs and kernel ext4 on the same images, interleaved, and writes a table
// and a plot to bench/results. Usage: npm run bench [-- ROUNDS [CONTENDER,...]]
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { join } from 'node:path';
import { pauseThread } from '../shared/pause.ts';
import {
  type Contender,
  dropImageCache,
  fuse2fs,
  fuse4fs,
  kernelExt4,
  processHasEnded,
  processUsage,
  unmount,
} from './contenders.ts';
import { makeBenchImage, makeHugeImage } from './image.ts';
import { measures, SHARED_CPU, type Unit } from './measures.ts';
import { plotSvg } from './plot.ts';
import { Results } from './results.ts';

const root = process.cwd();
/**
 * Outside the checkout: tools that walk the tree must not walk into a mounted image. Kept, because making the
 * images takes a minute.
 */
const work = '/var/tmp/fuse4fs-bench';
const latencyProgram = join(work, 'latency');

function elapsedMs(action: () => void): number {
  const start = process.hrtime.bigint();
  action();
  return Number(process.hrtime.bigint() - start) / 1e6;
}

function waitForExit(pid: number): void {
  while (pid !== 0 && !processHasEnded(pid)) pauseThread(1);
}

function mountToFirstStat(contender: Contender, image: string, mountpoint: string): number {
  dropImageCache(image);
  return elapsedMs(() => {
    contender.mount(image, mountpoint);
    execFileSync('stat', [join(mountpoint, 'lost+found')], { stdio: 'ignore' });
  });
}

function unmountToExit(mountpoint: string, pid: number): number {
  return elapsedMs(() => {
    unmount(mountpoint);
    waitForExit(pid);
  });
}

/** Keeps all threads of a process on these CPUs; one that ends meanwhile makes taskset complain. */
function confine(pid: number, cpuList: string): void {
  spawnSync('taskset', ['--all-tasks', '--cpu-list', '--pid', cpuList, String(pid)], { stdio: 'ignore' });
}

function measureRound(
  contender: Contender,
  image: string,
  mountpoint: string,
  results: Results,
  firstRound: boolean,
): void {
  const record = (name: string, unit: Unit, value: number): void => results.add(name, unit, contender.name, value);
  record('mount to first stat', 'ms', mountToFirstStat(contender, image, mountpoint));
  const pid = contender.serverPid(image);
  if (pid !== 0) record('RSS, idle', 'MiB', processUsage(pid).rssMib);
  for (const measure of measures) {
    if (contender === fuse2fs && (measure.hopelessOnFuse2fs || (measure.slowOnFuse2fs && !firstRound))) continue;
    if (measure.oneCpu && pid !== 0) confine(pid, String(SHARED_CPU));
    record(measure.name, measure.unit, measure.run(mountpoint, latencyProgram));
    if (measure.oneCpu && pid !== 0) confine(pid, `0-${cpus().length - 1}`);
  }
  if (pid !== 0) {
    const usage = processUsage(pid);
    record('RSS, after everything', 'MiB', usage.rssMib);
    record('CPU of the server', 's', usage.cpuSeconds);
  }
  record('unmount until the process has ended, 120,000 inodes cached', 'ms', unmountToExit(mountpoint, pid));
}

function measureHuge(contender: Contender, image: string, mountpoint: string, results: Results): void {
  results.add(
    'mount to first stat, empty 16 TiB',
    'ms',
    contender.name,
    mountToFirstStat(contender, image, mountpoint),
  );
  const pid = contender.serverPid(image);
  if (pid !== 0) results.add('RSS, empty 16 TiB', 'MiB', contender.name, processUsage(pid).rssMib);
  results.add(
    'unmount until the process has ended, nothing cached',
    'ms',
    contender.name,
    unmountToExit(mountpoint, pid),
  );
}

function main(): void {
  const rounds = Number(process.argv[2] ?? 3);
  const mountpoint = join(work, 'mnt');
  mkdirSync(mountpoint, { recursive: true });
  execFileSync('gcc', ['-O2', '-o', latencyProgram, join(root, 'bench/latency.c')]);
  const image = join(work, 'bench.img');
  const huge = join(work, 'huge.img');
  makeBenchImage(image, work);
  makeHugeImage(huge);
  const all = [kernelExt4, fuse2fs, fuse4fs(join(root, 'bin/fuse4fs'))];
  const chosen = process.argv[3]?.split(',');
  const contenders = all.filter((contender) => chosen === undefined || chosen.includes(contender.name));
  const results = new Results();
  for (let round = 0; round < rounds; round++) {
    for (const contender of contenders) {
      console.error(`round ${round + 1} of ${rounds}: ${contender.name}`);
      measureRound(contender, image, mountpoint, results, round === 0);
      measureHuge(contender, huge, mountpoint, results);
    }
  }
  const machine = `${cpus().length} x ${cpus()[0].model}, Linux ${release()}, Node ${process.version}`;
  const table = results.table(`${machine}, ${rounds} interleaved rounds, medians`);
  console.log(table);
  if (contenders.length < all.length) return;
  const output = join(root, 'bench/results');
  mkdirSync(output, { recursive: true });
  writeFileSync(join(output, 'read-only.md'), table);
  writeFileSync(join(output, 'read-only.svg'), plotSvg(results));
}

main();
