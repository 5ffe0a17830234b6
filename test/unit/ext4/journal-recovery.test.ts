import { describe, expect, test } from 'vitest';
import type { BlockDevice } from '../../../service/ext4/block-device.ts';
import { CorruptionError, DeviceError, IncompatibleError } from '../../../service/ext4/errors.ts';
import { checkCleanJournal, type RecoveredBlocks, recoverInMemory } from '../../../service/ext4/journal/recovery.ts';
import { referenceCrc32c } from '../../support/crc32c.ts';
import { blockOf, JournalBuilder, type JournalOptions } from '../../support/journal-builder.ts';

const REVOKE = 0x1;
const BIT64 = 0x2;
const ASYNC_COMMIT = 0x4;
const CSUM_V2 = 0x8;
const CSUM_V3 = 0x10;
const FAST_COMMIT = 0x20;
const CHECKSUM = 0x1;

const recover = (journal: JournalBuilder, device: BlockDevice = journal.device): RecoveredBlocks =>
  recoverInMemory(device, journal.blockSize, journal.homeBlocks + journal.lengthBlocks, referenceCrc32c, journal.file);

const block = (journal: JournalBuilder, blockNr: number, fill: number, magic = false) => ({
  blockNr,
  data: blockOf(journal.blockSize, fill, magic),
});

/** What a reader of the recovered file system sees in `blockNr`. */
function contentOf(journal: JournalBuilder, recovered: RecoveredBlocks, blockNr: number): Uint8Array {
  const into = new Uint8Array(journal.blockSize);
  if (!recovered.readNewest(blockNr, into)) journal.device.read(blockNr * journal.blockSize, into);
  return into;
}

const formats: readonly (readonly [string, JournalOptions])[] = [
  ['version 1 superblock', { version: 1, incompat: 0 }],
  ['no checksums', {}],
  ['64-bit tags', { incompat: REVOKE | BIT64 }],
  ['transaction checksum', { compat: CHECKSUM }],
  ['transaction checksum, 64-bit tags', { compat: CHECKSUM, incompat: REVOKE | BIT64 }],
  ['block checksums v2', { incompat: REVOKE | CSUM_V2 }],
  ['block checksums v2, 64-bit tags', { incompat: REVOKE | CSUM_V2 | BIT64 }],
  ['block checksums v3', { incompat: REVOKE | CSUM_V3 }],
  ['block checksums v3, 64-bit tags, 4 KiB blocks', { incompat: REVOKE | CSUM_V3 | BIT64, blockSize: 4096 }],
  ['fast-commit area', { incompat: REVOKE | FAST_COMMIT, lengthBlocks: 1280, fastCommitBlocks: 256 }],
];

describe.each(formats)('a journal with %s', (_name, options) => {
  test('yields the newest committed copy of each block and leaves other blocks alone', () => {
    const journal = new JournalBuilder(options);
    journal.transaction({ blocks: [block(journal, 10, 0x11), block(journal, 11, 0x12)] });
    journal.transaction({ blocks: [block(journal, 11, 0x22)] });
    const recovered = recover(journal);
    expect(recovered.size).toBe(2);
    expect(contentOf(journal, recovered, 10)).toEqual(blockOf(journal.blockSize, 0x11));
    expect(contentOf(journal, recovered, 11)).toEqual(blockOf(journal.blockSize, 0x22));
    expect(recovered.newestCopy(12)).toBe(-1);
    expect(contentOf(journal, recovered, 12)).toEqual(blockOf(journal.blockSize, 12));
  });

  test('restores the magic number at the beginning of an escaped block', () => {
    const journal = new JournalBuilder(options);
    journal.transaction({ blocks: [block(journal, 10, 0x11, true), block(journal, 11, 0x12)] });
    const recovered = recover(journal);
    expect(recovered.isEscaped(10)).toBe(true);
    expect(recovered.isEscaped(11)).toBe(false);
    expect(contentOf(journal, recovered, 10)).toEqual(blockOf(journal.blockSize, 0x11, true));
  });

  test('leaves out a transaction without its commit block', () => {
    const journal = new JournalBuilder(options);
    journal.transaction({ blocks: [block(journal, 10, 0x11)] });
    journal.beginTransaction();
    journal.descriptor([block(journal, 10, 0x22), block(journal, 11, 0x22)]);
    const recovered = recover(journal);
    expect(recovered.size).toBe(1);
    expect(contentOf(journal, recovered, 10)).toEqual(blockOf(journal.blockSize, 0x11));
  });

  test('drops copies of the revoking transaction and of earlier ones, but not of later ones', () => {
    const journal = new JournalBuilder(options);
    journal.transaction({ blocks: [block(journal, 10, 0x11), block(journal, 11, 0x11), block(journal, 12, 0x11)] });
    journal.transaction({ blocks: [block(journal, 11, 0x22)], revokes: [10, 11, 12] });
    journal.transaction({ blocks: [block(journal, 12, 0x33)] });
    const recovered = recover(journal);
    expect([...recovered.blockNumbers()]).toEqual([12]);
    expect(contentOf(journal, recovered, 12)).toEqual(blockOf(journal.blockSize, 0x33));
  });

  test('goes round at the end of the log, also between a descriptor and its blocks', () => {
    const endBlock = (options.lengthBlocks ?? 1024) - (options.fastCommitBlocks ?? 0);
    for (const distance of [1, 2, 3, 4, 5]) {
      const journal = new JournalBuilder({ ...options, startBlock: endBlock - distance });
      journal.transaction({ blocks: [block(journal, 10, 0x11), block(journal, 11, 0x12)] });
      journal.transaction({ blocks: [block(journal, 12, 0x22)] });
      const recovered = recover(journal);
      expect([...recovered.blockNumbers()].sort()).toEqual([10, 11, 12]);
      expect(contentOf(journal, recovered, 12)).toEqual(blockOf(journal.blockSize, 0x22));
    }
  });

  test('reads transactions of several descriptor blocks', () => {
    const journal = new JournalBuilder({ ...options, homeBlocks: 1000 });
    const blocks = Array.from({ length: journal.tagsPerDescriptor * 2 + 1 }, (_, index) =>
      block(journal, 10 + index, index & 0xff),
    );
    journal.transaction({ blocks });
    const recovered = recover(journal);
    expect(recovered.size).toBe(blocks.length);
    const differing = blocks.filter(
      ({ blockNr, data }) => Buffer.compare(contentOf(journal, recovered, blockNr), data) !== 0,
    );
    expect(differing).toHaveLength(0);
  });

  test('counts transactions across the wrap of the sequence number', () => {
    const journal = new JournalBuilder({ ...options, sequence: 0xffffffff });
    journal.transaction({ blocks: [block(journal, 10, 0x11), block(journal, 11, 0x11)] });
    journal.transaction({ blocks: [block(journal, 12, 0x22)], revokes: [10] });
    journal.transaction({ blocks: [block(journal, 10, 0x33)] });
    const recovered = recover(journal);
    expect([...recovered.blockNumbers()].sort()).toEqual([10, 11, 12]);
    expect(contentOf(journal, recovered, 10)).toEqual(blockOf(journal.blockSize, 0x33));
  });

  test('needs no recovery when the log has no start', () => {
    const journal = new JournalBuilder(options);
    journal.transaction({ blocks: [block(journal, 10, 0x11)] });
    journal.view.setUint32(journal.at(0) + 0x1c, 0);
    if (((options.incompat ?? 0) & (CSUM_V2 | CSUM_V3)) !== 0) journal.sealSuperblock();
    expect(recover(journal).size).toBe(0);
  });
});

describe('checksums of the log', () => {
  test.each([
    ['v2', CSUM_V2],
    ['v3', CSUM_V3],
  ])('a journalled block that fails its %s checksum is corruption', (_name, feature) => {
    const journal = new JournalBuilder({ incompat: REVOKE | feature });
    const commitNr = journal.transaction({ blocks: [block(journal, 10, 0x11)] });
    journal.bytes[journal.at(commitNr - 1) + 500] ^= 1;
    expect(() => recover(journal)).toThrow(/transaction 100: checksum mismatch in the copy of block 10/);
  });

  test('the checksum of a revoked copy is not looked at', () => {
    const journal = new JournalBuilder({ incompat: REVOKE | CSUM_V3 });
    const commitNr = journal.transaction({ blocks: [block(journal, 10, 0x11)] });
    journal.bytes[journal.at(commitNr - 1) + 500] ^= 1;
    journal.transaction({ revokes: [10] });
    expect(recover(journal).size).toBe(0);
  });

  test.each([
    ['descriptor', 2, 900],
    ['commit', 0, 0x3a],
  ])('a committed transaction with a bad %s block is corruption', (_name, back, at) => {
    const journal = new JournalBuilder({ incompat: REVOKE | CSUM_V3 });
    const commitNr = journal.transaction({ blocks: [block(journal, 10, 0x11)] });
    journal.transaction({ blocks: [block(journal, 11, 0x11)] });
    journal.bytes[journal.at(commitNr - back) + at] ^= 1;
    expect(() => recover(journal)).toThrow(CorruptionError);
  });

  test.each([
    ['v2', CSUM_V2],
    ['v3', CSUM_V3],
  ])('a commit block (%s) of which only the first sector has been written counts', (_name, feature) => {
    const journal = new JournalBuilder({ incompat: REVOKE | feature });
    const commitNr = journal.transaction({ blocks: [block(journal, 10, 0x11)] });
    journal.bytes.fill(0xa5, journal.at(commitNr) + 512, journal.at(commitNr) + journal.blockSize);
    expect([...recover(journal).blockNumbers()]).toEqual([10]);
  });

  test('a committed transaction with a bad revoke block is corruption', () => {
    const journal = new JournalBuilder({ incompat: REVOKE | CSUM_V3 });
    const commitNr = journal.transaction({ revokes: [10] });
    journal.bytes[journal.at(commitNr - 1) + 900] ^= 1;
    expect(() => recover(journal)).toThrow(/descriptor or revoke block/);
  });

  test('a bad descriptor whose commit block is older than the one before is a leftover and ends the log', () => {
    const journal = new JournalBuilder({ incompat: REVOKE | CSUM_V3 });
    journal.transaction({ blocks: [block(journal, 10, 0x11)], commitSec: 2000 });
    const staleNr = journal.transaction({ blocks: [block(journal, 11, 0x22)], commitSec: 1000 });
    journal.bytes[journal.at(staleNr - 2) + 900] ^= 1;
    expect([...recover(journal).blockNumbers()]).toEqual([10]);
  });

  test('a bad commit block that is older than the transaction before ends the log', () => {
    const journal = new JournalBuilder({ incompat: REVOKE | CSUM_V3 });
    journal.transaction({ blocks: [block(journal, 10, 0x11)], commitSec: 2000 });
    const staleNr = journal.transaction({ blocks: [block(journal, 11, 0x22)], commitSec: 1000 });
    journal.bytes[journal.at(staleNr) + 0x3a] ^= 1;
    expect([...recover(journal).blockNumbers()]).toEqual([10]);
  });

  test('a bad descriptor without a commit block ends the log', () => {
    const journal = new JournalBuilder({ incompat: REVOKE | CSUM_V3 });
    journal.transaction({ blocks: [block(journal, 10, 0x11)] });
    journal.beginTransaction();
    const descriptorNr = journal.descriptor([block(journal, 11, 0x22)]);
    journal.bytes[journal.at(descriptorNr) + 900] ^= 1;
    expect([...recover(journal).blockNumbers()]).toEqual([10]);
  });

  test('a transaction checksum that does not cover the data on disk is corruption', () => {
    const journal = new JournalBuilder({ compat: CHECKSUM });
    const commitNr = journal.transaction({ blocks: [block(journal, 10, 0x11)] });
    journal.bytes[journal.at(commitNr - 1) + 500] ^= 1;
    expect(() => recover(journal)).toThrow(/transaction 100: checksum mismatch in a commit block/);
  });

  test('a commit block without any checksum is valid in a journal with transaction checksums', () => {
    const journal = new JournalBuilder({ compat: CHECKSUM });
    const commitNr = journal.transaction({ blocks: [block(journal, 10, 0x11)] });
    journal.bytes.fill(0, journal.at(commitNr) + 12, journal.at(commitNr) + 20);
    expect(recover(journal).size).toBe(1);
  });

  test.each([
    ['v1', CHECKSUM, REVOKE],
    ['v3', 0, REVOKE | CSUM_V3],
  ])(
    'an asynchronous commit that is torn (checksum %s) ends the log when it is the last one',
    (_name, compat, incompat) => {
      const journal = new JournalBuilder({ compat, incompat: incompat | ASYNC_COMMIT });
      journal.transaction({ blocks: [block(journal, 10, 0x11)] });
      const tornNr = journal.transaction({ blocks: [block(journal, 11, 0x22)] });
      journal.view.setUint32(journal.at(tornNr) + 16, 0xdeadbeef);
      expect([...recover(journal).blockNumbers()]).toEqual([10]);
    },
  );

  test.each([
    ['v1', CHECKSUM, REVOKE],
    ['v3', 0, REVOKE | CSUM_V3],
  ])(
    'an asynchronous commit that is torn (checksum %s) is corruption when a later one was committed',
    (_name, compat, incompat) => {
      const journal = new JournalBuilder({ compat, incompat: incompat | ASYNC_COMMIT });
      const tornNr = journal.transaction({ blocks: [block(journal, 10, 0x11)] });
      journal.transaction({ blocks: [block(journal, 11, 0x22)] });
      journal.view.setUint32(journal.at(tornNr) + 16, 0xdeadbeef);
      expect(() => recover(journal)).toThrow(/transaction 100/);
    },
  );
});

describe('damage that no checksum guards', () => {
  test('a logged block beyond the end of the device is corruption', () => {
    const journal = new JournalBuilder();
    journal.transaction({ blocks: [block(journal, 5_000_000, 0x11)] });
    expect(() => recover(journal)).toThrow(/writes block 5000000 of 1088/);
  });

  test('a logged 64-bit block number keeps its high half', () => {
    const journal = new JournalBuilder({ incompat: REVOKE | BIT64 });
    journal.transaction({ blocks: [block(journal, 2 ** 32 + 10, 0x11)] });
    expect(() => recover(journal)).toThrow(/writes block 4294967306/);
  });

  test('a revoke block that claims more bytes than it has is corruption', () => {
    const journal = new JournalBuilder();
    journal.beginTransaction();
    const revokeNr = journal.revoke([10]);
    journal.commit();
    journal.view.setUint32(journal.at(revokeNr) + 12, 1025);
    expect(() => recover(journal)).toThrow(/r_count is 1025/);
  });

  test('a log that bites its own tail is corruption', () => {
    const journal = new JournalBuilder();
    for (let nr = 1; nr < journal.lengthBlocks; nr++) journal.revoke([10]);
    expect(() => recover(journal)).toThrow(/the log has no end/);
  });

  test('an unknown block type ends the log', () => {
    const journal = new JournalBuilder();
    journal.transaction({ blocks: [block(journal, 10, 0x11)] });
    const nr = journal.transaction({ blocks: [block(journal, 11, 0x22)] });
    journal.view.setUint32(journal.at(nr - 2) + 4, 7);
    expect([...recover(journal).blockNumbers()]).toEqual([10]);
  });

  test('a device that fails is reported as such', () => {
    const journal = new JournalBuilder();
    journal.transaction({ blocks: [block(journal, 10, 0x11)] });
    const failing: BlockDevice = {
      sizeBytes: journal.bytes.length,
      read: (offsetBytes, into) => (offsetBytes === journal.at(1) ? 5 : journal.device.read(offsetBytes, into)),
      readAhead: () => {},
    };
    expect(() => recover(journal, failing)).toThrow(DeviceError);
  });
});

describe('the journal superblock', () => {
  const corruptions: readonly (readonly [string, number, number, RegExp])[] = [
    ['another magic number', 0x0, 0x12345678, /magic is 0x12345678/],
    ['another block type', 0x4, 2, /block type is 2/],
    ['another block size', 0xc, 2048, /block size is 2048, expected 1024/],
    ['a length beyond its file', 0x10, 1025, /s_maxlen is 1025/],
    ['too short a length', 0x10, 1000, /1000 blocks are left/],
    ['a first block of 0', 0x14, 0, /s_first is 0/],
    ['a first block beyond the end', 0x14, 1024, /s_first is 1024/],
    ['a start beyond the end', 0x1c, 1024, /s_start is 1024/],
    ['two checksum versions', 0x28, CSUM_V2 | CSUM_V3, /more than one checksum version/],
  ];
  test.each(corruptions)('with %s is corruption', (_name, offset, value, message) => {
    const journal = new JournalBuilder();
    journal.view.setUint32(journal.at(0) + offset, value);
    expect(() => recover(journal)).toThrow(CorruptionError);
    expect(() => recover(journal)).toThrow(message);
  });

  test('with a start before the first block is corruption', () => {
    const journal = new JournalBuilder({ firstBlock: 5 });
    journal.view.setUint32(journal.at(0) + 0x1c, 4);
    expect(() => recover(journal)).toThrow(/s_start is 4, expected 0 or 5 to 1023/);
  });

  test.each([
    ['incompatible', 0x28, 0x40],
    ['read-only-compatible', 0x2c, 0x1],
  ])('with an unknown %s feature is refused by its number', (name, offset, value) => {
    const journal = new JournalBuilder();
    journal.view.setUint32(journal.at(0) + offset, value);
    expect(() => recover(journal)).toThrow(IncompatibleError);
    expect(() => recover(journal)).toThrow(new RegExp(`${name} feature\\(s\\) 0x${value.toString(16)}`));
  });

  test('with a bad checksum is corruption', () => {
    const journal = new JournalBuilder({ incompat: REVOKE | CSUM_V3 });
    journal.bytes[journal.at(0) + 0x80] ^= 1;
    expect(() => recover(journal)).toThrow(/checksum mismatch/);
  });

  test('with another checksum type is refused', () => {
    const journal = new JournalBuilder({ incompat: REVOKE | CSUM_V3 });
    journal.bytes[journal.at(0) + 0x50] = 1;
    journal.sealSuperblock();
    expect(() => recover(journal)).toThrow(/unsupported checksum type 1/);
  });

  test('outside the file system is corruption', () => {
    const journal = new JournalBuilder();
    const file = { lengthBlocks: 1024, physicalBlock: (nr: number) => 5000 + nr };
    expect(() => recoverInMemory(journal.device, 1024, 1088, referenceCrc32c, file)).toThrow(/lies at block 5000/);
  });
});

describe('a journal that needs no recovery', () => {
  const check = (journal: JournalBuilder): void =>
    checkCleanJournal(journal.device, 1024, journal.homeBlocks + journal.lengthBlocks, referenceCrc32c, journal.file);

  test('passes the check when the log has no start', () => {
    const journal = new JournalBuilder();
    journal.view.setUint32(journal.at(0) + 0x1c, 0);
    expect(() => check(journal)).not.toThrow();
  });

  test('is refused when the log has a start all the same', () => {
    expect(() => check(new JournalBuilder())).toThrow(/the log begins at block 1/);
  });

  test('is refused when its superblock is damaged', () => {
    const journal = new JournalBuilder();
    journal.view.setUint32(journal.at(0), 0);
    expect(() => check(journal)).toThrow(CorruptionError);
  });
});

describe('the fast-commit area', () => {
  const withArea = (): JournalBuilder =>
    new JournalBuilder({ incompat: REVOKE | FAST_COMMIT, lengthBlocks: 1280, fastCommitBlocks: 256 });
  const head = (sequence: number) => {
    const value = new Uint8Array(8);
    new DataView(value.buffer).setUint32(4, sequence, true);
    return { tag: 9, value };
  };
  const tail = (sequence: number) => {
    const value = new Uint8Array(8);
    new DataView(value.buffer).setUint32(0, sequence, true);
    return { tag: 8, value };
  };
  const unlink = { tag: 5, value: Uint8Array.of(2, 0, 0, 0, 12, 0, 0, 0, 0x61) };

  test('refuses recovery when it holds a fast commit for the next transaction', () => {
    const journal = withArea();
    journal.transaction({ blocks: [block(journal, 10, 0x11)] });
    journal.fastCommits([head(101), unlink, tail(101)]);
    expect(() => recover(journal)).toThrow(IncompatibleError);
    expect(() => recover(journal)).toThrow(/fast commits after transaction 100.*kernel driver or run e2fsck/);
  });

  test('refuses recovery when the records go on in a second block', () => {
    const journal = withArea();
    journal.transaction({ blocks: [block(journal, 10, 0x11)] });
    journal.fastCommits([head(101), unlink, { tag: 7, value: new Uint8Array(1024 - 12 - 13 - 4) }, unlink, tail(101)]);
    expect(() => recover(journal)).toThrow(IncompatibleError);
  });

  test('is ignored when its fast commits belong to an earlier transaction', () => {
    const journal = withArea();
    journal.transaction({ blocks: [block(journal, 10, 0x11)] });
    journal.fastCommits([head(100), unlink, tail(100)]);
    expect(recover(journal).size).toBe(1);
  });

  test('is ignored when the first fast commit has no valid tail', () => {
    const journal = withArea();
    journal.transaction({ blocks: [block(journal, 10, 0x11)] });
    journal.fastCommits([head(101), unlink, tail(101)]);
    journal.bytes[journal.at(1025) + 20] ^= 1;
    expect(recover(journal).size).toBe(1);
  });

  test('is ignored when a record is longer than its block', () => {
    const journal = withArea();
    journal.transaction({ blocks: [block(journal, 10, 0x11)] });
    journal.fastCommits([head(101)]);
    journal.view.setUint16(journal.at(1025) + 12, 6, true);
    journal.view.setUint16(journal.at(1025) + 14, 0xffff, true);
    expect(recover(journal).size).toBe(1);
  });
});
