import { Errno } from '../../shared/errno.ts';
import { Prng } from '../support/prng.ts';
import { Exerciser } from './exerciser.ts';
import { Machine, type MachineSettings } from './machine.ts';
import { type Profile, T5, V7 } from './profile.ts';

const MIB = 2 ** 20;
const EXT4 = ['-t', 'ext4', '-J', 'size=4'];

/** A kind of kernel and a kind of file system. */
export interface Configuration {
  readonly name: string;
  readonly profile: Profile;
  readonly blockBytes: number;
  readonly folioBytes: number;
  readonly mkfs: readonly string[];
  readonly sizeBytes: number;
  readonly hasExtents: boolean;
  /** One mapping in so many is refused by the kernel's cache, 0 none. */
  readonly refusesOneIn: number;
}

const configuration = (name: string, profile: Profile, changes: Partial<Configuration> = {}): Configuration => ({
  name: `${profile.name}, ${name}`,
  profile,
  blockBytes: 4096,
  folioBytes: 4096,
  mkfs: EXT4,
  sizeBytes: 48 * MIB,
  hasExtents: true,
  refusesOneIn: 0,
  ...changes,
});

export const CONFIGURATIONS: readonly Configuration[] = [
  configuration('blocks and folios of 4 KiB', V7),
  configuration('blocks of 4 KiB, folios of 16 KiB', T5, { folioBytes: 16384 }),
  configuration('blocks of 1 KiB, folios of 4 KiB', V7, { blockBytes: 1024 }),
  configuration('blocks of 1 KiB, folios of 16 KiB', T5, { blockBytes: 1024, folioBytes: 16384 }),
  configuration('block maps', V7, { mkfs: ['-t', 'ext3', '-J', 'size=4'], hasExtents: false }),
  configuration('block maps, blocks of 1 KiB', T5, { mkfs: ['-t', 'ext3'], blockBytes: 1024, hasExtents: false }),
  configuration('inline data', T5, { mkfs: [...EXT4, '-O', 'inline_data'] }),
  configuration('a cache that refuses some mappings', V7, { refusesOneIn: 3 }),
  configuration('hardly any space', T5, { sizeBytes: 6 * MIB, mkfs: ['-t', 'ext4', '-J', 'size=4', '-m', '0'] }),
  configuration('no journal', V7, { mkfs: ['-t', 'ext4', '-O', '^has_journal'] }),
];

export function machineFor(wanted: Configuration, changes: Partial<MachineSettings> = {}): Machine {
  const { profile, sizeBytes, mkfs, blockBytes, folioBytes } = wanted;
  return new Machine({ profile, sizeBytes, mkfs, blockBytes, folioBytes, ...changes });
}

/** Random operations with some remounts between them, judged at the end. */
export async function exercise(machine: Machine, wanted: Configuration, seed: number, operations: number) {
  const exerciser = new Exerciser(machine, {
    seed,
    files: 8,
    maxBytes: 300_000,
    maxIoBytes: 32_768,
    hasExtents: wanted.hasExtents,
  });
  const refusals = new Prng(seed);
  const start = (): void => {
    const kernel = machine.kernel ?? machine.start();
    kernel.control.refuseUpserts = () =>
      wanted.refusesOneIn > 0 && refusals.oneIn(wanted.refusesOneIn) ? Errno.ENOMEM : 0;
  };
  const rounds = 3;
  try {
    for (let round = 0; round < rounds; round++) {
      start();
      exerciser.run(Math.ceil(operations / rounds));
      exerciser.checkAll(round === 1);
      await exerciser.unmount();
    }
    start();
    exerciser.checkAll(false);
    await exerciser.unmount();
  } catch (error) {
    throw new Error(`${exerciser.describe()}\n${machine.stderr}`, { cause: error });
  }
  return exerciser;
}
