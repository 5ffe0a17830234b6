import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { CorruptionError, FsError } from '../../service/ext4/errors.ts';
import { WorkloadSession } from '../support/crash-explorer.ts';
import { CrashImages, UNJOURNALLED } from '../support/crash-images.ts';
import { randomSteps } from '../support/crash-workloads.ts';
import { e2fsck } from '../support/e2fsprogs.ts';
import { ImageDirectory, openBytes } from '../support/ext4-image.ts';
import { attributeDifference, captureState, type LogicalState } from '../support/logical-state.ts';
import type { OverlayDevice } from '../support/overlay-device.ts';
import { Prng } from '../support/prng.ts';
import { ALL_SECTORS } from '../support/recording-device.ts';
import { e2fsckComplaints, openWritable } from '../support/writable-image.ts';

const directory = new ImageDirectory();
afterAll(() => directory.remove());
const images = new CrashImages(directory);

/** The disk can be mounted, and what is wrong with it is said as such. */
function mountFinding(device: OverlayDevice): string {
  try {
    captureState(openWritable(device, { report: () => {}, onAbort: () => {} }));
    return '';
  } catch (error) {
    const isSaid = error instanceof CorruptionError || error instanceof FsError;
    return isSaid ? '' : `mounting failed: ${error instanceof Error ? error.stack : String(error)}`;
  }
}

/** What e2fsck makes of it is sound. */
function repairFinding(image: Uint8Array, expected: LogicalState | null): string {
  const path = directory.file('crashed');
  writeFileSync(path, image);
  e2fsck(path, '-fy');
  const complaints = e2fsckComplaints(path);
  if (complaints !== '' || expected === null) return complaints;
  const repaired = captureState(openBytes(new Uint8Array(readFileSync(path))));
  // The repair gives new names to what has lost its own, and makes a place for that.
  for (const name of repaired.keys()) if (!expected.has(name)) return `${name} is new`;
  return attributeDifference(expected, repaired);
}

describe('without a journal', () => {
  test.each(UNJOURNALLED.map((kind) => [kind.name, kind] as const))(
    'every disk after a power cut can be mounted and repaired: %s',
    (_name, kind) => {
      const findings: string[] = [];
      let states = 0;
      for (let number = 0; number < 24; number++) {
        const random = new Prng(number);
        const session = new WorkloadSession(images.prepared(kind), random);
        session.run(randomSteps(random, 20, session.fs.blockSize));
        const { device } = session;
        for (let count = 0; count < 20; count++) {
          const upTo = random.below(device.events.length + 1);
          const seed = random.u32();
          const choose = (event: number, sector: number): boolean => (Math.imul(seed ^ event, sector | 1) & 64) === 0;
          states++;
          const finding = mountFinding(device.crashDevice(upTo, choose));
          const repair = count === 0 ? repairFinding(device.crashDevice(upTo, choose).toBytes(), null) : '';
          if (finding !== '' || repair !== '') findings.push(`${number}, event ${upTo}: ${finding} ${repair}`);
        }
      }
      expect(findings).toEqual([]);
      expect(states).toBe(480);
    },
  );

  test.each(UNJOURNALLED.map((kind) => [kind.name, kind] as const))(
    'what was synced is there when nothing was begun since: %s',
    (_name, kind) => {
      for (let number = 0; number < 12; number++) {
        const random = new Prng(100 + number);
        const session = new WorkloadSession(images.prepared(kind), random);
        session.run(randomSteps(random, 20, session.fs.blockSize));
        session.syncAndWait();
        session.device.settle();
        const { events } = session.device;
        expect(session.device.volatileEvents(events.length)).toEqual([]);
        const image = session.device.crashDevice(events.length, ALL_SECTORS).toBytes();
        expect(repairFinding(image, captureState(session.fs))).toBe('');
      }
    },
  );
});
