import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { CrashState } from '../support/crash-explorer.ts';
import { CrashImages, type ImageKind } from '../support/crash-images.ts';
import { runScenario } from '../support/crash-scenarios.ts';
import { ImageDirectory, openBytes } from '../support/ext4-image.ts';
import { kernelMount } from '../support/kernel-image.ts';
import { attributeDifference, captureState, type LogicalState } from '../support/logical-state.ts';
import { Prng } from '../support/prng.ts';
import { run, TestRoom } from '../support/test-room.ts';

const directory = new ImageDirectory();
const room = new TestRoom('crash-states');
afterAll(() => {
  directory.remove();
  return room.clear();
});
const images = new CrashImages(directory);

/** Content of regular files by path, as the kernel shows it. */
function kernelFiles(root: string): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  for (const entry of readdirSync(root, { withFileTypes: true, recursive: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) files.set(path.slice(root.length), readFileSync(path));
  }
  return files;
}

const regularFiles = (state: LogicalState): [string, Uint8Array][] =>
  [...state]
    .filter(([, { attributes }]) => (Number.parseInt(attributes, 10) & 0o170000) === 0o100000)
    .map(([path, { data }]) => [path, data]);

/** The kernel mounts the disk and recovers it; what it shows, and what it leaves, must be what we show. */
function difference(image: Uint8Array, ours: LogicalState): string {
  const path = room.path('crashed');
  writeFileSync(path, image);
  const root = kernelMount(room, path, 'rw,noatime');
  let files: Map<string, Buffer>;
  try {
    files = kernelFiles(root);
  } finally {
    run('umount', [root]);
  }
  for (const [name, data] of regularFiles(ours)) {
    const theirs = files.get(name);
    if (theirs === undefined || Buffer.compare(theirs, data) !== 0) return `the kernel shows other data in ${name}`;
    files.delete(name);
  }
  if (files.size > 0) return `the kernel shows ${[...files.keys()].join(', ')}`;
  return attributeDifference(captureState(openBytes(new Uint8Array(readFileSync(path)))), ours);
}

describe('the kernel recovers what a power cut has left as we do', () => {
  test.each(['random', 'chain'])('after workloads of the form %s', (form) => {
    const findings: string[] = [];
    let judged = 0;
    let torn = 0;
    for (let number = 2000; number < 2020; number++) {
      const random = new Prng(number);
      let left = 3;
      const onState = (state: CrashState, kind: ImageKind): void => {
        if (left === 0 || !random.oneIn(8)) return;
        left--;
        judged++;
        if (state.inFlight) torn++;
        const finding = difference(state.image(), state.recovered);
        if (finding !== '')
          findings.push(`${form}:${number} (${kind.name}), ${state.event} ${state.choice}: ${finding}`);
      };
      runScenario(images, { name: `${form}:${number}`, budget: 40 }, { onState });
    }
    expect(findings).toEqual([]);
    expect(judged).toBeGreaterThan(30);
    expect(torn).toBeGreaterThan(0);
  });
});
