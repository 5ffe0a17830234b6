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

/** A device held in memory: images in unit tests. */
export class MemoryBlockDevice implements BlockDevice {
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
}
