import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { pauseThread } from '../shared/pause.ts';

export const MountMode = Object.freeze({ READ_ONLY: 'ro', READ_WRITE: 'rw' });
export type MountMode = (typeof MountMode)[keyof typeof MountMode];

/** A way to mount an image, and the process to watch while it is mounted (0: the kernel itself). */
export interface Contender {
  readonly name: string;
  mount(image: string, mountpoint: string, mode: MountMode): void;
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
  mount: (image, mountpoint, mode) => {
    const access = mode === MountMode.READ_ONLY ? ['--read-only'] : [];
    const words = ['--find', '--show', '--direct-io=on', ...access, image];
    const loop = execFileSync('losetup', words, { encoding: 'utf8' });
    run('mount', '-o', `${mode},noatime`, loop.trim(), mountpoint);
    // Now it goes away by itself at the unmount.
    run('losetup', '--detach', loop.trim());
  },
  serverPid: () => 0,
};

export const fuse2fs: Contender = {
  name: 'fuse2fs',
  mount: (image, mountpoint, mode) => run('fuse2fs', '-o', `${mode},allow_other`, image, mountpoint),
  serverPid: findServer,
};

export function fuse4fs(program: string): Contender {
  return {
    name: 'fuse4fs',
    mount: (image, mountpoint, mode) => run(program, '-o', `${mode},noatime,allow_other`, image, mountpoint),
    serverPid: findServer,
  };
}

function unmount(mountpoint: string): void {
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

export interface ProcessUsage {
  /** Resident memory: heap, native buffers, code. */
  readonly rssMib: number;
  /** The most it has ever been. */
  readonly mostRssMib: number;
  readonly cpuSeconds: number;
}

/** What a process has used so far. */
export function processUsage(pid: number): ProcessUsage {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  const mib = (field: string): number => Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1] ?? 0) / 1024;
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1].split(' ');
  return {
    rssMib: mib('VmRSS'),
    mostRssMib: mib('VmHWM'),
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / 100,
  };
}

/** A zombie that init has not collected yet has ended. */
function processHasEnded(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1].startsWith('Z');
  } catch {
    return true;
  }
}

export function elapsedMs(action: () => void): number {
  const start = process.hrtime.bigint();
  action();
  return Number(process.hrtime.bigint() - start) / 1e6;
}

/** Milliseconds until the file system is unmounted and its server has ended. */
export function unmountToExit(mountpoint: string, pid: number): number {
  return elapsedMs(() => {
    unmount(mountpoint);
    while (pid !== 0 && !processHasEnded(pid)) pauseThread(1);
  });
}
