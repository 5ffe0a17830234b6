/**
 * Looks at what a power cut would leave behind, for many moments of a workload and for many choices of what the disk
 * had got round to writing by then. Each such disk is mounted, and must then be consistent, in a state that the file
 * system was in at some time since the last sync that had returned, without data that no file ever had there.
 */

import { DeviceError, FsError, IncompatibleError } from '../../service/ext4/errors.ts';
import { RoCompat } from '../../service/ext4/layout/features.ts';
import { SuperblockState } from '../../service/ext4/layout/superblock.ts';
import type { WritableFilesystem } from '../../service/ext4/writable-filesystem.ts';
import { Errno } from '../../shared/errno.ts';
import { consistencyFindings, findingsOf } from './consistency-checker.ts';
import { sealSuperblock } from './ext4-image.ts';
import { attributeDifference, captureState, type LogicalState } from './logical-state.ts';
import { BaseContent, OverlayDevice } from './overlay-device.ts';
import type { Prng } from './prng.ts';
import { ALL_SECTORS, NO_SECTORS, RecordingDevice, SECTOR_BYTES, type SectorChoice } from './recording-device.ts';
import { openWritable } from './writable-image.ts';

/** Data is compared in pieces that a disk writes whole. */
const PIECE_BYTES = 512;
/** Of the images used here. */
const MAX_BLOCK_BYTES = 4096;
/**
 * The superblock is taken to be written whole: its checksum covers more than a sector, and who finds it torn can't
 * know where the journal is. The kernel refuses such a disk as well; e2fsck takes a backup.
 */
const SUPERBLOCK_SECTORS: readonly [number, number] = [2, 3];
/** What blocks hold that no file has had yet: no file may ever show it. */
export const JUNK = 0xe5;
const OWNERS = 12;
/** The upper half of each byte that a workload writes to a file; zeros besides are what holes and new ends read as. */
export const dataTag = (ino: number): number => 0x10 * (1 + (ino % OWNERS));

/** Every so many states are unmounted before they are checked, even when recovery left nothing to commit. */
const CLOSE_ONE_IN = 8;

/** One step of a workload. Errors of the file system (no space, name exists) are part of life. */
export interface WorkloadStep {
  readonly name: string;
  /** May be taken while data is on its way to the disk; other steps wait for that. */
  readonly overlapsWrites?: boolean;
  /** Leaves data on its way to the disk. */
  readonly startsWrites?: boolean;
  run(session: WorkloadSession): void;
}

/** A sync that has returned: what `state` shows must survive from event `event` on. */
interface SyncPoint {
  readonly event: number;
  readonly state: number;
}

/** What the file system was like at some time. */
interface Snapshot {
  readonly state: LogicalState;
  /** Events that had happened before anything of it could reach the disk. */
  readonly event: number;
  readonly label: string;
}

export interface SessionOptions {
  readonly device?: (image: Uint8Array) => RecordingDevice;
  readonly open?: (device: RecordingDevice) => WritableFilesystem;
  /** Instead of looking at the file system: its state that becomes snapshot `index`. */
  readonly capture?: (fs: WritableFilesystem, index: number) => LogicalState;
  /** An operation has failed; true when that was to be expected. */
  readonly failed?: (error: unknown, step: string) => boolean;
  readonly syncFailed?: (errno: number) => void;
}

/** A workload being run on a recording device, from the mount on. */
export class WorkloadSession {
  readonly device: RecordingDevice;
  readonly fs: WritableFilesystem;
  readonly random: Prng;
  readonly syncs: SyncPoint[] = [];
  /** State 0 is that after the mount; then those in which transactions were closed, and in which steps ended. */
  readonly snapshots: Snapshot[] = [];
  /** What was done, and what it came to. */
  readonly history: string[] = [];
  /** What was wrong without any crash. */
  readonly findings: string[] = [];
  readonly #options: SessionOptions;
  #step = 'mount';
  readonly #writes = new Set<number>();

  constructor(image: Uint8Array, random: Prng, options: SessionOptions = {}) {
    this.random = random;
    this.#options = options;
    this.device = options.device?.(image) ?? new RecordingDevice(image);
    this.fs = (options.open ?? openWritable)(this.device);
    this.device.settle();
    this.#note(0);
    this.syncs.push({ event: 0, state: 0 });
    // A step of several handles may be cut in two by a commit.
    this.fs.handle.addParticipant({ transactionClosing: () => this.#note(this.device.events.length) });
  }

  /** Asks for a sync; it counts when it has returned, some steps later perhaps. */
  sync(returned: () => void = () => {}): void {
    const state = this.#note(this.device.events.length);
    this.fs.commit((errno) => {
      if (errno === 0) this.syncs.push({ event: this.device.events.length, state });
      else this.#options.syncFailed?.(errno);
      returned();
    });
  }

  syncAndWait(): void {
    let isBack = false;
    this.sync(() => {
      isBack = true;
    });
    while (!isBack && this.#deviceStep());
  }

  take(step: WorkloadStep): void {
    if (step.overlapsWrites !== true) this.#finishWrites();
    const begin = this.device.events.length;
    this.#step = step.name;
    this.fs.beginRequest(0, 0);
    this.#attempt(step.name, () => step.run(this));
    this.#note(begin);
    // The device goes on meanwhile: not at all, a little, or until it has nothing more to do.
    for (let steps = this.random.below(4); steps > 0 && this.#deviceStep(); steps--);
    if (this.random.oneIn(8)) while (this.#deviceStep());
  }

  /** Programs run beside each other: any of them may be the next to get on. */
  #deviceStep(): boolean {
    const programs = this.device.pendingPrograms;
    return programs.length > 0 && this.device.step(this.random.pick(programs));
  }

  /** Writes data past the file system; `finish` is called when it is on the disk, some steps later perhaps. */
  writeData(offsetBytes: number, bytes: Uint8Array, finish: () => void): void {
    const begin = this.device.events.length;
    const program = this.device.run([{ kind: 'write', offsetBytes, bytes, durable: false }], (errno) => {
      this.#writes.delete(program);
      this.fs.beginRequest(0, 0);
      this.#attempt('the end of a write', errno === 0 ? finish : () => this.#dataIsLost(errno));
      this.#note(begin);
    });
    this.#writes.add(program);
  }

  /** Errors of the file system are part of life. */
  #attempt(name: string, action: () => void): void {
    try {
      action();
      this.history.push(name);
    } catch (error) {
      const isExpected = this.#options.failed ?? isOrdinary;
      if (!isExpected(error, name)) throw error;
      this.history.push(`${name} (${error instanceof Error ? error.message : String(error)})`);
    }
  }

  /** The same, and waits. */
  writeDataNow(offsetBytes: number, bytes: Uint8Array): void {
    let result = 0;
    const program = this.device.run([{ kind: 'write', offsetBytes, bytes, durable: false }], (errno) => {
      result = errno;
    });
    this.device.wait(program);
    if (result !== 0) this.#dataIsLost(result);
  }

  #dataIsLost(errno: number): never {
    throw new DeviceError(errno, 'write', 0, 0);
  }

  #finishWrites(): void {
    for (const program of this.#writes) this.device.wait(program);
  }

  /** Takes the steps one after the other and lets the device finish. */
  run(steps: readonly WorkloadStep[]): this {
    for (const step of steps) this.take(step);
    this.device.settle();
    return this;
  }

  /** Unmounts. What the last step left is there for good then. */
  close(): void {
    this.#finishWrites();
    this.fs.beginRequest(0, 0);
    const state = this.#note(this.device.events.length);
    const errno = this.fs.close();
    if (errno !== 0) throw new Error(`closing failed with errno ${errno}`);
    this.syncs.push({ event: this.device.events.length, state });
    this.history.push('unmount');
  }

  #note(event: number): number {
    const state = this.#options.capture?.(this.fs, this.snapshots.length) ?? captureState(this.fs);
    const foreign = foreignData(state);
    if (foreign !== '') this.findings.push(`after ${this.#step}: ${foreign}`);
    this.snapshots.push({ state, event, label: this.#step });
    return this.snapshots.length - 1;
  }
}

/** No space, or not what the step was made for. */
const isOrdinary = (error: unknown): boolean => error instanceof FsError && error.errno !== Errno.EROFS;

export interface Violation {
  readonly event: number;
  readonly choice: string;
  readonly finding: string;
}

/** A disk after a power cut, in which nothing was found wrong. */
export interface CrashState {
  readonly event: number;
  readonly choice: string;
  /** The last write is there in part. */
  readonly inFlight: boolean;
  readonly image: () => Uint8Array;
  /** What our mount of it shows. */
  readonly recovered: LogicalState;
}

interface Choice {
  readonly name: string;
  readonly sectors: SectorChoice;
  /** The last event, a durable write, has only come through in part. */
  readonly inFlight: boolean;
}

const plain = (name: string, sectors: SectorChoice): Choice => ({ name, sectors, inFlight: false });

/** Which of the unflushed writes are on the disk: none, all, each subset of few, chance of many, whole or torn. */
function choicesAt(device: RecordingDevice, upTo: number, random: Prng, limit: number): Choice[] {
  const volatile = device.volatileEvents(upTo);
  const list = [plain('all', ALL_SECTORS)];
  if (volatile.length > 0) list.push(plain('none', NO_SECTORS));
  const last = device.events[upTo - 1];
  if (last?.kind === 'write' && last.durable) {
    const firstSector = Math.floor(last.offsetBytes / SECTOR_BYTES);
    const isThere: SectorChoice = (event, sector) => event !== upTo - 1 || sector === firstSector;
    list.push({ name: 'first sector of the last', sectors: isThere, inFlight: true });
    const seed = random.u32();
    list.push({ name: `last torn ${seed}`, sectors: tornLast(seed, upTo - 1), inFlight: true });
  }
  if (volatile.length > 1 && volatile.length <= 3) {
    for (let mask = 1; mask < 2 ** volatile.length - 1; mask++) {
      list.push(plain(`subset ${mask}`, (event) => (mask & (1 << volatile.indexOf(event))) !== 0));
    }
  }
  for (let extra = volatile.length === 0 ? limit : 0; list.length < limit && extra < limit; extra++) {
    list.push(chance(random, volatile, extra));
  }
  return list.slice(0, limit);
}

function chance(random: Prng, volatile: readonly number[], index: number): Choice {
  const seed = random.u32();
  const special = random.pick(volatile);
  switch (volatile.length > 3 ? index % 4 : 1) {
    case 0:
      return plain(`subset ${seed}`, (event) => coin(seed, event, 0));
    case 1:
      return plain(`torn ${seed}`, (event, sector) => coin(seed, event, whole(sector)));
    case 2:
      return plain(`all but ${special}`, (event) => event !== special);
    default:
      return plain(`only ${special}`, (event) => event === special);
  }
}

const whole = (sector: number): number => (sector === SUPERBLOCK_SECTORS[1] ? SUPERBLOCK_SECTORS[0] : sector);

/** Everything before is as chance wants it; of the last write some sectors are there. */
const tornLast =
  (seed: number, last: number): SectorChoice =>
  (event, sector) =>
    event === last ? coin(seed, event, whole(sector)) : (seed & 1) === 0 || coin(seed, event, 0);

/** A fair coin that falls the same way each time for the same numbers. */
function coin(seed: number, a: number, b: number): boolean {
  let x = seed ^ Math.imul(a + 1, 0x9e3779b1) ^ Math.imul(b + 1, 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return ((x ^ (x >>> 16)) & 1) === 1;
}

export interface ExplorationOptions {
  /** How many states are looked at, if the workload has so many. */
  readonly budget: number;
  /** At most so many for each moment. */
  readonly perMoment?: number;
  /** The first event of interest. */
  readonly from?: number;
  /** Called for each state without findings. */
  readonly onState?: (state: CrashState) => void;
  /** Errors have been recorded, and are struck out as e2fsck would do, when it finds nothing. */
  readonly forgiveErrors?: boolean;
  /** What e2fsck makes of a disk that isn't consistent; null where all must be. */
  readonly repair?: ((image: Uint8Array) => Uint8Array) | null;
  /** Let it have a look at every disk. */
  readonly repairAll?: boolean;
}

/** What was looked at, and what was wrong. */
export class CrashExploration {
  /** Different disks, or the same disk when more or less had been promised. */
  states = 0;
  readonly violations: Violation[] = [];
  readonly #session: WorkloadSession;
  readonly #random: Prng;
  readonly #seen = new Set<string>();
  #forgiveErrors = false;
  #repairAll = false;
  #repair: ((image: Uint8Array) => Uint8Array) | null = null;

  constructor(session: WorkloadSession, random: Prng) {
    this.#session = session;
    this.#random = random;
    for (const finding of session.findings) this.violations.push({ event: -1, choice: 'no crash', finding });
  }

  explore(options: ExplorationOptions): this {
    const { budget, perMoment = 6, from = 0, onState = () => {} } = options;
    this.#forgiveErrors = options.forgiveErrors ?? false;
    this.#repair = options.repair ?? null;
    this.#repairAll = options.repairAll ?? false;
    const moments = this.#moments(from);
    const end = this.states + budget;
    while (moments.length > 0 && this.states < end) {
      // Within a batch in the order of time: going back costs much.
      const batch = moments.splice(0, Math.ceil((end - this.states) / perMoment)).sort((a, b) => a - b);
      for (const moment of batch) this.#exploreMoment(moment, perMoment, end, onState);
    }
    return this;
  }

  #exploreMoment(moment: number, perMoment: number, end: number, onState: (state: CrashState) => void): void {
    for (const choice of choicesAt(this.#session.device, moment, this.#random, perMoment)) {
      if (this.states < end) this.#judge(moment, choice, onState);
    }
  }

  /** By chance, but sooner those at which the disk has just promised something, or is about to. */
  #moments(from: number): number[] {
    const { events } = this.#session.device;
    const ranked: [rank: number, upTo: number][] = [];
    for (let upTo = from; upTo <= events.length; upTo++) {
      const next = events[upTo];
      const last = events[upTo - 1];
      const isBefore = next === undefined || next.kind === 'flush' || (next.kind === 'write' && next.durable);
      const isAfter = last !== undefined && (last.kind === 'flush' || (last.kind === 'write' && last.durable));
      ranked.push([this.#random.u32() * (isAfter ? 1 : isBefore ? 2 : 4), upTo]);
    }
    return ranked.sort((a, b) => a[0] - b[0]).map(([, upTo]) => upTo);
  }

  #judge(event: number, { name, sectors, inFlight }: Choice, onState: (state: CrashState) => void): void {
    // A write that is still under way has promised nothing.
    const { first, last } = promisedAt(this.#session, inFlight ? event - 1 : event);
    const disk = (): OverlayDevice => this.#session.device.crashDevice(event, sectors, inFlight);
    const device = disk();
    const key = `${device.contentKey()} ${first} ${last}`;
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    this.states++;
    let recovered = recover(device, this.states % CLOSE_ONE_IN === 0, this.#forgiveErrors);
    if (this.#repair !== null && (this.#repairAll || typeof recovered === 'string')) {
      const repaired = this.#repair(disk().toBytes());
      recovered = recover(new OverlayDevice(new BaseContent(repaired)), true);
    }
    const finding = typeof recovered === 'string' ? recovered : oracleFinding(this.#session, first, last, recovered);
    if (finding !== '') this.violations.push({ event, choice: name, finding });
    else if (typeof recovered !== 'string') {
      onState({ event, choice: name, inFlight, image: () => disk().toBytes(), recovered });
    }
  }
}

/** Mounts the disk and checks it; what it shows, or what is wrong with it. */
export function recover(device: OverlayDevice, mustClose: boolean, forgiveErrors = false): LogicalState | string {
  // They may be recorded in the superblock's place, and again in the copy that the journal holds.
  for (let attempt = 0; ; attempt++) {
    try {
      return mountAndCheck(device, mustClose || attempt > 0);
    } catch (error) {
      const mayForgive = forgiveErrors && attempt < 2 && error instanceof IncompatibleError;
      if (!mayForgive) return `mounting failed: ${describe(error)}`;
      strikeErrorsOut(device);
    }
  }
}

const describe = (error: unknown): string => (error instanceof Error ? (error.stack ?? error.message) : String(error));

function mountAndCheck(device: OverlayDevice, mustClose: boolean): LogicalState | string {
  const fs = openWritable(device);
  const state = captureState(fs);
  let findings: string[];
  if (mustClose || fs.hasChanges) {
    const errno = fs.close();
    if (errno !== 0) return `closing failed with errno ${errno}`;
    findings = consistencyFindings(device);
  } else {
    findings = findingsOf(fs);
  }
  return findings.length === 0 ? state : `inconsistent: ${findings.join('; ')}`;
}

function strikeErrorsOut(device: OverlayDevice): void {
  const superblock = new Uint8Array(1024);
  device.read(1024, superblock);
  const view = new DataView(superblock.buffer);
  view.setUint16(0x3a, view.getUint16(0x3a, true) & ~SuperblockState.ERROR, true);
  if ((view.getUint32(0x64, true) & RoCompat.METADATA_CSUM) !== 0) sealSuperblock(superblock, 0);
  device.write(1024, superblock);
}

/** The oldest and the newest snapshot that may be found on a disk after `event` events. */
function promisedAt({ syncs, snapshots }: WorkloadSession, event: number): { first: number; last: number } {
  let first = 0;
  for (const sync of syncs) if (sync.event <= event) first = Math.max(first, sync.state);
  let last = first;
  for (let index = first; index < snapshots.length; index++) if (snapshots[index].event <= event) last = index;
  return { first, last };
}

/** No file shows what was never written to it: what other files had in its blocks, or nobody. */
function foreignData(state: LogicalState): string {
  for (const [path, { ino, data }] of state) {
    const tag = dataTag(ino);
    // Most data is in order, which is quickly seen word by word.
    const words = new Uint32Array(data.buffer, data.byteOffset, data.byteOffset % 4 === 0 ? data.length >>> 2 : 0);
    const tags = (tag * 0x01010101) >>> 0;
    let word = 0;
    while (word < words.length && (words[word] === 0 || (words[word] & 0xf0f0f0f0) >>> 0 === tags)) word++;
    for (let at = 4 * word; at < data.length; at++) {
      if (data[at] === 0 || (data[at] & 0xf0) === tag) continue;
      return `${path} (inode ${ino}) shows foreign data at ${at}: 0x${data[at].toString(16)}`;
    }
  }
  return '';
}

function oracleFinding(session: WorkloadSession, first: number, last: number, recovered: LogicalState): string {
  const { snapshots } = session;
  const foreign = foreignData(recovered);
  if (foreign !== '') return foreign;
  const differences: string[] = [];
  for (let index = last; index >= first; index--) {
    const { state, label } = snapshots[index];
    const attributes = attributeDifference(state, recovered);
    const difference = attributes === '' ? dataDifference(snapshots, index, last, recovered) : attributes;
    if (difference === '') return '';
    differences.push(`unlike state ${index} (${label}): ${difference}`);
  }
  return `states ${first} to ${last}: ${differences.slice(-4).join(' | ')}`;
}

/**
 * Each piece of each file must be as it was in the snapshot, or as it became later: data is overwritten in place,
 * before the metadata of its time is durable.
 */
function dataDifference(snapshots: readonly Snapshot[], index: number, last: number, recovered: LogicalState): string {
  for (const [path, { ino, data }] of snapshots[index].state) {
    const found = recovered.get(path)?.data;
    if (found === undefined || found.length !== data.length) return `${path} has ${found?.length} bytes of data`;
    if (Buffer.compare(found, data) === 0) continue;
    for (let at = 0; at < data.length; at += PIECE_BYTES) {
      const piece = found.subarray(at, at + PIECE_BYTES);
      if (!isAnyVersion(snapshots, index, last, ino, at, piece)) return `${path} has strange data at ${at}`;
    }
  }
  return '';
}

function isAnyVersion(
  snapshots: readonly Snapshot[],
  index: number,
  last: number,
  ino: number,
  at: number,
  piece: Uint8Array,
): boolean {
  let moved = false;
  for (let version = index; version <= last; version++) {
    const data = dataOf(snapshots[version].state, ino);
    if (data === null) continue;
    if (holdsPieceAt(data, at, piece)) return true;
    // Blocks that have moved within the file are overwritten in their new place, which a crash makes the old one again.
    if (MOVES_BLOCKS.test(snapshots[version].label) || moved) {
      moved = true;
      if (holdsPiece(data, piece)) return true;
    }
  }
  return false;
}

const MOVES_BLOCKS = /^(collapse|insert)/;

function dataOf(state: LogicalState, ino: number): Uint8Array | null {
  for (const inode of state.values()) if (inode.ino === ino) return inode.data;
  return null;
}

function holdsPiece(data: Uint8Array, piece: Uint8Array): boolean {
  for (let at = 0; at < data.length + MAX_BLOCK_BYTES; at += PIECE_BYTES)
    if (holdsPieceAt(data, at, piece)) return true;
  return false;
}

/** A file that is made shorter has the rest of its last block zeroed in place. */
function holdsPieceAt(data: Uint8Array, at: number, piece: Uint8Array): boolean {
  const there = data.subarray(at, at + piece.length);
  if (there.length > 0 && Buffer.compare(there, piece.subarray(0, there.length)) !== 0) return false;
  if (there.length === piece.length) return true;
  const endOfBlock = Math.ceil(data.length / MAX_BLOCK_BYTES) * MAX_BLOCK_BYTES;
  return at < endOfBlock && piece.subarray(there.length).every((byte) => byte === 0);
}
