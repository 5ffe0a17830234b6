import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { type Contender, fuse2fs, MountMode, processUsage, unmountToExit } from './contenders.ts';
import type { Results, Unit } from './results.ts';
import type { Workplace } from './workplace.ts';
import { formatImage, makeSmallFiles } from './write-inputs.ts';
import { leaveDirty, type WriteTools, writeMeasures } from './write-measures.ts';

/** What writing costs, on an image that each contender gets freshly formatted. */
export function benchWriting(
  workplace: Workplace,
  contenders: readonly Contender[],
  rounds: number,
  results: Results,
): void {
  const tools = { ...makeSmallFiles(workplace.directory), changes: workplace.compile('changes.c') };
  const image = join(workplace.directory, 'write.img');
  for (let round = 0; round < rounds; round++) {
    for (const contender of contenders) {
      // It takes minutes, and is far away from the others.
      if (contender === fuse2fs && round > 0) continue;
      console.error(`round ${round + 1} of ${rounds}: ${contender.name}`);
      formatImage(image);
      measureRound(contender, image, workplace.mountpoint, tools, results);
      if (contender !== fuse2fs) execFileSync('e2fsck', ['-fn', image], { stdio: 'ignore' });
    }
  }
}

function measureRound(
  contender: Contender,
  image: string,
  mountpoint: string,
  tools: WriteTools,
  results: Results,
): void {
  const record = (name: string, unit: Unit, value: number): void => results.add(name, unit, contender.name, value);
  contender.mount(image, mountpoint, MountMode.READ_WRITE);
  const pid = contender.serverPid(image);
  if (pid !== 0) record('RSS, idle', 'MiB', processUsage(pid).rssMib);
  for (const measure of writeMeasures) {
    try {
      record(measure.name, measure.unit, measure.run(mountpoint, tools));
    } catch (error) {
      // fuse2fs has failed sqlite's transactions with EIO now and then. We must not fail at anything.
      if (contender !== fuse2fs) throw error;
      console.error(`fuse2fs failed: ${measure.name}`);
    }
  }
  leaveDirty(mountpoint, tools);
  if (pid !== 0) {
    const usage = processUsage(pid);
    record('RSS, after everything', 'MiB', usage.rssMib);
    record('RSS, most', 'MiB', usage.mostRssMib);
    record('CPU of the server', 's', usage.cpuSeconds);
  }
  record('unmount with everything flushed', 'ms', unmountToExit(mountpoint, pid));
}
