import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { crc32c } from '../../../native/crc32c.ts';
import { MemoryBlockDevice, type WritableBlockDevice } from '../../../service/ext4/block-device.ts';
import { type JournalFile, recoverInMemory } from '../../../service/ext4/journal/recovery.ts';
import { type ReplayReport, replayJournal } from '../../../service/ext4/journal/replay.ts';
import { Superblock } from '../../../service/ext4/layout/superblock.ts';
import { dumpe2fs, e2fsck } from '../../support/e2fsprogs.ts';
import { ImageDirectory, imageBytes, patchSuperblock } from '../../support/ext4-image.ts';
import { journalFileOf } from '../../support/journal-replay.ts';
import { JournalRig } from '../../support/journal-rig.ts';
import { RecordingDevice } from '../../support/recording-device.ts';

const directory = new ImageDirectory();
afterAll(() => directory.remove());

const BLOCK = 1024;
const UNUSED = 6000;
const SUPERBLOCK_NR = 1;
const V3 = 3;
const at = { state: 0x3a, incompat: 0x60, errorCount: 0x194, lastError: 0x1e0, mountCount: 0x34 };

let clean: Uint8Array;
let file: JournalFile;
/** An image whose journal holds blocks and a superblock that need replaying. */
let dirty: Uint8Array;

beforeAll(() => {
  const image = directory.make(8 * 2 ** 20, ['-b', String(BLOCK), '-J', 'size=1']);
  clean = imageBytes(image);
  file = journalFileOf(image);
  const rig = new JournalRig(clean.slice(), file, { checksumVersion: V3 });
  for (let value = 1; value < 30; value++) rig.change(new Map([[UNUSED + (value % 12), value * 11]]));
  rig.commit();
  rig.device.settle();
  rig.change(new Map([[UNUSED + 3, 77]]));
  rig.handle.begin();
  const superblock = rig.cache.get(SUPERBLOCK_NR);
  rig.handle.modify(superblock);
  patchSuperblockBlock(superblock.bytes, (view) => view.setUint16(at.mountCount, 99, true));
  rig.handle.end();
  rig.free([UNUSED + 5]);
  rig.commit();
  rig.device.settle();
  dirty = rig.device.content.slice();
});

function patchSuperblockBlock(bytes: Uint8Array, change: (view: DataView) => void): void {
  const padded = new Uint8Array(1024 + bytes.length);
  padded.set(bytes, 1024);
  bytes.set(patchSuperblock(padded, change).subarray(1024));
}

const superblockOf = (bytes: Uint8Array): Superblock => new Superblock(new DataView(bytes.buffer), 1024);

function replay(device: WritableBlockDevice, bytes: Uint8Array, clearNeedsRecovery = true): ReplayReport {
  const superblock = superblockOf(bytes);
  const superblockOffsetBytes = 1024;
  return replayJournal({ device, superblock, superblockOffsetBytes, crc32c, journal: file, clearNeedsRecovery });
}

/** What the image holds at home, the journal and the superblock left out. */
function homeBlocks(bytes: Uint8Array): Buffer {
  const copy = Buffer.from(bytes);
  for (let nr = 0; nr < file.lengthBlocks; nr++)
    copy.fill(0, file.physicalBlock(nr) * BLOCK, (file.physicalBlock(nr) + 1) * BLOCK);
  return copy.fill(0, 1024, 2048);
}

/** The image as our in-memory recovery shows it. */
function recoveredView(bytes: Uint8Array): Uint8Array {
  const seen = bytes.slice();
  const recovered = recoverInMemory(new MemoryBlockDevice(bytes), BLOCK, superblockOf(bytes).blocksCount, crc32c, file);
  for (const blockNr of recovered.blockNumbers()) {
    recovered.readNewest(blockNr, seen.subarray(blockNr * BLOCK, (blockNr + 1) * BLOCK));
  }
  return seen;
}

function check(bytes: Uint8Array): ReadonlyMap<string, string> {
  const image = directory.file('checked');
  writeFileSync(image, bytes);
  e2fsck(image, '-fn');
  return dumpe2fs(image);
}

describe('replaying a journal', () => {
  it('brings every block home that recovery in memory shows, and leaves the journal empty', () => {
    const bytes = dirty.slice();
    const { blocks, journalErrno } = replay(new MemoryBlockDevice(bytes), dirty);
    expect([blocks, journalErrno]).toEqual([12, 0]);
    expect(Buffer.compare(homeBlocks(bytes), homeBlocks(recoveredView(dirty)))).toBe(0);
    const fields = check(bytes);
    expect(fields.get('Journal start')).toBe('0');
    expect(fields.get('Mount count')).toBe('99');
    expect(fields.get('Filesystem features')).not.toContain('needs_recovery');
  });

  it('leaves needs_recovery to a mount that goes on writing', () => {
    const bytes = dirty.slice();
    replay(new MemoryBlockDevice(bytes), dirty, false);
    expect(superblockOf(bytes).incompat & 0x4).toBe(0x4);
    expect(replay(new MemoryBlockDevice(bytes), bytes)).toEqual({ blocks: 0, journalErrno: 0 });
    expect(superblockOf(bytes).incompat & 0x4).toBe(0);
    check(bytes);
  });

  it('does nothing to a clean journal', () => {
    const device = new RecordingDevice(clean);
    expect(replay(device, clean)).toEqual({ blocks: 0, journalErrno: 0 });
    expect(device.events).toEqual([]);
  });

  it('keeps the record of errors that was made outside the journal, and the error state', () => {
    const before = patchSuperblock(dirty.slice(), (view) => {
      view.setUint16(at.state, 3, true);
      view.setUint32(at.errorCount, 5, true);
      view.setUint32(at.lastError, 1234, true);
    });
    const bytes = before.slice();
    replay(new MemoryBlockDevice(bytes), before);
    const view = new DataView(bytes.buffer, 1024);
    expect(view.getUint16(at.state, true) & 2).toBe(2);
    expect(view.getUint32(at.errorCount, true)).toBe(5);
    expect(view.getUint32(at.lastError, true)).toBe(1234);
    expect(view.getUint16(at.mountCount, true)).toBe(99);
  });

  it('turns the error of an aborted journal into an error of the file system', () => {
    const rig = new JournalRig(clean.slice(), file, { checksumVersion: V3 });
    rig.change(new Map([[UNUSED, 1]]));
    rig.commit();
    rig.device.settle();
    rig.journal.abort(5, 'a test');
    rig.device.settle();
    const bytes = rig.device.content.slice();
    expect(replay(new MemoryBlockDevice(bytes), bytes)).toEqual({ blocks: 1, journalErrno: 5 });
    expect(new DataView(bytes.buffer, 1024).getUint16(at.state, true) & 2).toBe(2);
    expect(replay(new MemoryBlockDevice(bytes), bytes)).toEqual({ blocks: 0, journalErrno: 0 });
  });

  it('refuses a log that would overwrite the journal', () => {
    const rig = new JournalRig(clean.slice(), file, { checksumVersion: V3 });
    rig.change(new Map([[file.physicalBlock(500), 1]]));
    rig.commit();
    rig.device.settle();
    const device = new RecordingDevice(rig.device.content);
    expect(() => replay(device, rig.device.content)).toThrow('a block of its own');
    expect(device.events).toEqual([]);
  });

  it('can be cut off at any write and be done again', () => {
    const first = new RecordingDevice(dirty);
    replay(first, dirty);
    const expected = homeBlocks(first.content);
    let crashes = 0;
    for (let upTo = 0; upTo <= first.events.length; upTo++) {
      for (const parity of [0, 1, 2, 3]) {
        // All, none, or every other event of what was not flushed.
        const crashed = first.crashImage(upTo, (event) => parity === 2 || (parity !== 3 && event % 2 === parity));
        const again = crashed.slice();
        replay(new MemoryBlockDevice(again), crashed);
        expect(Buffer.compare(homeBlocks(again), expected)).toBe(0);
        expect(superblockOf(again).incompat & 0x4).toBe(0);
        crashes++;
      }
    }
    expect(crashes).toBeGreaterThan(60);
  });
});

describe.each([0, 1, 2, 3, 4, 5])('a device that fails, case %i', (which) => {
  it('ends the replay with an error, and a later one succeeds', () => {
    const device = new RecordingDevice(dirty);
    let writes = 0;
    device.fault = ({ kind }) => (kind !== 'read' && writes++ === which * 3 ? 5 : 0);
    expect(() => replay(device, dirty)).toThrow('failed with errno 5');
    device.fault = null;
    const now = device.content.slice();
    replay(device, now);
    expect(Buffer.compare(homeBlocks(device.content), homeBlocks(recoveredView(dirty)))).toBe(0);
  });
});
