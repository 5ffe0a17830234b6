import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { crc32c } from '../../native/crc32c.ts';
import { FsError } from '../../service/ext4/errors.ts';
import { atomically } from '../../service/ext4/journal/atomically.ts';
import { type JournalFile, recoverInMemory } from '../../service/ext4/journal/recovery.ts';
import { ImageDirectory, imageBytes } from '../support/ext4-image.ts';
import { journalFileOf } from '../support/journal-replay.ts';
import { contentOf, JournalRig } from '../support/journal-rig.ts';
import { ALL_SECTORS, NO_SECTORS, type SectorChoice } from '../support/recording-device.ts';

const BLOCK = 1024;
const UNUSED = 2500;
/** Blocks that the workload uses as metadata, and freed ones as data. */
const BLOCKS = 60;

const directory = new ImageDirectory();
afterAll(() => directory.remove());
let base: Uint8Array;
let file: JournalFile;

beforeAll(() => {
  const image = directory.make(4 * 2 ** 20, ['-b', String(BLOCK), '-J', 'size=1', '-N', '64']);
  base = imageBytes(image);
  file = journalFileOf(image);
  // The log goes on near the journal's end, so that every workload goes round it.
  new DataView(base.buffer).setUint32(file.physicalBlock(0) * BLOCK + 0x58, file.lengthBlocks - 40);
});

type Operation =
  | { readonly kind: 'change'; readonly first: number; readonly count: number; readonly stride: number }
  | { readonly kind: 'cancel'; readonly first: number }
  | { readonly kind: 'free'; readonly first: number }
  | { readonly kind: 'reuse'; readonly asData: boolean }
  | { readonly kind: 'commit' }
  | { readonly kind: 'checkpoint' }
  | { readonly kind: 'settle' }
  | { readonly kind: 'step'; readonly count: number };

const block = fc.integer({ min: 0, max: BLOCKS - 1 });
const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('change' as const),
      first: block,
      count: fc.integer({ min: 1, max: 40 }),
      stride: fc.integer({ min: 1, max: 7 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('cancel' as const), first: block }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('free' as const), first: block }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('reuse' as const), asData: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('commit' as const) }) },
  { weight: 1, arbitrary: fc.constantFrom({ kind: 'checkpoint' as const }, { kind: 'settle' as const }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('step' as const), count: fc.integer({ min: 1, max: 6 }) }) },
);

interface DataWrite {
  readonly value: number;
  readonly event: number;
}

/** An answered commit: which transaction is the last one that must survive, and how much of the data. */
interface Acknowledgement {
  readonly event: number;
  readonly sequence: number;
  readonly dataWrites: ReadonlyMap<number, number>;
}

/** Drives a journal and knows what may be found after a crash. */
class Workload {
  readonly rig: JournalRig;
  /** Content of the live metadata blocks after each closed transaction, by its number; 0 is the beginning. */
  readonly states: ReadonlyMap<number, number>[] = [new Map()];
  readonly acknowledgements: Acknowledgement[] = [];
  readonly dataWrites = new Map<number, DataWrite[]>();
  /** Commits that have not been answered, and those that were answered with an error. */
  waiting = 0;
  refused = 0;
  readonly #live = new Map<number, number>();
  readonly #isData = new Set<number>();
  #freedNow: number[] = [];
  readonly #freedBy = new Map<number, number[]>();
  readonly #reusable: number[] = [];
  #value = 0;

  constructor(checksumVersion: number) {
    // A small budget makes the journal bring blocks home often.
    this.rig = new JournalRig(base.slice(), file, { checksumVersion, heldBlocksLimit: 25 });
    this.rig.handle.addParticipant({
      transactionClosing: () => this.#closing(),
      transactionCommitted: (sequence) => this.#reusable.push(...(this.#freedBy.get(sequence) ?? [])),
    });
  }

  run(operation: Operation): void {
    const { rig } = this;
    if (operation.kind === 'change') this.#change(operation.first, operation.count, operation.stride);
    else if (operation.kind === 'cancel') this.#cancel(operation.first);
    else if (operation.kind === 'free') this.#free(operation.first);
    else if (operation.kind === 'reuse') this.#reuse(operation.asData);
    else if (operation.kind === 'commit') this.#commit();
    else if (operation.kind === 'checkpoint') rig.journal.checkpointSome();
    else if (operation.kind === 'settle') rig.device.settle();
    else if (operation.kind === 'step') for (let left = operation.count; left > 0; left--) rig.device.step();
  }

  #closing(): void {
    const { sequence } = this.rig.handle.running;
    this.states[sequence] = new Map(this.#live);
    this.#freedBy.set(sequence, this.#freedNow);
    this.#freedNow = [];
  }

  #usable(index: number): boolean {
    const isFreed = (freed: readonly number[]): boolean => freed.includes(index);
    return !this.#isData.has(index) && !isFreed(this.#freedNow) && ![...this.#freedBy.values()].some(isFreed);
  }

  #change(first: number, count: number, stride: number): void {
    atomically(this.rig.handle, () => {
      for (let step = 0; step < count; step++) {
        const index = (first + step * stride) % BLOCKS;
        if (!this.#usable(index)) continue;
        const value = ++this.#value % 300;
        this.rig.fill(UNUSED + index, value);
        this.#live.set(index, value);
      }
    });
  }

  #cancel(first: number): void {
    this.rig.handle.begin();
    for (let index = first; index < Math.min(BLOCKS, first + 5); index++) {
      if (this.#usable(index)) this.rig.fill(UNUSED + index, 0x55);
    }
    this.rig.handle.cancel();
  }

  #free(first: number): void {
    const freed = [first, first + 1, first + 2].filter((index) => this.#live.has(index) && this.#usable(index));
    this.rig.free(freed.map((index) => UNUSED + index));
    for (const index of freed) this.#live.delete(index);
    this.#freedNow.push(...freed);
  }

  /** What a committed transaction freed may be used again, as file data or for metadata. */
  #reuse(asData: boolean): void {
    const index = this.#reusable.pop();
    if (index === undefined) return;
    for (const [sequence, freed] of this.#freedBy) {
      this.#freedBy.set(
        sequence,
        freed.filter((other) => other !== index),
      );
    }
    const value = ++this.#value % 300;
    const bytes = contentOf(BLOCK, value);
    if (asData) {
      this.#isData.add(index);
      if (this.rig.device.write((UNUSED + index) * BLOCK, bytes) !== 0) return;
      const writes = this.dataWrites.get(index) ?? [];
      writes.push({ value, event: this.rig.device.events.length });
      this.dataWrites.set(index, writes);
      return;
    }
    atomically(this.rig.handle, () => {
      this.rig.handle.fresh(UNUSED + index).bytes.set(bytes);
      this.#live.set(index, value);
    });
  }

  #commit(): void {
    const { handle, journal, device } = this.rig;
    const sequence = handle.running.isEmpty ? handle.running.sequence - 1 : handle.running.sequence;
    const dataWrites = new Map(Array.from(this.dataWrites, ([index, writes]) => [index, writes.length - 1]));
    this.waiting++;
    journal.commit((errno) => {
      this.waiting--;
      if (errno !== 0) this.refused++;
      else this.acknowledgements.push({ event: device.events.length, sequence, dataWrites });
    });
  }
}

/**
 * What is wrong with the image of a crash after `upTo` events, or null. `inFlight`: the last of them was still going
 * on, so that even a durable write may be there in part.
 */
function judge(workload: Workload, upTo: number, choose: SectorChoice, inFlight: boolean): string | null {
  const device = workload.rig.device.crashDevice(upTo, choose, inFlight);
  const recovered = recoverInMemory(device, BLOCK, device.sizeBytes / BLOCK, crc32c, file);
  const read = (index: number): Buffer => {
    const into = Buffer.alloc(BLOCK);
    if (!recovered.readNewest(UNUSED + index, into)) device.read((UNUSED + index) * BLOCK, into);
    return into;
  };
  const holds = (index: number, value: number): boolean => Buffer.compare(read(index), contentOf(BLOCK, value)) === 0;
  const acknowledged = workload.acknowledgements.filter(({ event }) => event <= upTo - (inFlight ? 1 : 0));
  const oldest = acknowledged.reduce((most, { sequence }) => Math.max(most, sequence), 0);
  const candidates = workload.states
    .slice(oldest)
    .filter((state) => [...state].every(([index, value]) => holds(index, value)));
  if (candidates.length === 0) return `no state from transaction ${oldest} on is found after event ${upTo}`;
  for (const [index, writes] of workload.dataWrites) {
    const promised = acknowledged.reduce((most, { dataWrites }) => Math.max(most, dataWrites.get(index) ?? -1), -1);
    if (promised === -1) continue;
    const possible = writes.slice(promised).filter(({ event }) => event <= upTo);
    if (!possible.some(({ value }) => holds(index, value))) return `data of block ${index} is lost after event ${upTo}`;
  }
  return null;
}

/** A repeatable choice of sectors, different for each seed. */
const someSectors =
  (seed: number): SectorChoice =>
  (event, sector) =>
    (Math.imul(event * 31 + sector * 17 + seed, 0x9e3779b1) >>> 16) % 2 === 0;

describe.each([0, 1, 2, 3])('a journal with checksums of version %i', (checksumVersion) => {
  it('survives a crash at any point with any subset of the unflushed sectors', () => {
    let states = 0;
    let wraps = 0;
    fc.assert(
      fc.property(fc.array(operation, { minLength: 20, maxLength: 90 }), fc.nat(1000), (operations, seed) => {
        const workload = new Workload(checksumVersion);
        for (const each of operations) workload.run(each);
        const { device, aborts } = workload.rig;
        expect([aborts, workload.refused]).toEqual([[], 0]);
        const choices = [NO_SECTORS, ALL_SECTORS, someSectors(seed), someSectors(seed + 1)];
        const stride = 1 + Math.floor(device.events.length / 100);
        for (let upTo = seed % stride; upTo <= device.events.length; upTo += stride) {
          for (const choose of choices) {
            const inFlight = upTo > 0 && choose !== ALL_SECTORS;
            expect(judge(workload, upTo, choose, false)).toBeNull();
            if (inFlight) expect(judge(workload, upTo, choose, true)).toBeNull();
            states += inFlight ? 2 : 1;
          }
        }
        const firstLogBlock = file.physicalBlock(1) * BLOCK;
        const isWrap = device.events.some((event) => event.kind === 'write' && event.offsetBytes === firstLogBlock);
        wraps += isWrap ? 1 : 0;
      }),
      // Shrinking would take longer than it helps: each run tries hundreds of crashes.
      { numRuns: 25, endOnFailure: true },
    );
    expect(states).toBeGreaterThan(300);
    expect(wraps).toBeGreaterThan(0);
  });
});

describe('a device that fails', () => {
  it('at any write or flush, once or for ever, costs nothing that was promised, and everybody gets an answer', () => {
    let aborted = 0;
    const faults = fc.record({ at: fc.nat(120), forEver: fc.boolean() });
    fc.assert(
      fc.property(fc.array(operation, { minLength: 20, maxLength: 60 }), faults, (operations, { at, forEver }) => {
        const workload = new Workload(3);
        const { rig } = workload;
        let changes = 0;
        rig.device.fault = ({ kind }) => {
          const index = kind === 'read' ? -1 : changes++;
          return index === at || (forEver && index > at) ? 5 : 0;
        };
        try {
          for (const each of operations) workload.run(each);
        } catch (error) {
          expect(error).toBeInstanceOf(FsError);
        }
        rig.device.settle();
        const closed = rig.journal.close();
        expect(workload.waiting).toBe(0);
        expect(closed !== 0).toBe(rig.journal.isAborted);
        expect(rig.aborts.length).toBe(rig.journal.isAborted ? 1 : 0);
        aborted += rig.aborts.length;
        for (const choose of [NO_SECTORS, ALL_SECTORS]) {
          expect(judge(workload, rig.device.events.length, choose, false)).toBeNull();
        }
      }),
      { numRuns: 150, endOnFailure: true },
    );
    expect(aborted).toBeGreaterThan(20);
  });
});
