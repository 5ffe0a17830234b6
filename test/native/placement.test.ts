import { execFile } from 'node:child_process';
import { closeSync, constants, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { HandServedMount } from './fixtures/hand-served-mount.ts';
import { scratchDirectory } from './fixtures/scratch.ts';

const run = promisify(execFile);

/** Names that one process asks for, enough to be noticed. */
const MANY = 1000;

/** Where the calling thread may run: a list as taskset(1) takes it. */
const allowedCpus = (): string =>
  /Cpus_allowed_list:\s*(\S+)/.exec(readFileSync('/proc/thread-self/status', 'latin1'))?.[1] ?? '';

const lastCpu = (list: string): string => list.split(/[-,]/).at(-1) ?? '';

function mountForTest(): HandServedMount {
  const directory = scratchDirectory();
  const image = join(directory, 'image');
  writeFileSync(image, new Uint8Array(4096));
  const deviceFd = openSync(image, constants.O_RDONLY);
  const mount = new HandServedMount(directory, { extents: [], deviceFd, alignment: 1, threads: 1, directIo: false });
  onTestFinished(() => {
    mount.close();
    closeSync(deviceFd);
  });
  return mount;
}

/** One process on one CPU that asks for `count` absent names. */
async function askFor(mount: HandServedMount, count: number, cpu: string): Promise<void> {
  const script = 'for n in $(seq "$2"); do [ ! -e "$1/absent$n" ] || exit 1; done';
  const words = ['-c', script, 'sh', mount.mountPoint, String(count)];
  await run('taskset', ['-c', cpu, 'sh', ...words], { env: { ...process.env, LD_PRELOAD: '' } });
}

describe('the thread that serves requests', () => {
  it('stays on the CPU of a client that is alone, and goes anywhere again when another one comes', async () => {
    const before = allowedCpus();
    const mount = mountForTest();
    const cpu = lastCpu(before);
    await askFor(mount, MANY, cpu);
    expect(allowedCpus()).toBe(cpu);
    await askFor(mount, 1, cpu);
    expect(allowedCpus()).toBe(before);
  });

  it('leaves a choice alone that somebody else has made meanwhile', async () => {
    const before = allowedCpus();
    const mount = mountForTest();
    await askFor(mount, MANY, lastCpu(before));
    const thread = readFileSync('/proc/thread-self/stat', 'latin1').split(' ')[0];
    await run('taskset', ['-cp', '0', thread]);
    onTestFinished(async () => {
      await run('taskset', ['-cp', before, thread]);
    });
    await askFor(mount, 1, '0');
    expect(allowedCpus()).toBe('0');
  });
});
