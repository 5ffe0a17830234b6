import fc from 'fast-check';
import { expect, it } from 'vitest';
import { LookupCounts } from '../../service/ops/lookup-counts.ts';

type Step = readonly [kind: 'add' | 'forget', nodeId: number, lookups: number];

const step = (nodeId: fc.Arbitrary<number>): fc.Arbitrary<Step> =>
  fc.tuple(fc.constantFrom('add', 'add', 'forget'), nodeId, fc.integer({ min: 1, max: 3 }));

/** Few enough to meet again, spread and in clusters. */
const nodeIds = fc.oneof(
  fc.integer({ min: 1, max: 40 }),
  fc.integer({ min: 0xffff_fff0, max: 0xffff_ffff }),
  fc.integer({ min: 1, max: 30 }).map((n) => n * 65_536),
);

function run(steps: readonly Step[]): void {
  const counts = new LookupCounts();
  const model = new Map<number, number>();
  for (const [kind, nodeId, lookups] of steps) {
    const before = model.get(nodeId) ?? 0;
    if (kind === 'add') {
      counts.add(nodeId);
      model.set(nodeId, before + 1);
    } else {
      const isLast = before > 0 && before <= lookups;
      expect(counts.forget(nodeId, lookups)).toBe(isLast);
      if (isLast) model.delete(nodeId);
      else if (before > 0) model.set(nodeId, before - lookups);
    }
  }
  expect(counts.size).toBe(model.size);
  for (const [nodeId, count] of model) expect(counts.count(nodeId)).toBe(count);
}

it('lookup counts are those of a map', () => {
  fc.assert(
    fc.property(fc.array(step(nodeIds), { maxLength: 400 }), (steps) => run(steps)),
    { numRuns: 300 },
  );
});

it('a table that grew to a hundred thousand nodes shrinks again, and forgets none of those that stay', () => {
  const counts = new LookupCounts();
  for (let nodeId = 1; nodeId <= 100_000; nodeId++) counts.add(nodeId);
  for (let nodeId = 1; nodeId <= 100_000; nodeId++) {
    if (nodeId % 1000 !== 0) expect(counts.forget(nodeId, 1)).toBe(true);
  }
  expect(counts.size).toBe(100);
  for (let nodeId = 1000; nodeId <= 100_000; nodeId += 1000) expect(counts.count(nodeId)).toBe(1);
  expect(counts.count(999)).toBe(0);
});

it('what was never told is not forgotten', () => {
  const counts = new LookupCounts();
  expect(counts.forget(7, 1)).toBe(false);
  expect(counts.forget(2 ** 53, 1)).toBe(false);
  expect(counts.size).toBe(0);
});
