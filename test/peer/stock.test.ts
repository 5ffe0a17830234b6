import { afterEach, describe, expect, test } from 'vitest';
import { Exerciser } from './exerciser.ts';
import { Machine, type MachineSettings } from './machine.ts';
import { type Profile, STOCK_7_45, STOCK_7_46 } from './profile.ts';
import { Op } from './wire.ts';

const MIB = 2 ** 20;
const machines: Machine[] = [];
afterEach(async () => {
  for (const machine of machines.splice(0)) await machine.remove();
});

function machineFor(profile: Profile, settings: Partial<MachineSettings> = {}): Machine {
  const machine = new Machine({
    profile,
    sizeBytes: 48 * MIB,
    mkfs: ['-t', 'ext4', '-J', 'size=4'],
    blockBytes: 4096,
    ...settings,
  });
  machines.push(machine);
  return machine;
}

describe('a kernel without iomap', () => {
  test.each([STOCK_7_45, STOCK_7_46])('is served by READ and WRITE: $name', async (profile) => {
    const machine = machineFor(profile);
    const kernel = machine.start();
    expect(kernel.usesIomap).toBe(false);
    const exerciser = new Exerciser(machine, {
      seed: profile.minor,
      files: 6,
      maxBytes: 200_000,
      maxIoBytes: 32_768,
      hasExtents: true,
    });
    exerciser.run(1500);
    await exerciser.remount();
    exerciser.run(1500);
    exerciser.checkAll(false);
    expect(exerciser.kernel.connection.count(Op.WRITE)).toBeGreaterThan(0);
    expect(exerciser.kernel.connection.count(Op.IOMAP_BEGIN)).toBe(0);
    await exerciser.unmount();
  });
});
