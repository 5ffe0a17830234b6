import { addon, type RawDevicePrograms } from './addon.ts';
import { directWriteAlignment, NativeBlockDevice } from './block-device.ts';

/** Enough for a commit, a checkpoint and the data of some writers beside each other. */
const THREADS = 8;

/** As native/src/device_program.cc numbers them. */
const StepKind = Object.freeze({ WRITE: 0, DURABLE_WRITE: 1, FLUSH: 2, DISCARD: 3 });

export type ProgramStep =
  | { readonly kind: 'write'; readonly offsetBytes: number; readonly bytes: Uint8Array; readonly durable: boolean }
  | { readonly kind: 'flush' };

type Done = (errno: number) => void;

/** Keeps the memory of a program's writes alive until it has ended. */
interface PendingProgram {
  readonly bytes: readonly Uint8Array[];
  readonly done: Done;
}

/**
 * A device or image file that is written: metadata and small data synchronously through the page cache, programs by
 * threads. Owns its descriptors.
 */
export class NativeWritableBlockDevice extends NativeBlockDevice {
  readonly #fd: number;
  readonly #startBytes: number;
  readonly #directFd: number;
  readonly #programs: RawDevicePrograms;
  readonly #pending = new Map<number, PendingProgram>();
  /** By all writes that were begun. */
  writtenBytes = 0;

  /**
   * `directFd` is the same device opened with O_DIRECT, or -1: programs then write through the page cache. Only its
   * aligned writes go past the cache. Must stay open as long as this.
   */
  constructor(fd: number, startBytes: number, directFd: number) {
    super(fd, startBytes);
    this.#fd = fd;
    this.#startBytes = startBytes;
    this.#directFd = directFd;
    const alignment = directFd === -1 ? 1 : directWriteAlignment(directFd);
    this.#programs = new addon.DevicePrograms(fd, directFd, alignment, THREADS, (program, errno) => {
      this.#ended(program, errno);
    });
  }

  /** Past the page cache where that is possible. `into` comes from `alignedBuffer`. Returns 0 or a positive errno. */
  readUncached(offsetBytes: number, into: Uint8Array): number {
    const fd = this.#directFd === -1 ? this.#fd : this.#directFd;
    return 0 - addon.readAt(fd, this.#startBytes + offsetBytes, into);
  }

  write(offsetBytes: number, from: Uint8Array): number {
    this.writtenBytes += from.length;
    return 0 - addon.writeAt(this.#fd, this.#startBytes + offsetBytes, from);
  }

  flush(): number {
    const program = this.#programs.run(Float64Array.of(StepKind.FLUSH, 0, 0), []);
    return this.#programs.wait(program);
  }

  run(steps: readonly ProgramStep[], done: Done): number {
    const spec = new Float64Array(steps.length * 3);
    const bytes: Uint8Array[] = [];
    for (let index = 0; index < steps.length; index++) {
      const step = steps[index];
      if (step.kind === 'flush') {
        spec[index * 3] = StepKind.FLUSH;
        continue;
      }
      spec[index * 3] = step.durable ? StepKind.DURABLE_WRITE : StepKind.WRITE;
      spec[index * 3 + 1] = this.#startBytes + step.offsetBytes;
      spec[index * 3 + 2] = step.bytes.length;
      bytes.push(step.bytes);
      this.writtenBytes += step.bytes.length;
    }
    return this.#start(spec, bytes, done);
  }

  wait(program: number): void {
    if (!this.#pending.has(program)) return;
    this.#ended(program, this.#programs.wait(program));
  }

  discard(offsetBytes: number, lengthBytes: number, done: Done): number {
    return this.#start(Float64Array.of(StepKind.DISCARD, this.#startBytes + offsetBytes, lengthBytes), [], done);
  }

  /** Waits for the programs that are under way; their `done` is called. */
  override close(): void {
    while (this.#pending.size > 0) {
      for (const program of [...this.#pending.keys()]) this.wait(program);
    }
    this.#programs.close();
    super.close();
  }

  #start(spec: Float64Array, bytes: readonly Uint8Array[], done: Done): number {
    const program = this.#programs.run(spec, bytes);
    this.#pending.set(program, { bytes, done });
    return program;
  }

  #ended(program: number, errno: number): void {
    const pending = this.#pending.get(program);
    if (pending === undefined) return;
    this.#pending.delete(program);
    pending.done(errno);
  }
}

/** Memory as direct I/O wants it: whole pages. */
export const alignedBuffer = (bytes: number): Uint8Array => addon.alignedBuffer(bytes);
