import { writeFileSync } from 'node:fs';
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest';
import { CorruptionError, DeviceError, FsError } from '../../service/ext4/errors.ts';
import { Journal } from '../../service/ext4/journal/journal.ts';
import { Errno } from '../../shared/errno.ts';
import { CrashExploration, recover, WorkloadSession, type WorkloadStep } from '../support/crash-explorer.ts';
import { CrashImages, type ImageKind, JOURNALLED } from '../support/crash-images.ts';
import { chmod, create, EVERY_OPERATION, randomSteps, sync, syncAndWait } from '../support/crash-workloads.ts';
import { e2fsck } from '../support/e2fsprogs.ts';
import { ImageDirectory, imageBytes } from '../support/ext4-image.ts';
import { attributeDifference, captureState } from '../support/logical-state.ts';
import { Prng } from '../support/prng.ts';
import { ALL_SECTORS, type DeviceOperation, RecordingDevice } from '../support/recording-device.ts';
import { openWritable } from '../support/writable-image.ts';

const directory = new ImageDirectory();
afterAll(() => directory.remove());
const images = new CrashImages(directory);

function repaired(image: Uint8Array): Uint8Array {
  const path = directory.file('broken');
  writeFileSync(path, image);
  e2fsck(path, '-fy');
  return imageBytes(path);
}

/** Every so many faults e2fsck looks at what they leave. */
const E2FSCK_ONE_IN = 16;
/** Small, so that blocks are read again and again. */
const CACHE_BYTES = 64 * 1024;

/** Which operations of the device fail: the `n`th of a kind, or all that change something from there on, or all. */
interface Fault {
  readonly kind: DeviceOperation['kind'];
  readonly n: number;
  readonly then: 'it works again' | 'nothing can be written' | 'nothing works';
}

/** A workload that is run again and again, with what it looks like when nothing fails. */
class Workload {
  readonly #image: Uint8Array;
  readonly #steps: readonly WorkloadStep[];
  readonly #seed: number;
  readonly #clean: WorkloadSession;
  /** Operations of the device, by kind. */
  readonly counts = { read: 0, write: 0, flush: 0, discard: 0 };

  constructor(image: Uint8Array, steps: readonly WorkloadStep[], seed: number) {
    this.#image = image;
    this.#steps = steps;
    this.#seed = seed;
    this.#clean = new WorkloadSession(image, new Prng(seed)).run(steps);
    this.#clean.close();
    this.#count();
  }

  /** As with faults: without looking at the state, which would read everything into the cache. */
  #count(): void {
    const session = new WorkloadSession(this.#image, new Prng(this.#seed), {
      device: (image) => {
        const device = new RecordingDevice(image);
        device.fault = ({ kind }) => {
          this.counts[kind]++;
          return 0;
        };
        return device;
      },
      open: (device) => openWritable(device, { cacheBytes: CACHE_BYTES }),
      capture: (_fs, index) => this.#clean.snapshots[index].state,
    }).run(this.#steps);
    session.close();
  }

  /** What is wrong after this fault; nothing, it is hoped. */
  run(fault: Fault): string[] {
    const attempt = new Attempt(this.#image, this.#clean, fault);
    return attempt.run(this.#steps, new Prng(this.#seed)).map((finding) => `${describeFault(fault)}: ${finding}`);
  }
}

const describeFault = ({ kind, n, then }: Fault): string => `${kind} ${n} fails, then ${then}`;

class Attempt {
  readonly #image: Uint8Array;
  readonly #clean: WorkloadSession;
  readonly #fault: Fault;
  readonly #findings: string[] = [];
  /** How somebody came to know of the error. */
  readonly #surfaced: string[] = [];
  #device: RecordingDevice | null = null;
  #seen = 0;
  #hasFired = false;
  #isAborted = false;

  constructor(image: Uint8Array, clean: WorkloadSession, fault: Fault) {
    this.#image = image;
    this.#clean = clean;
    this.#fault = fault;
  }

  run(steps: readonly WorkloadStep[], random: Prng): string[] {
    const session = this.#open(random);
    if (session === null) return this.#findings;
    try {
      session.run(steps);
      if (session.fs.isReadOnly) this.#requireReadOnly(session);
      session.device.fault = null;
      const isReported = this.#surfaced.some((line) => line.startsWith('report'));
      const isSampled = this.#fault.n % E2FSCK_ONE_IN === 0;
      const exploration = new CrashExploration(session, random);
      exploration.explore({
        budget: 3,
        from: session.device.events.length,
        forgiveErrors: this.#surfaced.length > 0,
        // Blocks of a group whose bitmap can't be read aren't given back: their loss is noted, and repaired by e2fsck.
        repair: isReported || isSampled ? repaired : null,
        repairAll: isSampled,
      });
      for (const { choice, finding } of exploration.violations) {
        this.#findings.push(`${choice}: ${finding}; after ${session.history.join('; ')}; ${this.#surfaced.join('; ')}`);
      }
      if (!this.#hasFired) this.#refire(session);
      const errno = session.fs.close();
      if (errno !== 0) this.#surfaced.push(`close ${errno}`);
      if (session.fs.isReadOnly !== this.#isAborted)
        this.#findings.push('read-only without an abort, or not in spite of one');
    } catch (error) {
      this.#findings.push(`unexpected: ${error instanceof Error ? error.stack : String(error)}`);
    }
    if (this.#hasFired && this.#surfaced.length === 0) this.#findings.push('nobody was told');
    return this.#findings;
  }

  /** The workload was over before: it is the unmount that the fault hits. */
  #refire(session: WorkloadSession): void {
    session.device.fault = (operation) => this.#judge(operation);
  }

  /** Null when the mount fails, as it may: then nothing must have changed. */
  #open(random: Prng): WorkloadSession | null {
    try {
      return new WorkloadSession(this.#image, random, {
        device: (image) => this.#makeDevice(image),
        open: (device) =>
          openWritable(device, {
            cacheBytes: CACHE_BYTES,
            report: (error) => this.#surfaced.push(`report ${error.message}`),
            onAbort: (errno, during) => {
              this.#isAborted = true;
              this.#surfaced.push(`abort ${errno} ${during}`);
            },
          }),
        capture: (fs, index) => (this.#hasFired ? this.#captureAfter(fs) : this.#clean.snapshots[index].state),
        failed: (error, step) => this.#isExpected(error, step),
        syncFailed: (errno) => {
          this.#surfaced.push(`sync ${errno}`);
          if (errno !== Errno.EIO) this.#findings.push(`a sync failed with errno ${errno}`);
        },
      });
    } catch (error) {
      if (!(error instanceof DeviceError))
        this.#findings.push(`mounting: ${error instanceof Error ? error.stack : ''}`);
      this.#requireUnchanged();
      return null;
    }
  }

  #captureAfter(fs: Parameters<typeof captureState>[0]): ReturnType<typeof captureState> {
    const device = this.#device;
    if (device === null) throw new Error('there is no device yet');
    const { fault } = device;
    device.fault = null;
    try {
      return captureState(fs);
    } finally {
      device.fault = fault;
    }
  }

  #makeDevice(image: Uint8Array): RecordingDevice {
    const device = new RecordingDevice(image);
    this.#device = device;
    device.fault = (operation) => this.#judge(operation);
    return device;
  }

  #judge(operation: DeviceOperation): number {
    const { kind, n, then } = this.#fault;
    if (!this.#hasFired) {
      if (operation.kind !== kind || this.#seen++ !== n) return 0;
      this.#hasFired = true;
      return Errno.EIO;
    }
    if (then === 'it works again') return 0;
    return then === 'nothing works' || operation.kind !== 'read' ? Errno.EIO : 0;
  }

  /** Ordinary refusals, EIO once there is a reason, EROFS once the journal is aborted. */
  #isExpected(error: unknown, step: string): boolean {
    if (error instanceof DeviceError && this.#hasFired) {
      this.#surfaced.push(`${step}: ${error.message}`);
      if (error.errno !== Errno.EIO) this.#findings.push(`${step} fails with errno ${error.errno}`);
      return true;
    }
    if (error instanceof CorruptionError || !(error instanceof FsError)) return false;
    return error.errno !== Errno.EROFS || this.#isAborted;
  }

  #requireReadOnly(session: WorkloadSession): void {
    session.fs.beginRequest(0, 0);
    try {
      create('after-the-abort').run(session);
      this.#findings.push('changes are taken after the journal was aborted');
    } catch (error) {
      const isRight =
        (error instanceof FsError && error.errno === Errno.EROFS) ||
        (error instanceof DeviceError && this.#fault.then === 'nothing works');
      if (!isRight) this.#findings.push(`after the abort: ${String(error)}`);
    }
    session.sync();
  }

  #requireUnchanged(): void {
    const device = this.#device;
    if (device === null) return;
    const recovered = recover(device.crashDevice(device.events.length, ALL_SECTORS), true, true);
    if (typeof recovered === 'string') this.#findings.push(`after a failed mount: ${recovered}`);
    else {
      const difference = attributeDifference(this.#clean.snapshots[0].state, recovered);
      if (difference !== '') this.#findings.push(`after a failed mount: ${difference}`);
    }
  }
}

const KINDS = ['read', 'write', 'flush'] as const;
const ENDINGS = ['it works again', 'nothing can be written', 'nothing works'] as const;

/** Every fault, or as many as allowed, evenly spread. */
function faults(workload: Workload, limit: number): Fault[] {
  const all: Fault[] = [];
  for (const kind of KINDS) {
    for (let n = 0; n < workload.counts[kind]; n++) {
      for (const then of ENDINGS) if (kind !== 'read' || then === 'it works again') all.push({ kind, n, then });
    }
  }
  const stride = Math.max(1, all.length / limit);
  return Array.from({ length: Math.min(limit, all.length) }, (_, index) => all[Math.floor(index * stride)]);
}

function exploreFaults(
  kind: ImageKind,
  steps: readonly WorkloadStep[],
  seed: number,
  limit: number,
): { faults: number; findings: string[] } {
  const workload = new Workload(images.prepared(kind, 400), steps, seed);
  const list = faults(workload, limit);
  return { faults: list.length, findings: list.flatMap((fault) => workload.run(fault)).slice(0, 5) };
}

describe('when the device fails once, or for good', () => {
  test.each(EVERY_OPERATION.map((step, index) => [step.name, step, index] as const))('%s', (_name, step, index) => {
    const steps = [create('before'), syncAndWait(), step, sync(), create('after'), syncAndWait()];
    const { faults, findings } = exploreFaults(JOURNALLED[index % JOURNALLED.length], steps, index, 120);
    expect(findings).toEqual([]);
    expect(faults).toBeGreaterThan(60);
  });

  test.each(Array.from({ length: 12 }, (_, seed) => seed))('long workload %i', (seed) => {
    const random = new Prng(seed);
    const kind = JOURNALLED[seed % JOURNALLED.length];
    const steps = randomSteps(random, 30, kind.mkfs.includes('4096') ? 4096 : 1024);
    const { faults, findings } = exploreFaults(kind, steps, seed, 80);
    expect(findings).toEqual([]);
    expect(faults).toBe(80);
  });
});

describe('bugs in how errors are handled are found', () => {
  afterEach(() => vi.restoreAllMocks());
  const steps = [create('before'), syncAndWait(), chmod('a', 0o600), sync(), create('after'), syncAndWait()];

  test('a sync that hides them', () => {
    const commit = Journal.prototype.commit;
    vi.spyOn(Journal.prototype, 'commit').mockImplementation(function (this: Journal, done) {
      commit.call(this, () => done(0));
    });
    const { findings } = exploreFaults(JOURNALLED[0], steps, 1, 120);
    expect(findings.join()).toMatch(/states \d+ to \d+/);
  });
});
