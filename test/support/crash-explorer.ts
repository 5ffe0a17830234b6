/**
 * Looks at what a power cut would leave behind, for many moments of a workload and for many choices of what the disk
 * had got round to writing by then. Each such disk is mounted, and must then be consistent, in a state that the file
 * system was in at some time since the last sync that had returned, without data that no file ever had there.
 */

import { MemoryBlockDevice } from '../../service/ext4/block-device.ts';
import { FsError } from '../../service/ext4/errors.ts';
import type { WritableFilesystem } from '../../service/ext4/writable-filesystem.ts';
import { Errno } from '../../shared/errno.ts';
import { consistencyFindings } from './consistency-checker.ts';
import { attributeDifference, captureState, type LogicalState } from './logical-state.ts';
import type { Prng } from './prng.ts';
import { ALL_SECTORS, NO_SECTORS, RecordingDevice, type SectorChoice } from './recording-device.ts';
import { openWritable } from './writable-image.ts';

/** Data is compared in pieces that a disk writes whole. */
const PIECE_BYTES = 512;

/** One step of a workload. Errors of the file system (no space, name exists) are part of life. */
export interface WorkloadStep {
  readonly name: string;
  run(session: WorkloadSession): void;
}

/** A sync that has returned: everything up to state `state` must survive from event `event` on. */
interface SyncPoint {
  readonly event: number;
  readonly state: number;
}

/** A workload being run on a recording device. */
export class WorkloadSession {
  readonly device: RecordingDevice;
  readonly fs: WritableFilesystem;
  readonly random: Prng;
  readonly syncs: SyncPoint[] = [];
  /** State 0 is that before the first step; each step adds the one that it ends in. */
  readonly states: LogicalState[] = [];
  /** Events that had happened when the step that leads to the state began. */
  readonly begins: number[] = [0];
  readonly history: string[] = [];

  constructor(image: Uint8Array, random: Prng, open = openWritable) {
    this.random = random;
    this.device = new RecordingDevice(image);
    this.fs = open(this.device);
    this.device.settle();
    this.states.push(captureState(this.fs));
    this.syncs.push({ event: 0, state: 0 });
  }

  /** Asks for a sync; it counts when it has returned, some steps later perhaps. */
  sync(): void {
    const state = this.states.length;
    this.fs.commit((errno) => {
      if (errno === 0)
        this.syncs.push({ event: this.device.events.length, state: Math.min(state, this.states.length) });
    });
  }

  take(step: WorkloadStep): void {
    this.begins.push(this.device.events.length);
    this.fs.beginRequest(0, 0);
    try {
      step.run(this);
      this.history.push(step.name);
    } catch (error) {
      if (!(error instanceof FsError) || error.errno === Errno.EROFS) throw error;
      this.history.push(`${step.name} (${error.message})`);
    }
    this.states.push(captureState(this.fs));
    // The device goes on meanwhile: not at all, a little, or until it has nothing more to do.
    for (let steps = this.random.below(4); steps > 0 && this.device.step(); steps--);
    if (this.random.oneIn(8)) this.device.settle();
  }
}

export interface Violation {
  readonly event: number;
  readonly choice: string;
  readonly finding: string;
}

/** What to try at each moment: nothing, everything, and what chance leaves of the unflushed writes, whole or torn. */
function choices(random: Prng, count: number): [string, SectorChoice][] {
  const list: [string, SectorChoice][] = [
    ['all', ALL_SECTORS],
    ['none', NO_SECTORS],
  ];
  while (list.length < count) {
    const seed = random.u32();
    const torn = list.length % 2 === 1;
    list.push([`${torn ? 'torn' : 'subset'} ${seed}`, (event, sector) => coin(seed, event, torn ? sector : 0)]);
  }
  return list.slice(0, count);
}

/** A fair coin that falls the same way each time for the same numbers. */
function coin(seed: number, a: number, b: number): boolean {
  let x = seed ^ Math.imul(a + 1, 0x9e3779b1) ^ Math.imul(b + 1, 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return ((x ^ (x >>> 16)) & 1) === 1;
}

/** What was looked at, and what was wrong. `sample` is called for each crash image that e2fsck should see as well. */
export class CrashExploration {
  states = 0;
  readonly violations: Violation[] = [];
  readonly #session: WorkloadSession;
  readonly #random: Prng;
  readonly #onImage: (image: Uint8Array, index: number) => void;

  constructor(session: WorkloadSession, random: Prng, onImage: (image: Uint8Array, index: number) => void = () => {}) {
    this.#session = session;
    this.#random = random;
    this.#onImage = onImage;
  }

  /** Explores about `budget` crash states, spread over the whole workload. */
  explore(budget: number, perMoment = 6): void {
    const total = this.#session.device.events.length + 1;
    const moments = Math.max(1, Math.floor(budget / perMoment));
    const stride = Math.max(1, total / moments);
    for (let at = 0; at < total; at += stride) {
      const event = Math.min(total - 1, Math.floor(at));
      for (const [name, choice] of choices(this.#random, perMoment)) this.#judge(event, name, choice);
    }
  }

  #judge(event: number, choice: string, sectors: SectorChoice): void {
    const image = this.#session.device.crashImage(event, sectors);
    this.#onImage(image, this.states);
    this.states++;
    const finding = this.#finding(event, image);
    if (finding !== '') this.violations.push({ event, choice, finding });
  }

  #finding(event: number, image: Uint8Array): string {
    const device = new MemoryBlockDevice(image);
    let state: LogicalState;
    try {
      const fs = openWritable(device);
      state = captureState(fs);
      const errno = fs.close();
      if (errno !== 0) return `closing failed with errno ${errno}`;
    } catch (error) {
      return `mounting failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
    }
    const inconsistencies = consistencyFindings(device);
    if (inconsistencies.length > 0) return inconsistencies.join('; ');
    return this.#oracleFinding(event, state);
  }

  #oracleFinding(event: number, recovered: LogicalState): string {
    const { syncs, begins, states } = this.#session;
    let first = 0;
    for (const sync of syncs) if (sync.event <= event) first = Math.max(first, sync.state);
    let last = first;
    for (let index = first; index < begins.length; index++) if (begins[index] <= event) last = index;
    const differences: string[] = [];
    for (let index = Math.min(last, states.length - 1); index >= first; index--) {
      const attributes = attributeDifference(states[index], recovered);
      const difference = attributes === '' ? dataDifference(states, index, last, recovered) : attributes;
      if (difference === '') return '';
      differences.push(`unlike state ${index} (${this.#session.history[index - 1] ?? 'start'}): ${difference}`);
    }
    return `states ${first} to ${last}: ${differences.slice(0, 4).join(' | ')}`;
  }
}

/**
 * Each piece of each file must be as it was in the state, or as it became later: data is overwritten in place, before
 * the metadata of its time is durable.
 */
function dataDifference(states: readonly LogicalState[], index: number, last: number, recovered: LogicalState): string {
  for (const [path, inode] of states[index]) {
    const found = recovered.get(path)?.data ?? inode.data;
    for (let at = 0; at < inode.data.length; at += PIECE_BYTES) {
      const piece = found.subarray(at, Math.min(at + PIECE_BYTES, inode.data.length));
      if (isAnyVersion(states, index, last, inode.ino, at, piece)) continue;
      return `${path} has strange data at ${at}`;
    }
  }
  return '';
}

function isAnyVersion(
  states: readonly LogicalState[],
  index: number,
  last: number,
  ino: number,
  at: number,
  piece: Uint8Array,
): boolean {
  for (let version = index; version <= Math.min(last, states.length - 1); version++) {
    for (const inode of states[version].values()) {
      if (inode.ino !== ino || inode.data.length <= at) continue;
      const there = inode.data.subarray(at, at + piece.length);
      const shared = Math.min(there.length, piece.length);
      if (Buffer.compare(there.subarray(0, shared), piece.subarray(0, shared)) === 0) return true;
      break;
    }
  }
  return false;
}
