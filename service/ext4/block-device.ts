/**
 * What the engine needs from the disk. Offsets and sizes are bytes and below 2^53 (8 PiB); a larger
 * device is refused when it is opened. Implementations: the native one, plain memory for tests, and
 * a fault-injecting wrapper.
 */
export interface BlockDevice {
  readonly sizeBytes: number;
  /** Fills `into` from `offsetBytes`, synchronously. Returns 0 or a positive errno; a short read is EIO. */
  read(offsetBytes: number, into: Uint8Array): number;
  /** Hint: this range will be read soon. Never fails, never blocks for long. */
  readAhead(offsetBytes: number, lengthBytes: number): void;
}

/** One step of a `DeviceProgram`. */
export type DeviceStep =
  /** Writes past the page cache. `durable`: on stable storage when the step ends, not only in the device's cache. */
  | { readonly kind: 'write'; readonly offsetBytes: number; readonly bytes: Uint8Array; readonly durable: boolean }
  /** Everything written before, through the page cache or past it, is on stable storage when the step ends. */
  | { readonly kind: 'flush' };

/** A device that can be written. Writes are seen by reads at once, and survive a power cut after a flush. */
export interface WritableBlockDevice extends BlockDevice {
  /** Through the page cache, synchronously. Returns 0 or a positive errno. */
  write(offsetBytes: number, from: Uint8Array): number;
  /** Synchronously. Returns 0 or a positive errno. */
  flush(): number;
  /**
   * Runs the steps in a thread, one after the other, up to the first that fails; then calls `done` on the main
   * thread with 0 or a positive errno. The bytes must stay as they are until then. Several programs may be under
   * way; they run beside each other. Returns a number for `wait`.
   */
  run(steps: readonly DeviceStep[], done: (errno: number) => void): number;
  /** Blocks until that program has ended, and calls its `done` before it returns. */
  wait(program: number): void;
  /** Tells the device that nobody needs the range any more; afterwards it reads as anything. Runs like a program. */
  discard(offsetBytes: number, lengthBytes: number, done: (errno: number) => void): number;
}

/** A device held in memory: images in unit tests. */
export class MemoryBlockDevice implements WritableBlockDevice {
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get sizeBytes(): number {
    return this.#bytes.length;
  }

  read(offsetBytes: number, into: Uint8Array): number {
    if (offsetBytes + into.length > this.#bytes.length) return 5;
    into.set(this.#bytes.subarray(offsetBytes, offsetBytes + into.length));
    return 0;
  }

  readAhead(): void {}

  write(offsetBytes: number, from: Uint8Array): number {
    if (offsetBytes + from.length > this.#bytes.length) return 5;
    this.#bytes.set(from, offsetBytes);
    return 0;
  }

  flush(): number {
    return 0;
  }

  /** At once. */
  run(steps: readonly DeviceStep[], done: (errno: number) => void): number {
    let errno = 0;
    for (const step of steps) {
      if (errno === 0 && step.kind === 'write') errno = this.write(step.offsetBytes, step.bytes);
    }
    done(errno);
    return 0;
  }

  wait(): void {}

  discard(_offsetBytes: number, _lengthBytes: number, done: (errno: number) => void): number {
    done(0);
    return 0;
  }
}
