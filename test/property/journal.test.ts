import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { BlockDevice } from '../../service/ext4/block-device.ts';
import { CorruptionError, DeviceError, IncompatibleError } from '../../service/ext4/errors.ts';
import { type RecoveredBlocks, recoverInMemory } from '../../service/ext4/journal/recovery.ts';
import { referenceCrc32c } from '../support/crc32c.ts';
import { blockOf, JournalBuilder, type JournalOptions, type TransactionPlan } from '../support/journal-builder.ts';

const HOME_BLOCKS = 48;
const END_BLOCK = 1024;

const formats: readonly JournalOptions[] = [
  { version: 1, incompat: 0 },
  { incompat: 0x1 },
  { incompat: 0x3 },
  { compat: 0x1, incompat: 0x1 },
  { incompat: 0x9 },
  { incompat: 0xb },
  { incompat: 0x11 },
  { incompat: 0x13 },
  { incompat: 0x17 },
];

const blockNr = fc.integer({ min: 2, max: HOME_BLOCKS - 1 });
const loggedBlock = fc
  .record({ blockNr, fill: fc.integer({ min: 0, max: 255 }), magic: fc.boolean() })
  .map((block) => ({ blockNr: block.blockNr, data: blockOf(1024, block.fill, block.magic) }));
/** Blocks are unique within a transaction, as one transaction logs a block once. */
const transaction: fc.Arbitrary<TransactionPlan> = fc.record({
  blocks: fc.uniqueArray(loggedBlock, { maxLength: 12, selector: (block) => block.blockNr }),
  revokes: fc.uniqueArray(blockNr, { maxLength: 6 }),
});

const journalPlan = fc.record({
  format: fc.constantFrom(...formats),
  startBlock: fc.oneof(fc.constant(1), fc.integer({ min: END_BLOCK - 60, max: END_BLOCK - 1 })),
  sequence: fc.oneof(fc.integer({ min: 1, max: 1000 }), fc.integer({ min: 0xfffffff0, max: 0xffffffff })),
  transactions: fc.array(transaction, { maxLength: 10 }),
  /** A last transaction that has no commit block. */
  unfinished: fc.option(fc.array(loggedBlock, { minLength: 1, maxLength: 5 }), { nil: undefined }),
});

type JournalPlan = typeof journalPlan extends fc.Arbitrary<infer Plan> ? Plan : never;

function build(plan: JournalPlan): JournalBuilder {
  const journal = new JournalBuilder({
    ...plan.format,
    homeBlocks: HOME_BLOCKS,
    startBlock: plan.startBlock,
    sequence: plan.sequence,
  });
  for (const each of plan.transactions) journal.transaction(each);
  if (plan.unfinished !== undefined) {
    journal.beginTransaction();
    journal.descriptor(plan.unfinished);
  }
  return journal;
}

/** What a replay leaves: later copies win, and a revoke wipes out what its own and earlier transactions logged. */
function model(plan: JournalPlan): Map<number, Uint8Array> {
  const replayed = new Map<number, Uint8Array>();
  for (const { blocks = [], revokes = [] } of plan.transactions) {
    for (const { blockNr, data } of blocks) replayed.set(blockNr, data);
    for (const revoked of revokes) replayed.delete(revoked);
  }
  return replayed;
}

const recover = (journal: JournalBuilder, device: BlockDevice): RecoveredBlocks =>
  recoverInMemory(device, 1024, HOME_BLOCKS + journal.lengthBlocks, referenceCrc32c, journal.file);

function expectSame(journal: JournalBuilder, recovered: RecoveredBlocks, expected: Map<number, Uint8Array>): void {
  expect([...recovered.blockNumbers()].sort()).toEqual([...expected.keys()].sort());
  const content = new Uint8Array(1024);
  for (const [nr, data] of expected) {
    expect(recovered.readNewest(nr, content)).toBe(true);
    expect(Buffer.compare(content, data)).toBe(0);
    expect(recovered.newestCopy(nr)).toBeGreaterThan(journal.homeBlocks);
  }
}

test('recovery agrees with a model of random transactions, revokes, wraps and unfinished tails', () => {
  fc.assert(
    fc.property(journalPlan, (plan) => {
      const journal = build(plan);
      expectSame(journal, recover(journal, journal.device), model(plan));
    }),
    { numRuns: 400 },
  );
});

test('a log cut off at any block yields exactly the transactions before the cut', () => {
  fc.assert(
    fc.property(journalPlan, fc.nat(), (plan, choice) => {
      fc.pre(plan.transactions.length > 0);
      const journal = build({ ...plan, transactions: [], unfinished: undefined });
      const heads = plan.transactions.map((each) => {
        journal.transaction(each);
        return journal.head;
      });
      const lengths = heads.map((head) => (head - plan.startBlock + 2 * (END_BLOCK - 1)) % (END_BLOCK - 1));
      const cut = choice % lengths[lengths.length - 1];
      for (let distance = cut; distance < lengths[lengths.length - 1]; distance++) {
        const nr = 1 + ((plan.startBlock - 1 + distance) % (END_BLOCK - 1));
        journal.bytes.fill(0, journal.at(nr), journal.at(nr) + 1024);
      }
      const whole = lengths.filter((length) => length <= cut).length;
      const expected = model({ ...plan, transactions: plan.transactions.slice(0, whole) });
      expectSame(journal, recover(journal, journal.device), expected);
    }),
    { numRuns: 200 },
  );
});

/** Counts reads, to show that the work stays in proportion to the journal. */
class CountingDevice implements BlockDevice {
  readonly #inner: BlockDevice;
  reads = 0;

  constructor(inner: BlockDevice) {
    this.#inner = inner;
  }

  get sizeBytes(): number {
    return this.#inner.sizeBytes;
  }

  read(offsetBytes: number, into: Uint8Array): number {
    this.reads++;
    return this.#inner.read(offsetBytes, into);
  }

  readAhead(): void {}
}

/** Recovers, or fails with one of the engine's errors; anything else is a bug. */
function recoverOrRefuse(journal: JournalBuilder): { reads: number; recoveredBlocks: number } {
  const device = new CountingDevice(journal.device);
  let recoveredBlocks = 0;
  try {
    recoveredBlocks = recover(journal, device).size;
  } catch (error) {
    const isOurs =
      error instanceof CorruptionError || error instanceof IncompatibleError || error instanceof DeviceError;
    if (!isOurs) throw error;
  }
  return { reads: device.reads, recoveredBlocks };
}

const damage = fc.array(
  fc.record({
    at: fc.nat(),
    value: fc.constantFrom(0, 1, 2, 3, 4, 5, 8, 0x7fffffff, 0x80000000, 0xffffffff, 0xc03b3998, 1023, 1024, 100),
  }),
  { minLength: 1, maxLength: 20 },
);

test('words of the journal overwritten at random never lead to a crash, a loop or an oversized index', () => {
  fc.assert(
    fc.property(journalPlan, damage, (plan, words) => {
      const journal = build(plan);
      const loggedWords = Math.max(1, (journal.head - plan.startBlock) * 256);
      for (const { at, value } of words) {
        const target =
          at % 3 === 0 ? journal.at(0) + ((at * 4) % 0x100) : journal.at(plan.startBlock) + (at % loggedWords) * 4;
        if (target + 4 <= journal.bytes.length) journal.view.setUint32(target, value);
      }
      if (words[0].at % 2 === 0) journal.sealSuperblock();
      const { reads, recoveredBlocks } = recoverOrRefuse(journal);
      expect(reads).toBeLessThanOrEqual(6 * journal.lengthBlocks);
      expect(recoveredBlocks).toBeLessThanOrEqual(journal.lengthBlocks);
    }),
    { numRuns: 1500 },
  );
});

test('a journal of nothing but descriptors, revokes and commits at random is read in bounded work', () => {
  const blockTypes = fc.array(fc.constantFrom(1, 1, 2, 5, 5, 5), { minLength: 50, maxLength: 1023 });
  const sequenceSteps = fc.integer({ min: 0, max: 3 });
  fc.assert(
    fc.property(fc.constantFrom(...formats), blockTypes, sequenceSteps, fc.integer(), (format, types, step, seed) => {
      const journal = new JournalBuilder({ ...format, homeBlocks: HOME_BLOCKS });
      let sequence = 100;
      let random = seed >>> 0;
      types.forEach((type, index) => {
        const at = journal.at(1 + index);
        for (let offset = 12; offset < 1024; offset += 4) {
          random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
          journal.view.setUint32(at + offset, random % 5 === 0 ? random : random % 64);
        }
        journal.view.setUint32(at, 0xc03b3998);
        journal.view.setUint32(at + 4, type);
        journal.view.setUint32(at + 8, sequence);
        if (type === 2 && step > 0) sequence++;
        if (index % 2 === 0) journal.sealTail(1 + index);
      });
      const { reads, recoveredBlocks } = recoverOrRefuse(journal);
      expect(reads).toBeLessThanOrEqual(6 * journal.lengthBlocks);
      expect(recoveredBlocks).toBeLessThanOrEqual(journal.lengthBlocks);
    }),
    { numRuns: 300 },
  );
});
