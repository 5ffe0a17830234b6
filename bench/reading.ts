import { execFileSync, spawnSync } from 'node:child_process';
import { cpus } from 'node:os';
import { join } from 'node:path';
import {
  type Contender,
  dropImageCache,
  elapsedMs,
  fuse2fs,
  MountMode,
  processUsage,
  unmountToExit,
} from './contenders.ts';
import { makeBenchImage, makeHugeImage } from './image.ts';
import { measures, SHARED_CPU } from './read-measures.ts';
import type { Results, Unit } from './results.ts';
import type { Workplace } from './workplace.ts';

function mountToFirstStat(contender: Contender, image: string, mountpoint: string): number {
  dropImageCache(image);
  return elapsedMs(() => {
    contender.mount(image, mountpoint, MountMode.READ_ONLY);
    execFileSync('stat', [join(mountpoint, 'lost+found')], { stdio: 'ignore' });
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
  latencyProgram: string,
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

/** What reading costs, on an image with files and on a large empty one. */
export function benchReading(
  workplace: Workplace,
  contenders: readonly Contender[],
  rounds: number,
  results: Results,
): void {
  const { mountpoint } = workplace;
  const latencyProgram = workplace.compile('latency.c');
  const image = join(workplace.directory, 'bench.img');
  const huge = join(workplace.directory, 'huge.img');
  makeBenchImage(image, workplace.directory);
  makeHugeImage(huge);
  for (let round = 0; round < rounds; round++) {
    for (const contender of contenders) {
      console.error(`round ${round + 1} of ${rounds}: ${contender.name}`);
      measureRound(contender, image, mountpoint, results, round === 0, latencyProgram);
      measureHuge(contender, huge, mountpoint, results);
    }
  }
}
