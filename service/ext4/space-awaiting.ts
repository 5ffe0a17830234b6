import type { WritableBlockDevice } from './block-device.ts';
import { SpaceAwaitsCommit } from './errors.ts';

/** Where freed blocks wait before they can be used again: for the commit of their freeing, and then for discards. */
export class SpaceAwaiting {
  readonly #device: WritableBlockDevice;
  /** Commits, blocking. Returns 0 or a positive errno. */
  readonly #commit: () => number;
  /** Discards under way. */
  readonly #discards = new Set<number>();

  constructor(device: WritableBlockDevice, commit: () => number) {
    this.#device = device;
    this.#commit = commit;
  }

  /** Runs the operation; when it lacks space that only has to be waited for, waits and runs it once more. */
  retry<T>(operation: () => T): T {
    try {
      return operation();
    } catch (error) {
      if (!(error instanceof SpaceAwaitsCommit) || this.#commit() !== 0) throw error;
      for (const program of this.#discards) this.#device.wait(program);
      return operation();
    }
  }

  /** Discards a range of the device; `done` is called in any case. */
  discard(offsetBytes: number, lengthBytes: number, done: () => void): void {
    let isDone = false;
    let program = 0;
    program = this.#device.discard(offsetBytes, lengthBytes, () => {
      isDone = true;
      this.#discards.delete(program);
      done();
    });
    if (!isDone) this.#discards.add(program);
  }
}
