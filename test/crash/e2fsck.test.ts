import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { MemoryBlockDevice } from '../../service/ext4/block-device.ts';
import type { CrashState } from '../support/crash-explorer.ts';
import { CrashImages } from '../support/crash-images.ts';
import { runScenario } from '../support/crash-scenarios.ts';
import { ImageDirectory, openBytes } from '../support/ext4-image.ts';
import { attributeDifference, captureState, type LogicalState } from '../support/logical-state.ts';
import { Prng } from '../support/prng.ts';
import { e2fsckComplaints, openWritable } from '../support/writable-image.ts';

const directory = new ImageDirectory();
afterAll(() => directory.remove());
const images = new CrashImages(directory);
const path = directory.file('crashed');

/** What e2fsck may say when it recovers: the rest would be damage. */
const RECOVERY: readonly RegExp[] = [
  /^.*: recovering journal$/,
  /^.*: Clearing orphaned inode \d+ \(uid=\d+, gid=\d+, mode=0\d+, size=\d+\)$/,
  /^.*: Truncating orphaned inode \d+ \(uid=\d+, gid=\d+, mode=0\d+, size=\d+\)$/,
  // As with the kernel, which notes the feature for as long as it is mounted.
  /^.*: Feature orphan_present is set but orphan file is clean\.$/,
  // It says so of each block from which it has just cleared orphans.
  /^.*: Orphan file \(inode \d+\) block \d+ is not clean\.$/,
  /^CLEARED\.$/,
  /^.*: \d+\/\d+ files \(\d+\.\d% non-contiguous\), \d+\/\d+ blocks$/,
];

function e2fsck(options: string): { status: number | null; lines: string[] } {
  const PATH = `${process.env.PATH ?? ''}:/sbin:/usr/sbin`;
  // The clock of the file system under test is ahead of ours.
  const env = { ...process.env, PATH, E2FSCK_TIME: '1900000000' };
  const { status, stdout, stderr, error } = spawnSync('e2fsck', [options, path], { encoding: 'latin1', env });
  if (error !== undefined) throw error;
  return { status, lines: `${stdout}${stderr}`.split('\n').filter((line) => line !== '' && !/^e2fsck \d/.test(line)) };
}

/** Recovers and checks; what it says beyond that, '' when nothing. */
function judge(image: Uint8Array, recovered: LogicalState): string {
  writeFileSync(path, image);
  const { status, lines } = e2fsck('-fp');
  const strange = lines.filter((line) => !RECOVERY.some((allowed) => allowed.test(line)));
  if ((status !== 0 && status !== 1) || strange.length > 0) return `exit ${status}: ${lines.join(' | ')}`;
  const complaints = e2fsckComplaints(path);
  return complaints === ''
    ? difference(captureState(openBytes(new Uint8Array(readFileSync(path)))), recovered)
    : complaints;
}

function difference(theirs: LogicalState, ours: LogicalState): string {
  const attributes = attributeDifference(theirs, ours);
  if (attributes !== '') return `our recovery differs: ${attributes}`;
  for (const [name, { data }] of theirs) {
    if (Buffer.compare(data, ours.get(name)?.data ?? data) !== 0) return `our recovery of ${name} has other data`;
  }
  return '';
}

/** e2fsck 1.47 takes no commit block of which only the first sector was written: it looks at what we made of it. */
function judgeMounted(image: Uint8Array): string {
  const fs = openWritable(new MemoryBlockDevice(image));
  if (fs.close() !== 0) return 'closing failed';
  writeFileSync(path, image);
  return e2fsckComplaints(path);
}

/** Runs scenarios with about a dozen of their states judged each. */
function explore(form: string, first: number, count: number, oneIn: number): { judged: number; findings: string[] } {
  const findings: string[] = [];
  let judged = 0;
  for (let number = first; number < first + count; number++) {
    const random = new Prng(number);
    const name = `${form}:${number}`;
    const onState = ({ event, choice, inFlight, image, recovered }: CrashState): void => {
      if (!random.oneIn(oneIn)) return;
      judged++;
      const finding = inFlight ? judgeMounted(image()) : judge(image(), recovered);
      if (finding !== '') findings.push(`${name}, event ${event}, ${choice}: ${finding}`);
    };
    const { violations } = runScenario(images, { name, budget: 60 }, { onState });
    for (const { event, choice, finding } of violations) findings.push(`${name}, ${event}, ${choice}: ${finding}`);
  }
  return { judged, findings: findings.slice(0, 5) };
}

const PARTS = [0, 1, 2, 3];

describe('e2fsck recovers what a power cut has left', () => {
  let total = 0;

  test.each(PARTS)('as we do, and finds nothing else to do: long workloads, part %i', (part) => {
    const { judged, findings } = explore('random', 1000 + part * 15, 15, 10);
    expect(findings).toEqual([]);
    total += judged;
  });

  test.each(PARTS)('as we do, and finds nothing else to do: crashes during recovery, part %i', (part) => {
    const { judged, findings } = explore('chain', 1000 + part * 15, 15, 10);
    expect(findings).toEqual([]);
    total += judged;
  });

  test('in enough states', () => {
    expect(total).toBeGreaterThan(500);
  });
});
