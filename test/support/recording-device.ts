import type { DeviceStep, WritableBlockDevice } from '../../service/ext4/block-device.ts';
import { BaseContent, OverlayDevice } from './overlay-device.ts';

/** Writes are torn at this granularity: what every disk writes whole. */
export const SECTOR_BYTES = 512;

const EIO = 5;

/** What happened at the device, in the order in which it took effect. */
export type DeviceEvent =
  | {
      readonly kind: 'write';
      /** Of whole sectors. */
      readonly offsetBytes: number;
      readonly bytes: Uint8Array;
      /** On stable storage when it ended. */
      readonly durable: boolean;
      /** Through the page cache, or as a step of a program. */
      readonly buffered: boolean;
    }
  | { readonly kind: 'flush' }
  /** Something that the test wants to find again, such as "this fsync has returned". */
  | { readonly kind: 'mark'; readonly label: string };

/** An operation that is about to happen; a test makes it fail by returning an errno. */
export interface DeviceOperation {
  readonly kind: 'read' | 'write' | 'flush' | 'discard';
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  /** Counts operations of all kinds, from 0. */
  readonly index: number;
}

interface Program {
  readonly id: number;
  readonly steps: readonly DeviceStep[];
  /** The bytes as they were when the program was handed over: they must not change before their step is done. */
  readonly promised: readonly (Uint8Array | null)[];
  readonly done: (errno: number) => void;
  next: number;
}

/**
 * Is sector `sector` (of the device) of the volatile write `event` on the disk after the crash? Called for each sector
 * of each write that no flush had made durable.
 */
export type SectorChoice = (event: number, sector: number) => boolean;

export const ALL_SECTORS: SectorChoice = () => true;
export const NO_SECTORS: SectorChoice = () => false;

/**
 * A disk in memory that keeps a record of all writes and flushes, and can say what might be on it after a power cut at
 * any point.
 *
 * Reads see every write at once. A write is durable once it was made `durable`, or a flush has happened after it;
 * before, each of its sectors may or may not be on the disk. Where a sector was written several times, any of the
 * versions since the last durable one may be there. That covers lost, reordered and torn writes.
 *
 * Programs take their steps only when the test says so (`step`, `finish`, `settle`) or somebody waits for them, so
 * that operations really happen between the steps. With `immediate` they run at once, like those of a
 * MemoryBlockDevice.
 */
export class RecordingDevice implements WritableBlockDevice {
  readonly sizeBytes: number;
  readonly events: DeviceEvent[] = [];
  /** Lets operations fail; returns 0 or an errno. A write that fails has changed nothing. */
  fault: ((operation: DeviceOperation) => number) | null = null;
  operations = 0;
  readonly #initial: Uint8Array;
  readonly #content: Uint8Array;
  readonly #immediate: boolean;
  readonly #programs: Program[] = [];
  #lastId = 0;
  /** The disk with the first `#prefixEvents` events, all of which were durable. Made when it is first needed. */
  #prefix: BaseContent | null = null;
  #prefixEvents = 0;

  constructor(initial: Uint8Array, immediate = false) {
    this.sizeBytes = initial.length;
    this.#initial = initial.slice();
    this.#content = initial.slice();
    this.#immediate = immediate;
  }

  /** What a reader sees now. */
  get content(): Uint8Array {
    return this.#content;
  }

  /** Programs that haven't ended, oldest first. */
  get pendingPrograms(): readonly number[] {
    return this.#programs.map((program) => program.id);
  }

  read(offsetBytes: number, into: Uint8Array): number {
    const errno = this.#operate('read', offsetBytes, into.length);
    if (errno !== 0) return errno;
    into.set(this.#content.subarray(offsetBytes, offsetBytes + into.length));
    return 0;
  }

  readAhead(): void {}

  write(offsetBytes: number, from: Uint8Array): number {
    return this.#write(offsetBytes, from, false, true);
  }

  flush(): number {
    const errno = this.#operate('flush', 0, 0);
    if (errno === 0) this.events.push({ kind: 'flush' });
    return errno;
  }

  mark(label: string): void {
    this.events.push({ kind: 'mark', label });
  }

  run(steps: readonly DeviceStep[], done: (errno: number) => void): number {
    const promised = steps.map((step) => (step.kind === 'write' ? step.bytes.slice() : null));
    return this.#start({ id: ++this.#lastId, steps, promised, done, next: 0 });
  }

  discard(offsetBytes: number, lengthBytes: number, done: (errno: number) => void): number {
    const errno = this.#operate('discard', offsetBytes, lengthBytes);
    const garbage = new Uint8Array(errno === 0 ? lengthBytes : 0).fill(0xdb);
    const steps: DeviceStep[] = [{ kind: 'write', offsetBytes, bytes: garbage, durable: false }];
    const program = { id: ++this.#lastId, steps, promised: [garbage], done, next: 0 };
    return this.#start(errno === 0 ? program : { ...program, steps: [], done: () => done(errno) });
  }

  wait(program: number): void {
    while (this.step(program));
  }

  /**
   * Takes the next step of the program (0: of the oldest one); the last step, or one that fails, ends it and calls its
   * `done`. False when there is no such program any more.
   */
  step(id = 0): boolean {
    const program = id === 0 ? this.#programs[0] : this.#programs.find((candidate) => candidate.id === id);
    if (program === undefined) return false;
    const errno = program.next < program.steps.length ? this.#take(program) : 0;
    if (errno === 0 && program.next < program.steps.length) return true;
    this.#programs.splice(this.#programs.indexOf(program), 1);
    program.done(errno);
    return true;
  }

  /** Runs all programs to their end, and those that are started by that. */
  settle(): void {
    while (this.step());
  }

  /** Writes among the first `upTo` events that no flush and no durability of their own has secured. */
  volatileEvents(upTo: number): number[] {
    const found: number[] = [];
    for (let index = upTo - 1; index >= 0; index--) {
      const event = this.events[index];
      if (event.kind === 'flush') break;
      if (event.kind === 'write' && !event.durable) found.push(index);
    }
    return found.reverse();
  }

  /** What is on the disk after a power cut when the first `upTo` events had happened. */
  crashImage(upTo: number, choose: SectorChoice): Uint8Array {
    return this.crashDevice(upTo, choose).toBytes();
  }

  /**
   * The same as a device, which is valid until the next one is asked for. `inFlight`: the power went off while the last
   * event was happening, so that even a durable write may have come through in part.
   */
  crashDevice(upTo: number, choose: SectorChoice, inFlight = false): OverlayDevice {
    const device = new OverlayDevice(this.#advancePrefix(upTo));
    const volatile = new Set(this.volatileEvents(upTo));
    if (inFlight) volatile.add(upTo - 1);
    for (let index = this.#prefixEvents; index < upTo; index++) {
      const event = this.events[index];
      if (event.kind !== 'write') continue;
      if (volatile.has(index)) applySectors(device, event.offsetBytes, event.bytes, (sector) => choose(index, sector));
      else device.write(event.offsetBytes, event.bytes);
    }
    return device;
  }

  #start(program: Program): number {
    this.#programs.push(program);
    if (this.#immediate) this.wait(program.id);
    return program.id;
  }

  #take(program: Program): number {
    const index = program.next++;
    const step = program.steps[index];
    if (step.kind === 'flush') return this.flush();
    const promised = program.promised[index];
    if (promised !== null && Buffer.compare(promised, step.bytes) !== 0) {
      throw new Error(`bytes for offset ${step.offsetBytes} were changed while program ${program.id} was under way`);
    }
    return this.#write(step.offsetBytes, step.bytes, step.durable, false);
  }

  #write(offsetBytes: number, from: Uint8Array, durable: boolean, buffered: boolean): number {
    const errno = this.#operate('write', offsetBytes, from.length);
    if (errno !== 0) return errno;
    this.#content.set(from, offsetBytes);
    // A disk gets whole sectors; the page cache knows the rest of them.
    const start = offsetBytes - (offsetBytes % SECTOR_BYTES);
    const end = Math.ceil((offsetBytes + from.length) / SECTOR_BYTES) * SECTOR_BYTES;
    this.events.push({
      kind: 'write',
      offsetBytes: start,
      bytes: this.#content.slice(start, end),
      durable,
      buffered,
    });
    return 0;
  }

  #operate(kind: DeviceOperation['kind'], offsetBytes: number, lengthBytes: number): number {
    const index = this.operations++;
    if (offsetBytes + lengthBytes > this.sizeBytes) return EIO;
    return this.fault?.({ kind, offsetBytes, lengthBytes, index }) ?? 0;
  }

  /** Moves the prefix to the last flush before `upTo`. */
  #advancePrefix(upTo: number): BaseContent {
    let end = upTo;
    while (end > 0 && this.events[end - 1].kind !== 'flush') end--;
    let prefix = this.#prefix;
    if (prefix === null || end < this.#prefixEvents) {
      prefix = new BaseContent(this.#initial.slice());
      this.#prefix = prefix;
      this.#prefixEvents = 0;
    }
    for (; this.#prefixEvents < end; this.#prefixEvents++) {
      const event = this.events[this.#prefixEvents];
      if (event.kind === 'write') prefix.set(event.offsetBytes, event.bytes);
    }
    return prefix;
  }
}

function applySectors(
  device: OverlayDevice,
  offsetBytes: number,
  bytes: Uint8Array,
  isWritten: (sector: number) => boolean,
): void {
  for (let from = 0; from < bytes.length; ) {
    const sector = Math.floor((offsetBytes + from) / SECTOR_BYTES);
    const to = Math.min(bytes.length, (sector + 1) * SECTOR_BYTES - offsetBytes);
    if (isWritten(sector)) device.write(offsetBytes + from, bytes.subarray(from, to));
    from = to;
  }
}
