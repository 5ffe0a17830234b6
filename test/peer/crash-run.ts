/**
 * A workload through the peer, with everything recorded that both parties write to the device; and what a power cut at
 * any moment of it would leave behind.
 */
import { readFileSync } from 'node:fs';
import { recover } from '../support/crash-explorer.ts';
import type { Prng } from '../support/prng.ts';
import { ALL_SECTORS, NO_SECTORS, RecordingDevice, type SectorChoice } from '../support/recording-device.ts';
import { type LoggedOperation, Party } from './device-log.ts';
import { Exerciser, type ExerciserSettings, type Observer } from './exerciser.ts';
import { isPattern, Machine, type MachineSettings } from './machine.ts';
import type { ModelFile } from './model-file.ts';
import { Violation } from './violation.ts';

const SECTOR_BYTES = 512;
const PATTERN_STRIDE = 8;

/** What a file was like from a tick of the log's clock on. */
interface Version {
  readonly tick: number;
  /** Null: there was none of that name. */
  readonly content: Uint8Array | null;
  /** From this tick on nothing older may be found. */
  durableAt: number;
}

export interface CrashFinding {
  readonly event: number;
  readonly choice: string;
  readonly finding: string;
}

/** Follows what the log says: who writes where (B-2), and when releases are on the disk (B-3). */
export function followLog(machine: Machine, onOperation: (operation: LoggedOperation) => void = () => {}): void {
  const { log, ledger } = machine;
  if (log === null) throw new Error('nothing is recorded');
  ledger.followsReleases = true;
  ledger.catchUp = () => {
    // Not only what has ended: behind a flush that is under way may be the zeroing of blocks that get owners now.
    for (const { party, offsetBytes, lengthBytes } of log.takeBegun()) {
      const owner = party === Party.SERVICE ? ledger.ownerWithin(offsetBytes, lengthBytes) : '';
      if (owner !== '') throw new Violation('B-2', `the server writes ${offsetBytes}+${lengthBytes} over ${owner}`);
    }
    for (const operation of log.take()) {
      onOperation(operation);
      if (operation.party === Party.SERVICE && operation.durable) ledger.commits++;
    }
  };
}

export class CrashRun implements Observer {
  readonly machine: Machine;
  readonly exerciser: Exerciser;
  readonly #device: RecordingDevice;
  readonly #operations: LoggedOperation[] = [];
  readonly #versions = new Map<string, Version[]>();
  /** By event of the device: its tick. */
  readonly #ticks: number[] = [];
  #stepTick = 0;
  states = 0;

  constructor(settings: MachineSettings, workload: ExerciserSettings) {
    this.machine = new Machine(settings);
    this.#device = new RecordingDevice(new Uint8Array(readFileSync(this.machine.imagePath)));
    followLog(this.machine, (operation) => this.#operations.push(operation));
    this.machine.start();
    this.exerciser = new Exerciser(this.machine, workload);
    this.exerciser.observer = this;
  }

  before(): void {
    this.#stepTick = this.#now();
  }

  after(file: ModelFile): void {
    const content = file.inode === null ? null : file.content.slice(0, file.size);
    const versions = this.#versionsOf(file.name);
    const last = versions.at(-1);
    const isSame =
      last !== undefined &&
      (last.content === null || content === null
        ? last.content === content
        : Buffer.compare(last.content, content) === 0);
    if (!isSame) versions.push({ tick: this.#stepTick, content, durableAt: Number.POSITIVE_INFINITY });
  }

  synced(file: ModelFile): void {
    this.after(file);
    const version = this.#versionsOf(file.name).at(-1);
    if (version !== undefined && version.durableAt > this.#now()) version.durableAt = this.#now();
  }

  /** Ends the workload, as a crash of the service would, and takes what was recorded. */
  async end(): Promise<void> {
    await this.machine.kill();
    this.machine.ledger.followsReleases = false;
    this.machine.ledger.catchUp();
    const { log } = this.machine;
    if (log === null || !log.isComplete) throw new Error('the record of the device is too small');
    const keyed = this.#operations.map((operation) => ({ operation, tick: tickOf(operation) }));
    keyed.sort((a, b) => a.tick - b.tick);
    for (const { operation, tick } of keyed) {
      if (tick === Number.POSITIVE_INFINITY) continue;
      this.#ticks.push(tick);
      const { kind, offsetBytes, bytes, durable, buffered } = operation;
      if (kind === 'flush') this.#device.events.push({ kind });
      else this.#device.events.push({ kind: 'write', offsetBytes, bytes, durable, buffered });
    }
  }

  get events(): number {
    return this.#device.events.length;
  }

  /** Looks at so many disks after power cuts. */
  explore(random: Prng, states: number): CrashFinding[] {
    const findings: CrashFinding[] = [];
    const cuts: number[] = [];
    const perCut = 5;
    for (let count = 0; count * perCut < states; count++) cuts.push(1 + random.below(this.events));
    // Going back in time costs much.
    for (const cut of cuts.sort((a, b) => a - b)) {
      for (let choice = 0; choice < perCut; choice++) {
        const finding = this.#judge(cut, choice, random);
        if (finding !== null) findings.push(finding);
        if (findings.length >= 5) return findings;
      }
    }
    return findings;
  }

  #now(): number {
    return this.machine.log?.now ?? 0;
  }

  #versionsOf(name: string): Version[] {
    let versions = this.#versions.get(name);
    if (versions === undefined) {
      versions = [{ tick: 0, content: null, durableAt: Number.POSITIVE_INFINITY }];
      this.#versions.set(name, versions);
    }
    return versions;
  }

  #judge(cut: number, choice: number, random: Prng): CrashFinding | null {
    const seed = random.u32();
    const [name, sectors] = choiceOf(choice, seed);
    this.states++;
    const recovered = recover(this.#device.crashDevice(cut, sectors), this.states % 4 === 0);
    if (typeof recovered === 'string') return { event: cut, choice: name, finding: `B-4: ${recovered}` };
    const tick = this.#ticks[cut - 1];
    for (const [file, versions] of this.#versions) {
      const finding = contentFinding(versions, tick, recovered.get(`/${file}`)?.data ?? null);
      if (finding !== '') return { event: cut, choice: name, finding: `${file}: ${finding}` };
    }
    return null;
  }
}

/** A flush concerns what had ended before it began. */
const tickOf = (operation: LoggedOperation): number =>
  operation.kind === 'flush' && operation.end !== Number.POSITIVE_INFINITY ? operation.begin : operation.end;

function choiceOf(choice: number, seed: number): [string, SectorChoice] {
  if (choice === 0) return ['all', ALL_SECTORS];
  if (choice === 1) return ['none', NO_SECTORS];
  if (choice === 2) return [`writes ${seed}`, (event) => isChosen(seed, event, 0)];
  return [`sectors ${seed}`, (event, sector) => isChosen(seed, event, sector === 3 ? 2 : sector)];
}

function isChosen(seed: number, event: number, sector: number): boolean {
  let x = seed ^ Math.imul(event + 1, 0x9e3779b1) ^ Math.imul(sector + 1, 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  return ((x ^ (x >>> 15)) & 1) === 1;
}

/** What is found must be of the versions that could be there (D-3), and never what nobody has written (D-2). */
function contentFinding(versions: readonly Version[], tick: number, found: Uint8Array | null): string {
  let first = 0;
  let last = 0;
  for (let index = 0; index < versions.length; index++) {
    if (versions[index].durableAt <= tick) first = index;
    if (versions[index].tick <= tick) last = index;
  }
  const possible = versions.slice(first, Math.max(first, last) + 1);
  if (found === null) {
    return possible.some((version) => version.content === null) ? '' : 'D-3: it is gone after it was synced';
  }
  for (let at = 0; at + 4 <= found.length; at += PATTERN_STRIDE) {
    if (isPattern(found, at)) return `D-2: what nobody has written at ${at}`;
  }
  const contents = possible.map((version) => version.content).filter((content) => content !== null);
  if (contents.length === 0) return 'D-3: it is there before it was made';
  const sizes = contents.map((content) => content.length);
  const least = possible.some((version) => version.content === null) ? 0 : Math.min(...sizes);
  if (found.length < least || found.length > Math.max(...sizes)) {
    return `D-3: ${found.length} bytes, and ${least} to ${Math.max(...sizes)} are possible`;
  }
  if (possible.length === 1) {
    return Buffer.compare(found, contents[0]) === 0 ? '' : 'D-3: not as it was synced';
  }
  return foreignByte(contents, found);
}

/** Every byte is as in some version, or zero. */
function foreignByte(contents: readonly Uint8Array[], found: Uint8Array): string {
  for (let from = 0; from < found.length; from += SECTOR_BYTES) {
    const piece = found.subarray(from, from + SECTOR_BYTES);
    const isWhole = contents.some(
      (content) => Buffer.compare(piece, content.subarray(from, from + piece.length)) === 0,
    );
    if (isWhole) continue;
    for (let at = 0; at < piece.length; at++) {
      if (piece[at] !== 0 && !contents.some((content) => content[from + at] === piece[at])) {
        return `D-3: byte ${from + at} is ${piece[at]}, which it never was`;
      }
    }
  }
  return '';
}
