import { closeSync, constants, copyFileSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { crc32c } from '../../native/crc32c.ts';
import { alignedBuffer, NativeWritableBlockDevice } from '../../native/writable-block-device.ts';
import { MemoryBlockDevice } from '../../service/ext4/block-device.ts';
import { BufferCache } from '../../service/ext4/buffer-cache.ts';
import { atomically } from '../../service/ext4/journal/atomically.ts';
import { Handle } from '../../service/ext4/journal/handle.ts';
import { Journal } from '../../service/ext4/journal/journal.ts';
import { JournalChecksumVersion } from '../../service/ext4/journal/journal-superblock-image.ts';
import { recoverInMemory } from '../../service/ext4/journal/recovery.ts';
import { replayJournal } from '../../service/ext4/journal/replay.ts';
import { Superblock } from '../../service/ext4/layout/superblock.ts';
import { e2fsck } from '../support/e2fsprogs.ts';
import { journalFileOf } from '../support/journal-replay.ts';
import { contentOf, JournalRig, setNeedsRecovery } from '../support/journal-rig.ts';
import { kernelMount, makeImage } from '../support/kernel-image.ts';
import { run, TestRoom } from '../support/test-room.ts';

/** The kernel replays logs that our journal has left behind, and our replay those of the kernel. */
const room = new TestRoom('journal-exchange');
afterAll(() => room.clear());

const MIB = 2 ** 20;
/** Blocks at the end of the image, which nothing uses, stand for metadata. */
const PLAY_BLOCKS = 400;

interface Case {
  readonly name: string;
  readonly mkfs: readonly string[];
  readonly checksumVersion: number;
}

const { NONE, V1, V2, V3 } = JournalChecksumVersion;
const cases: readonly Case[] = [
  { name: '1 KiB blocks, v3, 64-bit', mkfs: ['-b', '1024', '-J', 'size=1'], checksumVersion: V3 },
  { name: '4 KiB blocks, v3, 64-bit', mkfs: ['-b', '4096', '-J', 'size=4'], checksumVersion: V3 },
  { name: '2 KiB blocks, v3, 32-bit', mkfs: ['-b', '2048', '-J', 'size=2', '-O', '^64bit'], checksumVersion: V3 },
  { name: 'v2', mkfs: ['-b', '1024', '-J', 'size=1'], checksumVersion: V2 },
  {
    name: 'v1, 32-bit',
    mkfs: ['-b', '1024', '-J', 'size=1', '-O', '^64bit,^metadata_csum'],
    checksumVersion: V1,
  },
  { name: 'none, 64-bit', mkfs: ['-b', '1024', '-J', 'size=1', '-O', '^metadata_csum'], checksumVersion: NONE },
  {
    name: 'none, 32-bit',
    mkfs: ['-b', '4096', '-J', 'size=4', '-O', '^64bit,^metadata_csum'],
    checksumVersion: NONE,
  },
  {
    name: 'v3 and an area for fast commits',
    mkfs: ['-b', '1024', '-J', 'size=2', '-O', 'fast_commit'],
    checksumVersion: V3,
  },
];

const superblockOf = (bytes: Uint8Array): Superblock =>
  new Superblock(new DataView(bytes.buffer, bytes.byteOffset), 1024);

/** Some transactions with revokes and escaped blocks, more than fit behind the log's beginning. */
function work(rig: JournalRig, first: number, rounds: number, seed: number): void {
  for (let round = 0; round < rounds; round++) {
    const values = new Map<number, number>();
    for (let index = 0; index < 70; index++) {
      const value = round * 70 + index + seed;
      values.set(first + ((value * 7) % PLAY_BLOCKS), (value * 13) % 300);
    }
    rig.change(values);
    if (round % 4 === 2) rig.free([first + ((round * 31) % PLAY_BLOCKS), first + ((round * 17) % PLAY_BLOCKS)]);
    rig.commit();
    while (rig.device.step());
  }
}

function imageView(bytes: Uint8Array, image: string): Uint8Array {
  const { blockSizeBytes, blocksCount } = superblockOf(bytes);
  const device = new MemoryBlockDevice(bytes);
  const recovered = recoverInMemory(device, blockSizeBytes, blocksCount, crc32c, journalFileOf(image));
  const seen = bytes.slice();
  for (const blockNr of recovered.blockNumbers()) {
    recovered.readNewest(blockNr, seen.subarray(blockNr * blockSizeBytes, (blockNr + 1) * blockSizeBytes));
  }
  return seen;
}

describe.each(cases)('a log of ours: $name', ({ mkfs, checksumVersion }) => {
  test('is replayed by the kernel as by us, and the journal passes to and fro', () => {
    const image = makeImage(room, `ours-${mkfs.join('')}-${checksumVersion}`, { sizeBytes: 32 * MIB, mkfs });
    const file = journalFileOf(image);
    let replayedBlocks = 0;
    // The log's end lies at different places of the journal from turn to turn.
    for (const rounds of [3, 16, 9]) {
      const bytes = new Uint8Array(readFileSync(image));
      const { blockSizeBytes, blocksCount } = superblockOf(bytes);
      const first = blocksCount - PLAY_BLOCKS;
      const rig = new JournalRig(bytes, file, { checksumVersion, heldBlocksLimit: 10_000 });
      work(rig, first, rounds, rounds * 1000);
      expect(rig.aborts).toEqual([]);
      writeFileSync(image, rig.device.content);
      const expected = imageView(new Uint8Array(readFileSync(image)), image).subarray(first * blockSizeBytes);
      const home = rig.device.content.subarray(first * blockSizeBytes);
      for (let at = 0; at < home.length; at += blockSizeBytes) {
        const end = at + blockSizeBytes;
        if (Buffer.compare(home.subarray(at, end), expected.subarray(at, end)) !== 0) replayedBlocks++;
      }
      run('umount', [kernelMount(room, image, 'rw')]);
      const after = new Uint8Array(readFileSync(image));
      expect(Buffer.compare(after.subarray(first * blockSizeBytes), expected)).toBe(0);
      e2fsck(image, '-fn');
    }
    expect(replayedBlocks).toBeGreaterThan(100);
    rmSync(image);
  });
});

describe.each(cases.filter(({ checksumVersion }) => checksumVersion === V3 || checksumVersion === NONE))(
  'a log of the kernel: $name',
  ({ mkfs }) => {
    test('is replayed to the device as by e2fsck, and our journal goes on behind it', () => {
      const image = makeImage(room, `theirs-${mkfs.join('')}`, { sizeBytes: 32 * MIB, mkfs });
      const root = kernelMount(room, image, 'commit=1000');
      for (let index = 0; index < 60; index++) {
        mkdirSync(join(root, `d${index}`));
        writeFileSync(join(root, `d${index}`, 'file'), `content ${index}`);
        if (index % 3 === 0) rmSync(join(root, `d${index / 3}`), { recursive: true, force: true });
        if (index % 20 === 19) run('sync', ['-f', root]);
      }
      const dirty = `${image}.dirty`;
      copyFileSync(image, dirty);
      run('umount', [root]);
      const file = journalFileOf(dirty);
      const bytes = new Uint8Array(readFileSync(dirty));
      const device = new MemoryBlockDevice(bytes);
      const superblock = superblockOf(bytes);
      const report = replayJournal({
        device,
        superblock,
        superblockOffsetBytes: 1024,
        crc32c,
        journal: file,
        clearNeedsRecovery: true,
      });
      expect(report.blocks).toBeGreaterThan(5);
      const replayed = `${image}.replayed`;
      writeFileSync(replayed, bytes);
      e2fsck(dirty, '-y', '-E', 'journal_only');
      const theirs = new Uint8Array(readFileSync(dirty));
      const journalBlocks = new Set(Array.from({ length: file.lengthBlocks }, (_, nr) => file.physicalBlock(nr)));
      const { blockSizeBytes } = superblock;
      const differing: number[] = [];
      for (let blockNr = 0; blockNr < bytes.length / blockSizeBytes; blockNr++) {
        const start = blockNr * blockSizeBytes;
        const end = start + blockSizeBytes;
        // Each superblock records when it was written, by whom.
        const isSuperblock = start <= 1024 && end > 1024;
        if (isSuperblock || journalBlocks.has(blockNr)) continue;
        if (Buffer.compare(bytes.subarray(start, end), theirs.subarray(start, end)) !== 0) differing.push(blockNr);
      }
      expect(differing).toEqual([]);
      e2fsck(replayed, '-fy');
      e2fsck(replayed, '-fn');
      setNeedsRecovery(bytes);
      const rig = new JournalRig(bytes, file, { checksumVersion: NONE });
      const first = superblock.blocksCount - PLAY_BLOCKS;
      work(rig, first, 3, 5);
      writeFileSync(replayed, rig.device.content);
      const expected = imageView(rig.device.content, replayed).subarray(first * blockSizeBytes);
      run('umount', [kernelMount(room, replayed, 'rw')]);
      const after = new Uint8Array(readFileSync(replayed));
      expect(Buffer.compare(after.subarray(first * blockSizeBytes), expected)).toBe(0);
    });
  },
);

describe.each([1024, 4096])('a journal on a real device with blocks of %i bytes', (blockSize) => {
  test('commits in threads while changes go on, and the kernel replays what was left behind', async () => {
    const journalMib = blockSize / 1024;
    const recipe = { sizeBytes: 32 * MIB, mkfs: ['-b', String(blockSize), '-J', `size=${journalMib}`] };
    const image = makeImage(room, `threads-${blockSize}`, recipe);
    const bytes = new Uint8Array(readFileSync(image));
    setNeedsRecovery(bytes);
    writeFileSync(image, bytes);
    const file = journalFileOf(image);
    const { blocksCount } = superblockOf(bytes);
    const first = blocksCount - PLAY_BLOCKS;
    const directFd = openSync(image, constants.O_RDWR | constants.O_DIRECT);
    const device = new NativeWritableBlockDevice(openSync(image, constants.O_RDWR), 0, directFd);
    closeSync(directFd);
    const cache = new BufferCache(device, blockSize, 2 ** 22);
    const handle = new Handle(cache);
    const aborts: string[] = [];
    const journal = Journal.withLog(
      {
        device,
        cache,
        handle,
        seal: () => {},
        allocate: alignedBuffer,
        barrier: true,
        heldBlocksLimit: 300,
        onAbort: (errno, during) => aborts.push(`${errno} ${during}`),
      },
      { file, fsBlocksCount: blocksCount, crc32c, is64bit: true, checksumVersion: V3, now: { sec: 1, nsec: 1 } },
    );
    const committed = (): Promise<number> => new Promise((done) => journal.commit(done));
    const change = (value: number): void => {
      atomically(handle, () => {
        for (let index = 0; index < 50; index++) {
          const block = cache.get(first + ((value * 17 + index) % PLAY_BLOCKS));
          handle.modify(block);
          block.bytes.set(contentOf(blockSize, value % 300));
        }
      });
      cache.beginOperation();
    };
    for (let value = 0; value < 120; value++) {
      change(value);
      const answers = [committed(), committed()];
      change(value + 1000);
      if (value % 3 === 0) expect(await Promise.all(answers)).toEqual([0, 0]);
    }
    expect(await committed()).toBe(0);
    expect(aborts).toEqual([]);
    const leftBehind = `${image}.left`;
    copyFileSync(image, leftBehind);
    expect(journal.close()).toBe(0);
    device.close();
    run('umount', [kernelMount(room, leftBehind, 'rw')]);
    e2fsck(leftBehind, '-fn');
    const home = new Uint8Array(readFileSync(image)).subarray(first * blockSize);
    const replayed = new Uint8Array(readFileSync(leftBehind)).subarray(first * blockSize);
    expect(Buffer.compare(home, replayed)).toBe(0);
    expect(home.subarray(((1119 * 17) % PLAY_BLOCKS) * blockSize).subarray(0, blockSize)).toEqual(
      contentOf(blockSize, 1119 % 300),
    );
  });
});
