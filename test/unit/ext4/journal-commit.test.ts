import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { crc32c } from '../../../native/crc32c.ts';
import { MemoryBlockDevice } from '../../../service/ext4/block-device.ts';
import { BlockRole } from '../../../service/ext4/buffer-cache.ts';
import { atomically } from '../../../service/ext4/journal/atomically.ts';
import { readJournalSuperblock } from '../../../service/ext4/journal/journal-superblock.ts';
import { JournalChecksumVersion } from '../../../service/ext4/journal/journal-superblock-image.ts';
import { type JournalFile, recoverInMemory } from '../../../service/ext4/journal/recovery.ts';
import { JournalIncompat } from '../../../service/ext4/layout/journal.ts';
import { Errno } from '../../../shared/errno.ts';
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

  it('answers everybody though changes go on from within the answers', () => {
    const rig = rigOn(plain);
    let sequences = 0;
    rig.handle.addParticipant({
      transactionCommitted() {
        if (sequences++ > 3) return;
        rig.change(new Map(Array.from({ length: 150 }, (_, index) => [plain.unused + index, sequences])));
        rig.change(new Map([[plain.unused, 100 + sequences]]));
      },
    });
    rig.change(new Map([[plain.unused, 1]]));
    const answers = [rig.commit(), rig.commit(), rig.commit()];
    rig.device.settle();
    expect(answers.map((answer) => answer.errno)).toEqual([0, 0, 0]);
    expect(rig.journal.close()).toBe(0);
    expect(rig.aborts).toEqual([]);
  });

  it('counts on after the highest transaction number', () => {
    const bytes = plain.bytes.slice();
    new DataView(bytes.buffer).setUint32(plain.file.physicalBlock(0) * 1024 + 0x18, 0xfffffffe);
    const rig = new JournalRig(bytes, plain.file, { checksumVersion: JournalChecksumVersion.V3 });
    for (let value = 1; value < 6; value++) {
      rig.change(new Map([[plain.unused, value]]));
      expect(rig.journal.commitNow()).toBe(0);
    }
    expect(replayed(rig, plain, plain.unused)).toEqual(contentOf(1024, 5));
    judge(rig.device.content);
  });

  it('is refused in the middle of a handle', () => {
    const rig = rigOn(plain);
    atomically(rig.handle, () => expect(() => rig.commit()).toThrow('handle'));
  });
});

/** The content of an unused block as a replay would leave it. */
function replayed(rig: JournalRig, base: Base, blockNr: number): Uint8Array {
  const { bytes, blockSize } = { bytes: rig.device.content.slice(), blockSize: rig.blockSize };
  const device = new MemoryBlockDevice(bytes);
  const recovered = recoverInMemory(device, blockSize, rig.superblock.blocksCount, crc32c, base.file);
  const into = new Uint8Array(blockSize);
  if (!recovered.readNewest(blockNr, into)) device.read(blockNr * blockSize, into);
  return into;
}

describe('a freed block', () => {
  it('is revoked, so that no replay writes over the data that it holds now', () => {
    const rig = rigOn(plain);
    rig.change(new Map([[plain.unused, 1]]));
    rig.commit();
    rig.device.settle();
    rig.free([plain.unused]);
    rig.commit();
    rig.device.settle();
    rig.device.write(plain.unused * 1024, contentOf(1024, 9));
    expect(replayed(rig, plain, plain.unused)).toEqual(contentOf(1024, 9));
    judge(rig.device.content);
    expect(rig.journal.close()).toBe(0);
    expect(rig.device.content.slice(plain.unused * 1024, (plain.unused + 1) * 1024)).toEqual(contentOf(1024, 9));
  });

  it('that comes into use again in the same transaction is not revoked', () => {
    const rig = rigOn(plain);
    rig.change(new Map([[plain.unused, 1]]));
    rig.free([plain.unused]);
    atomically(rig.handle, () => rig.handle.fresh(plain.unused).bytes.fill(7));
    rig.commit();
    rig.device.settle();
    expect(replayed(rig, plain, plain.unused)).toEqual(contentOf(1024, 7));
  });

  it('is not brought home while the transaction that freed it is open, nor later', () => {
    const rig = rigOn(plain);
    rig.change(new Map([[plain.unused, 1]]));
    rig.commit();
    rig.device.settle();
    rig.free([plain.unused]);
    rig.journal.checkpointSome();
    rig.device.settle();
    expect(replayed(rig, plain, plain.unused)).toEqual(contentOf(1024, 1));
    expect(rig.journal.close()).toBe(0);
    const writes = rig.device.events.filter(
      (event) => event.kind === 'write' && event.offsetBytes === plain.unused * 1024,
    );
    expect(writes).toEqual([]);
  });
});

describe('the journal superblock', () => {
  const superblockOf = (rig: JournalRig) =>
    readJournalSuperblock(rig.device, 1024, rig.superblock.blocksCount, crc32c, plain.file);

  it('gets its features with the first commit, and REVOKE with the first revoked block', () => {
    const rig = rigOn(plain, { checksumVersion: JournalChecksumVersion.V3, is64bit: true });
    expect(superblockOf(rig).incompat).toBe(0);
    rig.change(new Map([[plain.unused, 1]]));
    rig.commit();
    rig.device.settle();
    expect(superblockOf(rig).incompat).toBe(JournalIncompat.CSUM_V3 | JournalIncompat.BIT64);
    rig.free([plain.unused]);
    rig.commit();
    rig.device.settle();
    expect(superblockOf(rig).hasIncompat(JournalIncompat.REVOKE)).toBe(true);
  });

  it('says where the log begins before the first commit block is written, and moves on with checkpoints', () => {
    const rig = rigOn(plain);
    rig.change(new Map([[plain.unused, 1]]));
    rig.commit();
    while (rig.device.events.at(-1)?.kind !== 'flush') rig.device.step();
    const first = superblockOf(rig);
    expect(first.startBlock).toBeGreaterThan(0);
    rig.device.settle();
    rig.journal.checkpointSome();
    rig.device.settle();
    const second = superblockOf(rig);
    expect(second.sequence).toBe(first.sequence + 1);
    expect(second.startBlock).toBe(first.startBlock + 3);
  });
});

describe('a log that fills up', () => {
  it('lets handles in as long as checkpoints make room, and always holds a state that was there', () => {
    const rig = rigOn(plain);
    for (let round = 0; round < 300; round++) {
      const values = new Map<number, number>();
      // Every handle changes the same first blocks, which so are never home for long.
      for (let index = 0; index < 60; index++) values.set(plain.unused + index + (index > 20 ? round % 100 : 0), round);
      rig.change(values);
      if (round % 7 === 0) rig.device.step();
    }
    expect(rig.aborts).toEqual([]);
    expect(rig.journal.commitNow()).toBe(0);
    expect(replayed(rig, plain, plain.unused)).toEqual(contentOf(1024, 299));
    judge(rig.device.content);
  });

  it('gives the cache its blocks back when they are home', () => {
    const rig = rigOn(plain, { cacheBytes: 50 * 1024, heldBlocksLimit: 40 });
    for (let value = 1; value < 400; value++) rig.change(new Map([[plain.unused + value, value]]));
    expect(rig.journal.flush()).toBe(0);
    rig.cache.beginOperation();
    expect(rig.cache.sizeBlocks).toBeLessThanOrEqual(50);
    rig.change(new Map([[plain.unused, 3]]));
    expect(rig.journal.commitNow()).toBe(0);
  });

  it('and a handle that no log could hold fails alone', () => {
    const rig = rigOn(plain);
    const values = new Map<number, number>();
    for (let index = 0; index < 1200; index++) values.set(plain.unused + index, 1);
    expect(() => rig.change(values)).toThrow('blocks at once');
    rig.change(new Map([[plain.unused, 2]]));
    expect(rig.journal.commitNow()).toBe(0);
    expect(rig.aborts).toEqual([]);
    expect(replayed(rig, plain, plain.unused)).toEqual(contentOf(1024, 2));
  });
});

describe('a device that fails', () => {
  const isHome = (offsetBytes: number): boolean => offsetBytes >= plain.unused * 1024;

  it.each(['write', 'flush'] as const)('at a %s of a commit aborts the journal, durably if it still can', (failing) => {
    const rig = rigOn(plain);
    rig.change(new Map([[plain.unused, 1]]));
    rig.commit();
    rig.device.settle();
    rig.change(new Map([[plain.unused, 2]]));
    let failures = 0;
    rig.device.fault = ({ kind }) => (kind === failing && failures++ === 0 ? Errno.ENXIO : 0);
    const answers = [rig.commit(), rig.commit()];
    rig.device.settle();
    expect(answers.map(({ errno }) => errno)).toEqual([Errno.EIO, Errno.EIO]);
    expect(rig.aborts).toEqual([`${Errno.ENXIO} committing a transaction`]);
    expect(() => rig.change(new Map([[plain.unused, 3]]))).toThrow('aborted');
    expect(rig.commit().errno).toBe(Errno.EIO);
    expect(rig.journal.close()).toBe(Errno.EIO);
    const superblock = readJournalSuperblock(rig.device, 1024, rig.superblock.blocksCount, crc32c, plain.file);
    expect(superblock.errno | 0).toBe(-Errno.ENXIO);
    expect(superblock.startBlock).toBeGreaterThan(0);
    expect(replayed(rig, plain, plain.unused)).toEqual(contentOf(1024, 1));
    expect(rig.device.events.some((event) => event.kind === 'write' && isHome(event.offsetBytes))).toBe(false);
  });

  it.each(['home', 'flush', 'superblock'])(
    'in a checkpoint (%s) aborts it, and nothing committed is lost',
    (failing) => {
      const rig = rigOn(plain);
      rig.change(new Map([[plain.unused, 1]]));
      rig.commit();
      rig.device.settle();
      let failures = 0;
      rig.device.fault = ({ kind, offsetBytes }) => {
        const kinds = {
          home: kind === 'write' && isHome(offsetBytes),
          flush: kind === 'flush',
          superblock: kind === 'write',
        };
        const hit =
          failing === 'superblock'
            ? kinds.superblock && !isHome(offsetBytes)
            : failing === 'home'
              ? kinds.home
              : kinds.flush;
        return hit && failures++ === 0 ? Errno.EIO : 0;
      };
      rig.journal.checkpointSome();
      rig.device.settle();
      expect(rig.aborts).toEqual([`${Errno.EIO} writing blocks to their places`]);
      expect(replayed(rig, plain, plain.unused)).toEqual(contentOf(1024, 1));
      expect(() => rig.handle.begin()).toThrow('aborted');
    },
  );

  it('for ever leaves waiters with an error and no more', () => {
    const rig = rigOn(plain);
    rig.change(new Map([[plain.unused, 1]]));
    rig.device.fault = ({ kind }) => (kind === 'read' ? 0 : Errno.EIO);
    expect(rig.journal.commitNow()).toBe(Errno.EIO);
    expect(rig.journal.close()).toBe(Errno.EIO);
    expect(rig.device.events).toEqual([]);
  });
});

describe('without a log', () => {
  const isFlush = (event: { kind: string }): boolean => event.kind === 'flush';

  it('a commit writes what is pointed at, then names, then the superblock, with flushes between', () => {
    const rig = rigOn(plain, { withoutLog: true });
    const roles = [BlockRole.SUPERBLOCK, BlockRole.DIRECTORY_LEAF, BlockRole.PLAIN, BlockRole.BLOCK_BITMAP];
    atomically(rig.handle, () => {
      for (const [index, role] of roles.entries()) {
        rig.fill(plain.unused + index, index + 1);
        rig.cache.get(plain.unused + index).role = role;
      }
    });
    const answer = rig.commit();
    rig.change(new Map([[plain.unused + 2, 99]]));
    rig.device.settle();
    expect(answer.errno).toBe(0);
    const order = rig.device.events.map((event) =>
      event.kind === 'write' ? event.offsetBytes / 1024 - plain.unused : event.kind,
    );
    expect(order).toEqual(['flush', 2, 'flush', 1, 'flush', 0, 'flush']);
    expect(rig.device.content.slice((plain.unused + 2) * 1024, (plain.unused + 3) * 1024)).toEqual(contentOf(1024, 3));
    expect(rig.journal.close()).toBe(0);
    expect(rig.device.content.slice((plain.unused + 2) * 1024, (plain.unused + 3) * 1024)).toEqual(contentOf(1024, 99));
  });

  it('freed blocks are not written, and the cache can let go of the others', () => {
    const rig = rigOn(plain, { withoutLog: true });
    rig.change(
      new Map([
        [plain.unused, 1],
        [plain.unused + 1, 2],
      ]),
    );
    rig.free([plain.unused]);
    expect(rig.journal.commitNow()).toBe(0);
    expect(rig.device.events.filter((event) => !isFlush(event)).length).toBe(1);
    expect(rig.cache.has(plain.unused)).toBe(false);
    expect(rig.cache.get(plain.unused + 1).held).toBe(false);
  });

  it('a failing write ends all changes', () => {
    const rig = rigOn(plain, { withoutLog: true });
    rig.change(new Map([[plain.unused, 1]]));
    rig.device.fault = ({ kind }) => (kind === 'write' ? Errno.EIO : 0);
    expect(rig.journal.commitNow()).toBe(Errno.EIO);
    expect(() => rig.handle.begin()).toThrow('aborted');
  });
});

describe('shutting down', () => {
  it('ends all changes, and is no error of the file system', () => {
    const rig = rigOn(plain);
    rig.change(new Map([[plain.unused, 1]]));
    rig.journal.abort(Errno.ESHUTDOWN, 'a test');
    rig.device.settle();
    expect(rig.device.events).toEqual([]);
    expect(() => rig.handle.begin()).toThrow('aborted');
    expect(rig.journal.close()).toBe(Errno.EIO);
  });
});

describe('without barriers', () => {
  const order = (rig: JournalRig): (string | boolean)[] =>
    rig.device.events.map((event) => (event.kind === 'write' ? event.durable : event.kind));

  it('data gets from the page cache to the device before the commit block, which is not durable by itself', () => {
    const rig = rigOn(plain, { barrier: false });
    rig.change(new Map([[plain.unused, 1]]));
    expect(rig.journal.commitNow()).toBe(0);
    expect(order(rig)).toEqual([false, false, 'flush', false]);
  });

  it('neither does a commit without changes leave data in the page cache', () => {
    const rig = rigOn(plain, { barrier: false });
    expect(rig.journal.commitNow()).toBe(0);
    expect(order(rig)).toEqual(['flush']);
  });

  it('a commit without a log is one sequence of writes', () => {
    const rig = rigOn(plain, { barrier: false, withoutLog: true });
    rig.change(new Map([[plain.unused, 1]]));
    expect(rig.journal.commitNow()).toBe(0);
    expect(order(rig)).toEqual(['flush', false]);
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
