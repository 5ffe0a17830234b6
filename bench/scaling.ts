import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { type Contender, elapsedMs, fuse2fs, MountMode, processUsage, unmountToExit } from './contenders.ts';
import type { Results } from './results.ts';
import { DIRECTORY_SIZES, FILE_SIZES, formatSparseImage, IMAGE_SIZES, makeDirectoriesImage } from './scaling-images.ts';
import type { Workplace } from './workplace.ts';
import { formatImage } from './write-inputs.ts';

/** Changes of one kind that are timed together. */
const CHANGES = 2000;
const RANDOM_WRITES = 3000;

interface Place {
  readonly contender: Contender;
  readonly mountpoint: string;
  readonly changes: string;
  readonly results: Results;
}

/** What an operation costs in larger and larger directories, files and file systems. */
export function benchScaling(
  workplace: Workplace,
  contenders: readonly Contender[],
  rounds: number,
  results: Results,
): void {
  const changes = workplace.compile('changes.c');
  const directories = join(workplace.directory, 'directories.img');
  makeDirectoriesImage(directories, workplace.mountpoint);
  for (let round = 0; round < rounds; round++) {
    // fuse2fs searches directories from their beginning.
    for (const contender of contenders.filter((candidate) => candidate !== fuse2fs)) {
      console.error(`round ${round + 1} of ${rounds}: ${contender.name}`);
      const place = { contender, mountpoint: workplace.mountpoint, changes, results };
      measureDirectories(place, directories, join(workplace.directory, 'scaling.img'));
      measureFiles(place, join(workplace.directory, 'write.img'));
      for (const [name, size] of IMAGE_SIZES) measureImage(place, join(workplace.directory, 'scaling.img'), name, size);
    }
  }
}

/** Microseconds per change. */
function time(place: Place, operation: string, directory: string): number {
  const words = [operation, directory, String(CHANGES)];
  return Number(execFileSync(place.changes, words, { encoding: 'utf8' }).split(' ')[0]) / 1000;
}

/** The first changes pay for a server's compiler. */
function warmUp(place: Place): void {
  const directory = join(place.mountpoint, 'warm-up');
  execFileSync('mkdir', [directory]);
  for (const operation of ['create', 'unlink', 'create', 'unlink', 'write', 'unlink'])
    time(place, operation, directory);
}

function measureDirectories(place: Place, original: string, image: string): void {
  const { contender, mountpoint, results } = place;
  execFileSync('cp', ['--sparse=always', original, image]);
  execFileSync('sync', [image]);
  contender.mount(image, mountpoint, MountMode.READ_WRITE);
  warmUp(place);
  for (const [name] of DIRECTORY_SIZES) {
    const directory = join(mountpoint, name);
    // The disk's part is not the question.
    execFileSync('sh', ['-c', 'ls -f "$1" >/dev/null', 'sh', directory]);
    results.add(`create in a directory of ${name}`, 'us', contender.name, time(place, 'create', directory));
    results.add(`rename in a directory of ${name}`, 'us', contender.name, time(place, 'rename', directory));
    time(place, 'rename-back', directory);
    results.add(`unlink in a directory of ${name}`, 'us', contender.name, time(place, 'unlink', directory));
  }
  unmountToExit(mountpoint, contender.serverPid(image));
}

function measureFiles(place: Place, image: string): void {
  const { contender, mountpoint, results } = place;
  formatImage(image);
  contender.mount(image, mountpoint, MountMode.READ_WRITE);
  randomWrites(join(mountpoint, 'warm-up'), '1G');
  for (const [name, size] of FILE_SIZES) {
    const cost = randomWrites(join(mountpoint, name), size);
    results.add(`random 4 KiB direct write into a hole of ${name}`, 'us', contender.name, cost);
  }
  unmountToExit(mountpoint, contender.serverPid(image));
}

/** Microseconds per write. */
function randomWrites(path: string, size: string): number {
  execFileSync('truncate', ['-s', size, path]);
  const words = ['--name=r', `--filename=${path}`, '--rw=randwrite', '--bs=4k', '--direct=1', '--norandommap'];
  const more = ['--random_generator=tausworthe64', `--number_ios=${RANDOM_WRITES}`, '--allow_file_create=0'];
  const output = execFileSync('fio', [...words, ...more, '--output-format=json'], { encoding: 'utf8' });
  const report: { jobs: { write: { iops: number } }[] } = JSON.parse(output.slice(output.indexOf('{')));
  return 1e6 / report.jobs[0].write.iops;
}

function measureImage(place: Place, image: string, name: string, size: string): void {
  const { contender, mountpoint, results } = place;
  formatSparseImage(image, size);
  const mountMs = elapsedMs(() => {
    contender.mount(image, mountpoint, MountMode.READ_WRITE);
    execFileSync('stat', [join(mountpoint, 'lost+found')], { stdio: 'ignore' });
  });
  results.add(`mount to first stat, image of ${name}`, 'ms', contender.name, mountMs);
  warmUp(place);
  const directory = join(mountpoint, 'warm-up');
  results.add(`create with 4 KiB, image of ${name}`, 'us', contender.name, time(place, 'write', directory));
  results.add(`unlink with 4 KiB, image of ${name}`, 'us', contender.name, time(place, 'unlink', directory));
  const pid = contender.serverPid(image);
  if (pid !== 0) results.add(`RSS, most, image of ${name}`, 'MiB', contender.name, processUsage(pid).mostRssMib);
  results.add(`unmount, image of ${name}`, 'ms', contender.name, unmountToExit(mountpoint, pid));
}
