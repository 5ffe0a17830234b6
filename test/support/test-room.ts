import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, readSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SupervisedProcess } from './supervised-process.ts';

/** Octal escapes of /proc/self/mountinfo: space, tab, newline, backslash. */
const unescapeMount = (field: string) =>
  field.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));

/** Mount points at or below a directory, innermost last, as the kernel lists them. */
export function mountsBelow(directory: string): string[] {
  const points = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => unescapeMount(line.split(' ')[4]));
  return points.filter((point) => point === directory || point.startsWith(`${directory}/`));
}

/** Loop devices whose backing file lies below a directory (deleted files included). */
export function loopDevicesBelow(directory: string): string[] {
  const text = execFileSync('losetup', ['--list', '--noheadings', '--raw', '--output', 'NAME,BACK-FILE'], {
    encoding: 'utf8',
  });
  return text
    .split('\n')
    .filter((line) => line.slice(line.indexOf(' ') + 1).startsWith(`${directory}/`))
    .map((line) => line.slice(0, line.indexOf(' ')));
}

export function sha256OfFile(path: string): string {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(1 << 20);
  const fd = openSync(path, 'r');
  try {
    for (let got = readSync(fd, buffer); got > 0; got = readSync(fd, buffer)) hash.update(buffer.subarray(0, got));
  } finally {
    closeSync(fd);
  }
  return hash.digest('hex');
}

/** Runs a command that must succeed; its error output is part of the failure. */
export function run(command: string, args: readonly string[], input?: string): string {
  const result = spawnSync(command, args, { input, encoding: 'utf8', maxBuffer: 1 << 29 });
  if (result.error !== undefined) throw result.error;
  if (result.status !== 0) {
    const end = result.signal ?? `exit ${result.status}`;
    throw new Error(`${command} ${args.join(' ')}: ${end}: ${result.stderr.slice(-2000)}`);
  }
  return result.stdout;
}

/**
 * A temporary directory that owns everything a mount test makes: files, mounts, loop devices, processes. `leaks`
 * tells what is still there; `clear` removes it, whatever state a failed test left.
 */
export class TestRoom {
  readonly directory: string;
  readonly #processes: SupervisedProcess[] = [];
  #names = 0;

  constructor(name: string) {
    this.directory = realpathSync(mkdtempSync(join(tmpdir(), `fuse4fs-${name}-`)));
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  /** A fresh empty directory, to mount on. */
  mountPoint(): string {
    const directory = this.path(`mount-${this.#names++}`);
    mkdirSync(directory);
    return directory;
  }

  supervise(command: readonly string[]): SupervisedProcess {
    const process = new SupervisedProcess(command);
    this.#processes.push(process);
    return process;
  }

  /** Waits until the kernel lists a mount: it announces changes of the mount table, so nothing is polled by time. */
  async waitForMount(mountPoint: string, milliseconds: number): Promise<void> {
    const seconds = String(Math.ceil(milliseconds / 1000));
    const poll = this.supervise(['findmnt', '--poll=mount', '--first-only', '--timeout', `${seconds}000`, mountPoint]);
    if (mountsBelow(this.directory).includes(mountPoint)) {
      await poll.destroy();
      return;
    }
    const end = await poll.waitForEnd(milliseconds + 1000);
    if (end.code !== 0) throw new Error(`no mount on ${mountPoint} within ${milliseconds} ms`);
  }

  leaks(): string[] {
    return [
      ...mountsBelow(this.directory).map((point) => `mount ${point}`),
      ...loopDevicesBelow(this.directory).map((device) => `loop device ${device}`),
      ...this.#processes.filter((process) => process.pids().length > 0).map((process) => process.describe()),
    ];
  }

  /** Kills processes, unmounts, detaches, but keeps files. */
  async reset(): Promise<void> {
    for (const point of mountsBelow(this.directory).reverse()) spawnSync('umount', ['-l', point]);
    for (const process of this.#processes.splice(0)) await process.destroy();
    for (const device of loopDevicesBelow(this.directory)) spawnSync('losetup', ['-d', device]);
  }

  async clear(): Promise<void> {
    await this.reset();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
