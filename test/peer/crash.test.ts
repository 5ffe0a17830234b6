import { describe, expect, test } from 'vitest';
import { Prng } from '../support/prng.ts';
import { CrashRun } from './crash-run.ts';
import { type Profile, T5, V7 } from './profile.ts';

const MIB = 2 ** 20;
/** FUSE4FS_PEER_CRASHES says how many disks after power cuts are looked at. */
const STATES = Number(process.env.FUSE4FS_PEER_CRASHES ?? 20_000);

const SMALL = ['-N', '64', '-m', '0'];
const KINDS: readonly (readonly [name: string, Profile, blockBytes: number, sizeBytes: number, mkfs: string[]])[] = [
  ['extents', V7, 1024, 4 * MIB, ['-t', 'ext4', ...SMALL, '-J', 'size=1']],
  ['extents, hardly any space', T5, 1024, 2.5 * MIB, ['-t', 'ext4', ...SMALL, '-J', 'size=1']],
  ['block maps', V7, 1024, 4 * MIB, ['-t', 'ext3', ...SMALL, '-J', 'size=1']],
  ['blocks of 4 KiB', T5, 4096, 10 * MIB, ['-t', 'ext4', ...SMALL, '-J', 'size=4']],
];
const RUNS = 4;

describe('after a power cut at any moment', () => {
  test.each(KINDS)(
    'the disk is consistent and holds what was synced: %s',
    async (name, profile, blockBytes, sizeBytes, mkfs) => {
      const each = Math.ceil(STATES / KINDS.length / RUNS);
      let states = 0;
      for (let seed = 1; seed <= RUNS; seed++) {
        const run = new CrashRun(
          { profile, blockBytes, sizeBytes, mkfs, recordBytes: 512 * MIB },
          { seed, files: 4, maxBytes: 60_000, maxIoBytes: 16_384, hasExtents: name !== 'block maps' },
        );
        try {
          run.exerciser.run(500);
          await run.end();
          expect(run.events).toBeGreaterThan(100);
          expect(run.explore(new Prng(seed), each)).toEqual([]);
          states += run.states;
        } catch (error) {
          throw new Error(`seed ${seed}\n${run.exerciser.describe()}\n${run.machine.stderr}`, { cause: error });
        } finally {
          await run.machine.remove();
        }
      }
      expect(states).toBeGreaterThanOrEqual(each * RUNS);
    },
  );
});
