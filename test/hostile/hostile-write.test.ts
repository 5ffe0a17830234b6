import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { afterAll, afterEach, expect, test } from 'vitest';
import { compiledTool } from '../support/compiled-tool.ts';
import { tryMountFuse4fs } from '../support/fuse4fs-mount.ts';
import { makeBaseImages } from '../support/hostile-bases.ts';
import { type HostileImage, HostileImageMaker } from '../support/hostile-image.ts';
import { mountsBelow, TestRoom } from '../support/test-room.ts';

/** Corrupted images that are written: a refusal in words, or a server that stays alive and can be unmounted. */
const room = new TestRoom('hostile-write');
afterEach(() => room.reset());
afterAll(() => room.clear());

const bases = makeBaseImages();
const IMAGES = Number(process.env.FUSE4FS_HOSTILE_WRITES ?? 200);
const VARIANTS_PER_BASE = Math.ceil(IMAGES / bases.length);
/** Other seeds than the tests that only read use. */
const firstSeed = Number(process.env.FUSE4FS_HOSTILE_SEED ?? 1) + 2_000_000;
const SECONDS_PER_DIRECTORY = '20';
const DIRECTORIES_MAX = '40';

interface Changes {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly succeeded: number;
}

/** Asynchronous, because the server may write to a pipe that this process reads. */
function changeEverything(directory: string): Promise<Changes> {
  const limits = ['--seconds', SECONDS_PER_DIRECTORY, '--directories', DIRECTORIES_MAX];
  return new Promise((resolve) => {
    const writer = spawn(compiledTool('write-everywhere'), [...limits, directory]);
    let output = '';
    writer.stdout.on('data', (part: Buffer) => {
      output += part.toString();
    });
    writer.on('close', (code, signal) => resolve({ code, signal, succeeded: Number(output) }));
  });
}

/** Undefined when all is well, else what went wrong. Adds to what succeeded. */
async function faultOf(
  hostile: HostileImage,
  total: { succeeded: number; mounted: number },
): Promise<string | undefined> {
  const image = room.path('hostile.img');
  writeFileSync(image, hostile.bytes);
  const mount = await tryMountFuse4fs(room, image, 'rw,errors=continue');
  const end = await mount.process.ended;
  if (end.code !== 0) {
    await mount.process.waitForAll(20_000);
    if (end.code !== 32) return `mount ended with ${JSON.stringify(end)}: ${mount.process.output}`;
    if (!/\w+ \w+/.test(mount.process.output)) return 'mount was refused without a reason';
    return mountsBelow(room.directory).length > 0 ? 'a refused mount was left' : undefined;
  }
  const changes = await changeEverything(mount.mountPoint);
  const isAlive = mount.process.pids().length > 0;
  const removed = await mount.remove();
  total.mounted++;
  total.succeeded += changes.succeeded;
  if (!isAlive) return `the server died: ${mount.process.output}`;
  if (changes.code !== 0) return `the changes ended by ${changes.signal ?? changes.code}`;
  if (!removed) return 'the mount could only be removed lazily';
  if (/\b(TypeError|RangeError|AssertionError)\b/.test(mount.process.output)) return mount.process.output;
  return undefined;
}

test.each(bases)('corrupted variants of $name can be written to without harm to anybody else', async (base) => {
  const maker = new HostileImageMaker(base);
  const faults: string[] = [];
  const total = { succeeded: 0, mounted: 0 };
  for (let nr = 0; nr < VARIANTS_PER_BASE; nr++) {
    const hostile = maker.make(firstSeed + nr);
    const fault = await faultOf(hostile, total);
    if (fault !== undefined) faults.push(`seed ${hostile.seed} (${hostile.description}): ${fault}`);
    await room.reset();
  }
  expect(faults).toEqual([]);
  // Most corruptions leave something that can be changed; where nothing is written this test shows nothing.
  if (total.mounted > 0) expect(total.succeeded).toBeGreaterThan(0);
  expect(room.leaks()).toEqual([]);
});
