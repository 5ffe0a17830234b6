import { Errno } from '../../shared/errno.ts';
import type { WritableBlockDevice } from './block-device.ts';
import { FsError, SpaceAwaitsCommit } from './errors.ts';

/** Where freed blocks wait before they can be used again: for the commit of their freeing, and then for discards. */
export class SpaceAwaiting {
  readonly #device: WritableBlockDevice;
  /** Commits, blocking. Returns 0 or a positive errno. */
  readonly #commit: () => number;
  /** Frees what is deleted already but not given back yet; false when there is nothing of that kind. */
  reclaim: () => boolean = () => false;
  /** Discards under way. */
  readonly #discards = new Set<number>();

  constructor(device: WritableBlockDevice, commit: () => number) {
    this.#device = device;
    this.#commit = commit;
  }

  /** Runs the operation; when it lacks space that can be had or only has to be waited for, runs it once more then. */
  retry<T>(operation: () => T): T {
    try {
      return operation();
    } catch (error) {
      if (!(error instanceof FsError && error.errno === Errno.ENOSPC)) throw error;
      const hasReclaimed = this.reclaim();
      if (!(hasReclaimed || error instanceof SpaceAwaitsCommit) || this.#commit() !== 0) throw error;
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
