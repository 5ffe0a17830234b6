import { afterEach, describe, expect, test } from 'vitest';
import { Prng } from '../support/prng.ts';
import { CONFIGURATIONS, type Configuration, machineFor } from './configurations.ts';
import { CrashRun, followLog } from './crash-run.ts';
import { Exerciser } from './exerciser.ts';
import type { Machine } from './machine.ts';
import { STOCK_7_46, V7 } from './profile.ts';
import type { SeededBug } from './seeded-bugs.ts';
import { Violation } from './violation.ts';

const MIB = 2 ** 20;
const OPERATIONS = 4000;
const machines: Machine[] = [];
afterEach(async () => {
  for (const machine of machines.splice(0)) await machine.remove();
});

const configurationOf = (part: string): Configuration => {
  const found = CONFIGURATIONS.find(({ name }) => name.includes(part));
  if (found === undefined) throw new Error(`no configuration with ${part}`);
  return found;
};

/** The first rule that the service is found to break. */
async function firstViolation(bug: SeededBug | undefined, wanted: Configuration): Promise<string> {
  const machine = machineFor(wanted, { recordBytes: 1024 * MIB, ...(bug === undefined ? {} : { bug }) });
  machines.push(machine);
  const { hasExtents } = wanted;
  const exerciser = new Exerciser(machine, { seed: 7, files: 6, maxBytes: 300_000, maxIoBytes: 32_768, hasExtents });
  try {
    followLog(machine);
    machine.start();
    exerciser.run(OPERATIONS);
    exerciser.checkAll(true);
    await exerciser.unmount();
  } catch (error) {
    if (error instanceof Violation) return error.id;
    throw error;
  }
  return 'none';
}

describe('the peer finds bugs', () => {
  const EXTENTS = 'blocks and folios of 4 KiB';
  const BUGS: readonly (readonly [SeededBug, RegExp, string])[] = [
    ['space is allocated as written', /^(D-\d|B-\d|L-3)$/, EXTENTS],
    ['IOEND converts nothing', /^(D-\d|B-\d)$/, EXTENTS],
    ['the size is not changed', /^P-10$/, EXTENTS],
    ['the size changes at BEGIN', /^(P-10|D-3)$/, EXTENTS],
    ['writeback is answered with a hole', /^P-3$/, 'refuses some'],
    ['freed blocks are used before the commit', /^B-3$/, EXTENTS],
    ['block maps are zeroed through the page cache', /^D-[12]$/, 'V7, block maps'],
    ['a mapping is told after a hole was punched', /^(D-\d|B-\d)$/, EXTENTS],
    ['there is no write record', /^P-2$/, EXTENTS],
    ['replies to BEGIN are 8 bytes short', /^P-1$/, EXTENTS],
    ['addresses are off by one block', /^(D-\d|B-\d|P-\d)$/, EXTENTS],
  ];

  test.each(BUGS)('%s: %s', async (bug, ids, where) => {
    expect(await firstViolation(bug, configurationOf(where))).toMatch(ids);
  });

  test('and none where there is none', async () => {
    expect(await firstViolation(undefined, configurationOf(EXTENTS))).toBe('none');
  });

  test('bit 43 is echoed: P-8', async () => {
    const machine = machineFor(configurationOf(EXTENTS), { profile: STOCK_7_46, bug: 'bit 43 is echoed' });
    machines.push(machine);
    expect(() => machine.start()).toThrow(/^P-8/);
  });

  test('the device is never flushed: a power cut shows it', async () => {
    const run = new CrashRun(
      {
        profile: V7,
        blockBytes: 1024,
        sizeBytes: 4 * MIB,
        mkfs: ['-t', 'ext4', '-N', '64', '-m', '0', '-J', 'size=1'],
        recordBytes: 256 * MIB,
        bug: 'the device is never flushed',
      },
      { seed: 1, files: 4, maxBytes: 60_000, maxIoBytes: 16_384, hasExtents: true },
    );
    machines.push(run.machine);
    run.exerciser.run(400);
    await run.end();
    expect(run.explore(new Prng(1), 500)).not.toEqual([]);
  });
});
