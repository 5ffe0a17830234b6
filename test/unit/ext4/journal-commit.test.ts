import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { atomically } from '../../../service/ext4/journal/atomically.ts';
import { JournalChecksumVersion } from '../../../service/ext4/journal/journal-superblock-image.ts';
import type { JournalFile } from '../../../service/ext4/journal/recovery.ts';
import { dumpe2fs, e2fsck } from '../../support/e2fsprogs.ts';
import { ImageDirectory, imageBytes } from '../../support/ext4-image.ts';
import { compareWithReplay, journalFileOf } from '../../support/journal-replay.ts';
import { contentOf, JournalRig, type RigOptions } from '../../support/journal-rig.ts';

const directory = new ImageDirectory();
afterAll(() => directory.remove());

interface Base {
  readonly bytes: Uint8Array;
  readonly file: JournalFile;
  readonly unused: number;
}

/** Blocks from `unused` on are free, and the image has some hundred of them. */
function makeBase(sizeBytes: number, args: readonly string[], unused: number): Base {
  const image = directory.make(sizeBytes, args);
  return { bytes: imageBytes(image), file: journalFileOf(image), unused };
}

const rigOn = (base: Base, options: RigOptions = {}): JournalRig =>
  new JournalRig(base.bytes.slice(), base.file, options);

let plain: Base;
let number = 0;

beforeAll(() => {
  plain = makeBase(16 * 2 ** 20, ['-b', '1024', '-J', 'size=1', '-O', '^metadata_csum,^64bit'], 12_000);
});

/** Writes the content to a file; e2fsck must replay it to what our own recovery says. */
function judge(bytes: Uint8Array): ReturnType<typeof compareWithReplay> {
  const image = directory.file(`judged${number++}`);
  writeFileSync(image, bytes);
  const comparison = compareWithReplay(image);
  expect(comparison.differing).toEqual([]);
  e2fsck(`${image}.replayed`, '-fn');
  return comparison;
}

describe('a commit', () => {
  it('makes the running transaction durable before it answers, and the next one may be open meanwhile', () => {
    const rig = rigOn(plain);
    rig.change(new Map([[plain.unused, 1]]));
    const first = rig.commit();
    rig.change(new Map([[plain.unused, 2]]));
    const second = rig.commit();
    expect([first.errno, second.errno]).toEqual([-1, -1]);
    expect(rig.device.pendingPrograms.length).toBe(1);
    rig.device.wait(rig.device.pendingPrograms[0]);
    expect([first.errno, second.errno]).toEqual([0, -1]);
    rig.device.settle();
    expect(second.errno).toBe(0);
    const { recovered } = judge(rig.device.content);
    const block = new Uint8Array(1024);
    expect(recovered.readNewest(plain.unused, block)).toBe(true);
    expect(block).toEqual(contentOf(1024, 2));
  });

  it('flushes the device when nothing has changed', () => {
    const rig = rigOn(plain);
    const answer = rig.commit();
    rig.device.settle();
    expect(answer.errno).toBe(0);
    expect(rig.device.events).toEqual([{ kind: 'flush' }]);
  });

  it('flushes once between the log and its commit block, which is durable', () => {
    const rig = rigOn(plain);
    rig.change(new Map([[plain.unused, 1]]));
    rig.commit();
    rig.device.settle();
    const kinds = rig.device.events.map((event) => (event.kind === 'write' ? event.durable : event.kind));
    expect(kinds).toEqual([false, false, 'flush', true]);
  });

  it('is shared by all that ask while another one is under way', () => {
    const rig = rigOn(plain);
    rig.change(new Map([[plain.unused, 1]]));
    rig.commit();
    rig.change(new Map([[plain.unused + 1, 1]]));
    const answers = [rig.commit(), rig.commit(), rig.commit()];
    rig.device.settle();
    expect(answers.map((answer) => answer.errno)).toEqual([0, 0, 0]);
    expect(rig.device.events.filter((event) => event.kind === 'flush').length).toBe(2);
  });

  it('takes the content of its own time along', () => {
    const rig = rigOn(plain);
    rig.change(new Map([[plain.unused, 1]]));
    rig.commit();
    rig.change(new Map([[plain.unused, 2]]));
    rig.device.settle();
    const block = new Uint8Array(1024);
    judge(rig.device.content).recovered.readNewest(plain.unused, block);
    expect(block).toEqual(contentOf(1024, 1));
  });

  it('is refused in the middle of a handle', () => {
    const rig = rigOn(plain);
    atomically(rig.handle, () => expect(() => rig.commit()).toThrow('handle'));
  });
});

describe('closing', () => {
  it('brings everything home and leaves an empty journal', () => {
    const rig = rigOn(plain);
    for (let value = 1; value < 200; value++) rig.change(new Map([[plain.unused + (value % 50), value]]));
    expect(rig.journal.close()).toBe(0);
    const image = directory.file('closed');
    writeFileSync(image, rig.device.content);
    expect(dumpe2fs(image).get('Journal start')).toBe('0');
    for (let value = 150; value < 200; value++) {
      const at = (plain.unused + (value % 50)) * 1024;
      expect(rig.device.content.subarray(at, at + 1024)).toEqual(contentOf(1024, value));
    }
    expect(() => rig.handle.begin()).toThrow('closed');
  });
});

const versions = Object.entries(JournalChecksumVersion);
const cases = versions.flatMap(([name, checksumVersion]) =>
  [false, true].map((is64bit) => ({ name, checksumVersion, is64bit })),
);

describe.each(cases)('a log with checksums $name, 64-bit numbers $is64bit', ({ checksumVersion, is64bit }) => {
  it('with many blocks, revokes and escapes is replayed by e2fsck as by us, and goes round the end', () => {
    const rig = rigOn(plain, { checksumVersion, is64bit });
    let value = 0;
    let replayed = 0;
    for (let round = 0; round < 40; round++) {
      for (let handle = 0; handle < 5; handle++) {
        const values = new Map<number, number>();
        for (let index = 0; index < 25; index++) {
          value++;
          values.set(plain.unused + ((value * 7) % 400), (value * 13) % 300);
        }
        rig.change(values);
      }
      if (round % 3 === 2) rig.free([plain.unused + ((round * 31) % 400), plain.unused + ((round * 17) % 400)]);
      rig.commit();
      rig.device.settle();
      if (round % 13 === 12) replayed += judge(rig.device.content).recovered.size;
    }
    expect(rig.aborts).toEqual([]);
    expect(replayed).toBeGreaterThan(100);
    expect(rig.journal.close()).toBe(0);
  });
});
