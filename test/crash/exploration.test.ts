import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CrashExploration, WorkloadSession, type WorkloadStep } from '../support/crash-explorer.ts';
import { EVERY_OPERATION, PREPARATION, sync, syncAndWait } from '../support/crash-workloads.ts';
import { ImageDirectory, imageBytes } from '../support/ext4-image.ts';
import { Prng } from '../support/prng.ts';

const images = new ImageDirectory();
const directory = mkdtempSync(join(tmpdir(), 'fuse4fs-crash-'));
afterAll(() => {
  images.remove();
  rmSync(directory, { recursive: true, force: true });
});

const IMAGE_BYTES = 3 * 2 ** 20;

/** Runs the steps after the preparation, and explores the crash states of both. */
function explore(image: Uint8Array, steps: readonly WorkloadStep[], seed: number, budget: number): CrashExploration {
  const session = new WorkloadSession(image, new Prng(seed));
  for (const step of PREPARATION) session.take(step);
  session.take(syncAndWait());
  for (const step of steps) session.take(step);
  session.device.settle();
  const exploration = new CrashExploration(session, new Prng(seed + 1));
  exploration.explore(budget);
  return exploration;
}

describe('after a power cut', () => {
  let image: Uint8Array;
  beforeAll(() => {
    image = imageBytes(images.make(IMAGE_BYTES, ['-t', 'ext4', '-b', '1024', '-J', 'size=1']));
  });

  test.each(EVERY_OPERATION.map((step, index) => [step.name, step, index] as const))('%s', (_name, step, index) => {
    const { violations, states } = explore(image, [step, sync()], index, 60);
    expect(violations).toEqual([]);
    expect(states).toBeGreaterThan(30);
  });
});
