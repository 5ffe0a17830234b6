import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** A way to mount the image read-only, and the process to watch while it is mounted (0: the kernel itself). */
export interface Contender {
  readonly name: string;
  mount(image: string, mountpoint: string): void;
  serverPid(image: string): number;
}

const run = (program: string, ...words: string[]): void => {
  execFileSync(program, words, { stdio: ['ignore', 'ignore', 'inherit'] });
};

/** The process that has the image open, or 0. */
function findServer(image: string): number {
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry) || Number(entry) === process.pid) continue;
    try {
      const descriptors = readdirSync(`/proc/${entry}/fd`);
      if (descriptors.some((fd) => readlinkSync(`/proc/${entry}/fd/${fd}`) === image)) return Number(entry);
    } catch {
      // The process ended while we looked, or a descriptor was closed.
    }
  }
  return 0;
}

export const kernelExt4: Contender = {
  name: 'kernel',
  // Direct I/O on the image, so that direct reads are reads of the disk for everybody.
  mount: (image, mountpoint) => {
    const loop = execFileSync('losetup', ['--find', '--show', '--read-only', '--direct-io=on', image], {
      encoding: 'utf8',
    });
    run('mount', '-o', 'ro,noatime', loop.trim(), mountpoint);
    // Now it goes away by itself at the unmount.
    run('losetup', '--detach', loop.trim());
  },
  serverPid: () => 0,
};

export const fuse2fs: Contender = {
  name: 'fuse2fs',
  mount: (image, mountpoint) => run('fuse2fs', '-o', 'ro,allow_other', image, mountpoint),
  serverPid: findServer,
};

export function fuse4fs(program: string): Contender {
  return {
    name: 'fuse4fs',
    mount: (image, mountpoint) => run(program, '-o', 'ro,allow_other', image, mountpoint),
    serverPid: findServer,
  };
}

export function unmount(mountpoint: string): void {
  const result = spawnSync('umount', [mountpoint], { encoding: 'utf8' });
  if (result.status !== 0) throw new Error(`umount ${mountpoint}: ${result.stderr}`);
}

export function dropCaches(): void {
  run('sh', '-c', 'sync; echo 3 >/proc/sys/vm/drop_caches');
}

/** Forgets what is cached of one image, so that a mount has to read it, while the programs stay warm. */
export function dropImageCache(image: string): void {
  run('sh', '-c', 'sync; dd if="$1" iflag=nocache count=0 status=none', 'sh', image);
}

/** Resident memory in MiB and CPU time in seconds that a process has used so far. */
export function processUsage(pid: number): { rssMib: number; cpuSeconds: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  const rssKib = Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0);
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1].split(' ');
  return { rssMib: rssKib / 1024, cpuSeconds: (Number(fields[11]) + Number(fields[12])) / 100 };
}

/** A zombie that init has not collected yet has ended. */
export function processHasEnded(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1].startsWith('Z');
  } catch {
    return true;
  }
}
