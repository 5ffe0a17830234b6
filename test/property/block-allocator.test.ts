import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import {
  ClearRun,
  clearBits,
  clearRunStart,
  countClear,
  findClearRun,
  nextClear,
  nextSet,
  setBits,
} from '../../service/ext4/bitmap.ts';
import { CorruptionError, FsError, SpaceAwaitsCommit } from '../../service/ext4/errors.ts';
import { FreeRunIndex } from '../../service/ext4/free-run-index.ts';
import type { Transaction } from '../../service/ext4/journal/transaction.ts';
import { BlockRun } from '../../service/ext4/write-context.ts';
import { AllocationImage } from '../support/allocation-image.ts';
import { ImageDirectory, imageBytes } from '../support/ext4-image.ts';

const BITS = 512;

/** A bitmap with runs of all lengths, as a list of truth values. */
const bitList = fc
  .array(fc.tuple(fc.boolean(), fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 200 }))), {
    maxLength: 60,
  })
  .map((runs) => {
    const bits: boolean[] = [];
    for (const [value, count] of runs) for (let index = 0; index < count; index++) bits.push(value);
    while (bits.length < BITS) bits.push(false);
    return bits.slice(0, BITS);
  });

function viewOfBits(bits: readonly boolean[]): DataView {
  const view = new DataView(new ArrayBuffer(bits.length / 8));
  for (const [index, bit] of bits.entries()) {
    if (bit) view.setUint8(index >>> 3, view.getUint8(index >>> 3) | (1 << (index & 7)));
  }
  return view;
}

const position = fc.integer({ min: 0, max: BITS });

describe('searching bitmaps', () => {
  it('finds set and clear bits and where runs begin as a look at each bit does', () => {
    fc.assert(
      fc.property(bitList, bitList, position, position, (bits, others, one, two) => {
        const from = Math.min(one, two);
        const end = Math.max(one, two);
        const used = bits.map((bit, index) => bit || others[index]);
        const views: [DataView, DataView] = [viewOfBits(bits), viewOfBits(others)];
        const clear = used.findIndex((bit, index) => index >= from && index < end && !bit);
        expect(nextClear(...views, from, end)).toBe(clear < 0 ? end : clear);
        const set = used.findIndex((bit, index) => index >= from && index < end && bit);
        expect(nextSet(...views, from, end)).toBe(set < 0 ? end : set);
        let start = end;
        while (start > from && !used[start - 1]) start--;
        expect(clearRunStart(...views, from, end)).toBe(start);
        expect(countClear(views[0], end)).toBe(bits.slice(0, end).filter((bit) => !bit).length);
      }),
    );
  });

  it('changes the bits of a range and no others', () => {
    fc.assert(
      fc.property(bitList, position, position, (bits, one, two) => {
        const from = Math.min(one, two);
        const count = Math.abs(one - two);
        for (const value of [true, false]) {
          const view = viewOfBits(bits);
          if (value) setBits(view, from, count);
          else clearBits(view, from, count);
          const expected = bits.map((bit, index) => (index >= from && index < from + count ? value : bit));
          expect(new Uint8Array(view.buffer)).toEqual(new Uint8Array(viewOfBits(expected).buffer));
        }
      }),
    );
  });

  it('finds the first run that is long enough, else the longest', () => {
    const length = fc.integer({ min: 1, max: 300 });
    fc.assert(
      fc.property(bitList, bitList, position, position, length, length, (bits, others, one, two, less, more) => {
        const from = Math.min(one, two);
        const end = Math.max(one, two);
        const enough = Math.min(less, more);
        const wanted = Math.max(less, more);
        const used = bits.map((bit, index) => bit || others[index]);
        const runs: [number, number][] = [];
        for (let at = from; at < end; at++) {
          if (used[at]) continue;
          const start = at;
          while (at < end && !used[at]) at++;
          runs.push([start, at - start]);
        }
        const run = new ClearRun();
        const found = findClearRun(viewOfBits(bits), viewOfBits(others), from, end, enough, wanted, run);
        const first = runs.find(([, count]) => count >= enough);
        expect(found).toBe(first !== undefined);
        if (first !== undefined) {
          expect([run.start, run.length]).toEqual([first[0], Math.min(first[1], wanted)]);
          return;
        }
        const longest = Math.max(0, ...runs.map(([, count]) => count));
        if (enough <= 63 || longest > 63) expect(run.length).toBe(longest);
        else expect(run.length).toBeLessThanOrEqual(longest);
        if (run.length > 0)
          expect(runs.some(([start, count]) => start === run.start && count === run.length)).toBe(true);
      }),
    );
  });
});

describe('the index of free runs', () => {
  it('finds the next group of a level as a look at each group does', () => {
    const groups = fc.integer({ min: 1, max: 9000 });
    const steps = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 16 }), fc.nat(), fc.nat(), fc.nat({ max: 17 })), {
      maxLength: 40,
    });
    fc.assert(
      fc.property(groups, fc.nat({ max: 7 }), steps, (groupCount, density, changes) => {
        const first = (group: number): number => ((group * 2654435761) >>> 27) >> density;
        const model = Array.from({ length: groupCount }, (_, group) => first(group));
        const index = new FreeRunIndex(groupCount, first);
        for (const [where, level, from, to, wanted] of changes) {
          const group = where % groupCount;
          if (where % 3 === 0) index.raise(group, level);
          else index.set(group, level);
          model[group] = where % 3 === 0 ? Math.max(model[group], level) : level;
          expect(index.bound(group)).toBe(model[group]);
          const start = Math.min(from % groupCount, to % groupCount);
          const end = 1 + Math.max(from % groupCount, to % groupCount);
          const expected = model.findIndex((bound, at) => at >= start && at < end && bound >= wanted);
          expect(index.next(start, end, wanted)).toBe(expected);
        }
      }),
    );
  });
});

const directory = new ImageDirectory();
afterAll(() => directory.remove());

/** Many small groups of which some are never used, with block sizes and features that matter here. */
const images: [string, Uint8Array][] = [
  ['small groups', ['-b', '1024', '-g', '512', '-N', '64', '-O', '^has_journal,^resize_inode', '-m', '0']],
  ['no flex_bg and no checksums', ['-b', '1024', '-g', '1024', '-N', '64', '-t', 'ext2', '-m', '3']],
  ['4 KiB blocks', ['-b', '4096', '-g', '256', '-N', '64', '-O', '^has_journal,^resize_inode', '-m', '5']],
].map(([name, options]) => [String(name), imageBytes(directory.make(4 * 2 ** 20, [...options]))]);

type Step =
  | { readonly kind: 'data'; readonly file: number; readonly want: number; readonly goal: number }
  | { readonly kind: 'metadata'; readonly goal: number }
  | { readonly kind: 'free'; readonly which: number; readonly count: number };

const file = fc.nat({ max: 5 });
const place = fc.nat({ max: 5000 });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant('data' as const),
    file,
    want: fc.oneof(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 700 })),
    goal: fc.oneof(fc.constant(0), place),
  }),
  fc.record({ kind: fc.constant('metadata' as const), goal: place }),
  fc.record({ kind: fc.constant('free' as const), which: place, count: fc.integer({ min: 1, max: 300 }) }),
);

type Event =
  | { readonly kind: 'handle'; readonly steps: readonly Step[]; readonly cancel: boolean }
  | { readonly kind: 'close' }
  | { readonly kind: 'commit' }
  | { readonly kind: 'forget'; readonly file: number }
  | { readonly kind: 'trim'; readonly group: number; readonly least: number }
  | { readonly kind: 'trimmed' };

const event: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      kind: fc.constant('handle' as const),
      steps: fc.array(step, { minLength: 1, maxLength: 6 }),
      cancel: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.constant({ kind: 'close' as const }) },
  { weight: 2, arbitrary: fc.constant({ kind: 'commit' as const }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('forget' as const), file }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('trim' as const), group: place, least: fc.integer({ min: 1, max: 40 }) }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'trimmed' as const }) },
);

/** What every block is in, by a list that nobody optimised. */
class Model {
  readonly image: AllocationImage;
  /** Blocks that may be taken. */
  readonly free: Set<number>;
  /** Allocated by this test. */
  taken: number[] = [];
  /** Freed by transactions that have not committed. */
  readonly pending = new Map<number, number>();
  trimming: (readonly number[])[] = [];
  readonly closed: Transaction[] = [];
  readonly nextLblk = [0, 0, 0, 0, 0, 0];
  readonly nextPblk = [0, 0, 0, 0, 0, 0];
  readonly #run = new BlockRun();

  constructor(bytes: Uint8Array) {
    this.image = new AllocationImage(bytes.slice());
    this.free = new Set(this.image.freeBlocks());
  }

  apply(event: Event): void {
    switch (event.kind) {
      case 'handle':
        this.#handle(event.steps, event.cancel);
        break;
      case 'close':
        if (!this.image.handle.running.isEmpty) this.closed.push(this.image.close());
        break;
      case 'commit':
        this.#commit();
        break;
      case 'forget':
        this.image.allocator.discardReservation(12 + event.file);
        break;
      case 'trim':
        this.#trim(event.group % this.image.geometry.groupCount, event.least);
        break;
      case 'trimmed':
        for (const runs of this.trimming.splice(0)) {
          for (let at = 0; at < runs.length; at += 2) this.image.allocator.discarded(runs[at], runs[at + 1]);
        }
    }
    expect(this.image.counts.clusters).toBe(this.free.size + this.pending.size);
    expect(this.image.allocator.awaitingCommit).toBe(this.pending.size);
  }

  finish(): void {
    while (this.closed.length > 0) this.#commit();
    this.image.settle();
    for (const [block] of this.pending) this.free.add(block);
    const fresh = new AllocationImage(this.image.device);
    expect(new Set(fresh.freeBlocks())).toEqual(this.free);
    expect(fresh.geometry.superblock.freeBlocksCount).toBe(this.free.size);
    expect(fresh.counts.clusters).toBe(this.free.size);
    expect([...fresh.reports, ...this.image.reports]).toEqual([]);
    this.#takeAll();
  }

  /** What is free can be had, to the last block. */
  #takeAll(): void {
    const { allocator, counts } = this.image;
    for (const runs of this.trimming.splice(0)) {
      for (let at = 0; at < runs.length; at += 2) allocator.discarded(runs[at], runs[at + 1]);
    }
    while (counts.clusters > 0) {
      this.image.atomically(() => {
        for (let left = Math.min(counts.clusters, 500); left > 0; left--) {
          this.free.delete(allocator.allocateMetadata(counts.clusters % 3 === 0 ? 0 : 1500, true));
        }
      });
    }
    expect(this.free.size).toBe(0);
  }

  #handle(steps: readonly Step[], cancel: boolean): void {
    const before = { free: new Set(this.free), taken: [...this.taken], pending: new Map(this.pending) };
    const lblk = [...this.nextLblk];
    const pblk = [...this.nextPblk];
    let complete = false;
    try {
      this.image.atomically(() => {
        for (const one of steps) this.#step(one);
        if (cancel) throw new FsError(1, 'cancelled');
      });
      complete = true;
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
      if (error instanceof SpaceAwaitsCommit) expect(this.pending.size + this.trimming.length).toBeGreaterThan(0);
    }
    if (complete) return;
    this.free.clear();
    for (const block of before.free) this.free.add(block);
    this.taken = before.taken;
    this.pending.clear();
    for (const [block, sequence] of before.pending) this.pending.set(block, sequence);
    for (let index = 0; index < lblk.length; index++) {
      this.nextLblk[index] = lblk[index];
      this.nextPblk[index] = pblk[index];
    }
  }

  #step(one: Step): void {
    const { allocator } = this.image;
    if (one.kind === 'metadata') {
      this.#take(allocator.allocateMetadata(one.goal), 1);
    } else if (one.kind === 'data') {
      const inode = this.image.newFile(12 + one.file);
      const lblk = this.nextLblk[one.file];
      inode.sizeBytes = lblk * this.image.geometry.blockSize;
      const goal = one.goal === 0 ? this.nextPblk[one.file] : one.goal;
      allocator.allocateData(inode, lblk, goal, one.want, this.#run);
      const { pblk, lenBlocks } = this.#run;
      expect(lenBlocks).toBeGreaterThan(0);
      expect(lenBlocks).toBeLessThanOrEqual(one.want);
      this.#take(pblk, lenBlocks);
      this.nextLblk[one.file] += lenBlocks;
      this.nextPblk[one.file] = pblk + lenBlocks;
    } else {
      this.#free(one.which, one.count);
    }
  }

  #take(pblk: number, lenBlocks: number): void {
    for (let block = pblk; block < pblk + lenBlocks; block++) {
      expect(this.free.delete(block)).toBe(true);
      this.taken.push(block);
    }
    for (const runs of this.trimming) {
      for (let at = 0; at < runs.length; at += 2) {
        expect(pblk + lenBlocks <= runs[at] || pblk >= runs[at] + runs[at + 1]).toBe(true);
      }
    }
  }

  /** A run of blocks that are in use; now and then one that is not. */
  #free(which: number, count: number): void {
    const { allocator } = this.image;
    if (this.taken.length === 0) return;
    const pblk = this.taken[which % this.taken.length];
    const taken = new Set(this.taken);
    let lenBlocks = 1;
    while (lenBlocks < count && taken.has(pblk + lenBlocks)) lenBlocks++;
    if (!taken.has(pblk + lenBlocks) && this.free.has(pblk + lenBlocks)) {
      expect(() => allocator.free(pblk, lenBlocks + 1)).toThrow(CorruptionError);
    }
    allocator.free(pblk, lenBlocks);
    const { sequence } = this.image.handle.running;
    for (let block = pblk; block < pblk + lenBlocks; block++) this.pending.set(block, sequence);
    this.taken = this.taken.filter((block) => block < pblk || block >= pblk + lenBlocks);
  }

  #commit(): void {
    const transaction = this.closed.shift();
    if (transaction === undefined) return;
    this.image.commit(transaction);
    for (const [block, sequence] of this.pending) {
      if (sequence > transaction.sequence) continue;
      this.pending.delete(block);
      this.free.add(block);
    }
  }

  #trim(group: number, least: number): void {
    const { geometry, allocator } = this.image;
    const first = geometry.groupFirstBlock(group);
    const runs = allocator.setAsideRuns(group, first, geometry.groupEndBlock(group), least);
    for (let at = 0; at < runs.length; at += 2) {
      expect(runs[at + 1]).toBeGreaterThanOrEqual(least);
      for (let block = runs[at]; block < runs[at] + runs[at + 1]; block++) expect(this.free.has(block)).toBe(true);
    }
    this.trimming.push(runs);
  }
}

describe.each(images)('allocating and freeing at random on an image with %s', (_name, bytes) => {
  it('never hands out a block that is in use, waits for a commit or is being discarded, and counts right', () => {
    fc.assert(
      fc.property(fc.array(event, { minLength: 5, maxLength: 80 }), (events) => {
        const model = new Model(bytes);
        for (const one of events) model.apply(one);
        model.finish();
      }),
      { numRuns: 60 },
    );
  });
});
