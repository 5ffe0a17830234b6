import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, afterEach, expect, test } from 'vitest';
import { tryMountFuse4fs } from '../support/fuse4fs-mount.ts';
import { makeBaseImages } from '../support/hostile-bases.ts';
import { type HostileImage, HostileImageMaker } from '../support/hostile-image.ts';
import { mountsBelow, TestRoom } from '../support/test-room.ts';
import { tryTakeSnapshot } from '../support/tree-snapshot.ts';

/**
 * Corrupted images through a real mount. What the engine does with thousands of them is tested without one; here it is
 * about what the kernel and its users meet: a refusal in words, or a server that stays alive and can be unmounted.
 */
const room = new TestRoom('hostile');
afterEach(() => room.reset());
afterAll(() => room.clear());

const bases = makeBaseImages();
const IMAGES = 2000;
const VARIANTS_PER_BASE = Math.ceil(IMAGES / bases.length);
/** Other seeds than the tests of the engine use, so that more images are seen in all. */
const firstSeed = Number(process.env.FUSE4FS_HOSTILE_SEED ?? 1) + 1_000_000;
const SECONDS_PER_OBJECT = 10;
const ENTRIES_MAX = 5000;
const RSS_KIB_MAX = 192 * 1024;

function residentKiB(pid: number): number {
  try {
    return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

/** Undefined when all is well, else what went wrong. */
async function faultOf(hostile: HostileImage): Promise<string | undefined> {
  const image = room.path('hostile.img');
  writeFileSync(image, hostile.bytes);
  const mount = await tryMountFuse4fs(room, image, 'ro');
  const end = await mount.process.ended;
  if (end.code !== 0) {
    await mount.process.waitForAll(20_000);
    if (end.code !== 32) return `mount ended with ${JSON.stringify(end)}: ${mount.process.output}`;
    if (!/\w+ \w+/.test(mount.process.output)) return 'mount was refused without a reason';
    return mountsBelow(room.directory).length > 0 ? 'a refused mount was left' : undefined;
  }
  const walk = await tryTakeSnapshot(mount.mountPoint, {
    secondsPerObject: SECONDS_PER_OBJECT,
    entriesMax: ENTRIES_MAX,
  });
  const servers = mount.process.pids();
  const resident = Math.max(0, ...servers.map(residentKiB));
  const removed = await mount.remove();
  if (servers.length === 0) return `the server died: ${mount.process.output}`;
  if (walk.signal !== null) return `the walk ended by ${walk.signal} after ${walk.snapshot.size} objects`;
  if (resident > RSS_KIB_MAX) return `the server took ${resident} KiB`;
  if (!removed) return 'the mount could only be removed lazily';
  return undefined;
}

test.each(bases)('corrupted variants of $name are refused in words, or served until the unmount', async (base) => {
  const maker = new HostileImageMaker(base);
  const faults: string[] = [];
  for (let nr = 0; nr < VARIANTS_PER_BASE; nr++) {
    const hostile = maker.make(firstSeed + nr);
    const fault = await faultOf(hostile);
    if (fault !== undefined) faults.push(`seed ${hostile.seed} (${hostile.description}): ${fault}`);
    await room.reset();
  }
  expect(faults).toEqual([]);
  expect(room.leaks()).toEqual([]);
});
