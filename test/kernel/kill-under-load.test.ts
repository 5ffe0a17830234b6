import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, afterEach, expect, test } from 'vitest';
import { compiledTool } from '../support/compiled-tool.ts';
import { type Fuse4fsMount, mountFuse4fs } from '../support/fuse4fs-mount.ts';
import { makeImage, withKernelMount } from '../support/kernel-image.ts';
import { run, TestRoom } from '../support/test-room.ts';
import { e2fsckComplaints } from '../support/writable-image.ts';

/** The real service is killed while programs work; what they were told is synced must be there afterwards. */
const room = new TestRoom('kill');
afterEach(() => room.reset());
afterAll(() => room.clear());

const ROUNDS = Number(process.env.FUSE4FS_KILL_ROUNDS ?? 50);
const SEED = Number(process.env.FUSE4FS_KILL_SEED ?? 1);
const WORKERS = 4;
/** Each this many rounds the kernel recovers the image. */
const KERNEL_EACH = 5;
/** What programs are told when there is nobody left to serve them. */
const ENDINGS = /^[\w ]+ (ENOTCONN|ECONNABORTED|EIO)\n$/;

interface Worker {
  readonly directory: string;
  readonly log: string;
  readonly ended: Promise<string>;
}

/** Starts the workers; the promise is there when they have noted `notes` things in all. */
function startLoad(root: string, round: number, notes: number): { workers: Worker[]; enough: Promise<void> } {
  let left = notes;
  let onEnough = (): void => {};
  const enough = new Promise<void>((resolve) => {
    onEnough = resolve;
  });
  const workers = Array.from({ length: WORKERS }, (_, nr): Worker => {
    const directory = `round-${round}/${nr}`;
    mkdirSync(join(root, directory), { recursive: true });
    const log = room.path(`log-${round}-${nr}`);
    const child = spawn(compiledTool('sync-load'), [join(root, directory), log, `${round}.${nr}`]);
    let errors = '';
    child.stderr.on('data', (part: Buffer) => {
      errors += part.toString();
    });
    child.stdout.on('data', (part: Buffer) => {
      left -= part.length;
      if (left <= 0) onEnough();
    });
    const ended = new Promise<string>((resolve) => child.on('close', () => resolve(errors)));
    void ended.then(onEnough);
    return { directory, log, ended };
  });
  return { workers, enough };
}

/** What must be there: name to what its content is made of. Null: it must not be there. */
type Expected = Map<string, { readonly lengthBytes: number; readonly seed: string; readonly grows: boolean } | null>;

function readLog(path: string): Expected {
  const expected: Expected = new Map();
  for (const line of readFileSync(path, 'latin1').split('\n')) {
    const [what, name, length, seed] = line.split(' ');
    if (what === 'file' || what === 'appended') {
      expected.set(name, { lengthBytes: Number(length), seed, grows: what === 'appended' });
    } else if (what === 'removing') {
      expected.delete(name);
    } else if (what === 'removed') {
      expected.set(name, null);
    }
  }
  return expected;
}

function lossesOf(root: string, worker: Worker): string[] {
  const losses: string[] = [];
  for (const [name, file] of readLog(worker.log)) {
    const path = join(root, worker.directory, name);
    const found = statSync(path, { throwIfNoEntry: false });
    if (file === null) {
      if (found !== undefined) losses.push(`${worker.directory}/${name} is there again`);
      continue;
    }
    if (found === undefined) {
      losses.push(`${worker.directory}/${name} is gone`);
      continue;
    }
    const content = readFileSync(path);
    const wanted = Buffer.alloc(file.lengthBytes, `${file.seed}\n`);
    if (file.grows ? content.length < wanted.length : content.length !== wanted.length) {
      losses.push(`${worker.directory}/${name} has ${content.length} bytes, not ${wanted.length}`);
    } else if (!content.subarray(0, wanted.length).equals(wanted)) {
      losses.push(`${worker.directory}/${name} has other content`);
    }
  }
  return losses;
}

function kill(mount: Fuse4fsMount): void {
  for (const pid of mount.process.pids()) process.kill(pid, 'SIGKILL');
}

async function recoverAndCheck(image: string, round: number, workers: readonly Worker[]): Promise<string[]> {
  const look = (root: string): string[] => workers.flatMap((worker) => lossesOf(root, worker));
  if (round % KERNEL_EACH === KERNEL_EACH - 1) return withKernelMount(room, image, 'rw', look);
  const mount = await mountFuse4fs(room, image, 'rw');
  const losses = look(mount.mountPoint);
  rmSync(join(mount.mountPoint, `round-${round - 1}`), { recursive: true, force: true });
  await mount.unmount();
  return losses;
}

test('what was synced survives the death of the service, and the image is whole', async () => {
  const image = makeImage(room, 'killed.img', { sizeBytes: 256 * 2 ** 20, mkfs: ['-t', 'ext4', '-J', 'size=4'] });
  const moments = fc.sample(fc.integer({ min: 1, max: 300 }), { numRuns: ROUNDS, seed: SEED });
  let checked = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const mount = await mountFuse4fs(room, image, 'rw');
    const { workers, enough } = startLoad(mount.mountPoint, round, moments[round]);
    await enough;
    kill(mount);
    for (const worker of workers) expect(await worker.ended, `round ${round}`).toMatch(ENDINGS);
    run('umount', ['-l', mount.mountPoint]);
    await mount.process.waitForAll(20_000);
    expect(await recoverAndCheck(image, round, workers), `round ${round}`).toEqual([]);
    expect(e2fsckComplaints(image), `round ${round}`).toBe('');
    for (const worker of workers) checked += readLog(worker.log).size;
  }
  expect(checked).toBeGreaterThan(ROUNDS * WORKERS);
  expect(room.leaks()).toEqual([]);
});
