import { afterEach, describe, expect, test } from 'vitest';
import { CONFIGURATIONS, exercise, machineFor } from './configurations.ts';
import type { Machine } from './machine.ts';

/** FUSE4FS_PEER_OPERATIONS says how many there are in all, FUSE4FS_PEER_SEED which: half a millisecond each. */
const OPERATIONS = Number(process.env.FUSE4FS_PEER_OPERATIONS ?? 500_000);
const SEED = Number(process.env.FUSE4FS_PEER_SEED ?? 1);

const machines: Machine[] = [];
afterEach(async () => {
  for (const machine of machines.splice(0)) await machine.remove();
});

describe('random operations on files show what was written, and leave a sound file system', () => {
  const each = Math.ceil(OPERATIONS / CONFIGURATIONS.length);
  test.each(CONFIGURATIONS.map((wanted, index) => [wanted.name, wanted, index] as const))(
    '%s',
    async (_name, wanted, index) => {
      const machine = machineFor(wanted);
      machines.push(machine);
      const exerciser = await exercise(machine, wanted, 1000 * SEED + index, each);
      expect(exerciser.operations).toBeGreaterThanOrEqual(each);
    },
    1_800_000,
  );
});
