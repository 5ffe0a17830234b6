import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { trimHeap } from '../native/heap.ts';
import { type PressureWatch, watchPressure } from '../native/pressure-watch.ts';
import { errnoOf } from '../shared/errno.ts';
import { errnoText } from '../shared/errno-text.ts';
import type { Log } from '../shared/log.ts';

/**
 * Fires when some task waited for memory for 200 ms within 2 s: what systemd chooses, too. Without CAP_SYS_RESOURCE
 * the window must be a multiple of 2 s (Documentation/accounting/psi.rst).
 */
const TRIGGER = 'some 200000 2000000';
/** A trigger fires once in its window. What comes faster is no pressure, but a file that is broken or gone. */
const SOONEST_MS = 1_000;
const TOO_SOON_MAX = 3;
const GROW_INTERVAL_MS = 10_000;

/** What gives memory back, and takes it again. */
export interface Shrinkable {
  shrink(): void;
  /** One step; true when that was the last one. */
  grow(): boolean;
}

/** Shrinks caches when the machine or our control group runs short of memory, and lets them grow afterwards. */
export class MemoryPressure {
  readonly #caches: Shrinkable;
  readonly #log: Log;
  readonly #collectGarbage: () => void;
  readonly #watches: PressureWatch[] = [];
  #growing: NodeJS.Timeout | null = null;
  #lastMs = Number.NEGATIVE_INFINITY;
  #tooSoon = 0;

  constructor(caches: Shrinkable, log: Log, collectGarbage: () => void = releaseMemory) {
    this.#caches = caches;
    this.#log = log;
    this.#collectGarbage = collectGarbage;
  }

  /** Files of pressure stall information, open for writing; they stay the caller's and must outlive this. */
  watch(fds: readonly number[]): void {
    for (const fd of fds) {
      try {
        this.#watches.push(watchPressure(fd, TRIGGER, (errno) => this.fired(errno, performance.now())));
      } catch (error) {
        this.#log.debug(`memory pressure is not watched: ${errnoText(errnoOf(error))}`);
      }
    }
  }

  fired(errno: number, nowMs: number): void {
    this.#tooSoon = nowMs - this.#lastMs < SOONEST_MS ? this.#tooSoon + 1 : 0;
    this.#lastMs = nowMs;
    if (errno !== 0 || this.#tooSoon > TOO_SOON_MAX) {
      this.#log.notice('memory pressure is not watched any more');
      this.#endWatches();
      return;
    }
    if (this.#tooSoon > 0) return;
    this.#caches.shrink();
    this.#collectGarbage();
    this.#growing ??= setInterval(() => this.#grow(), GROW_INTERVAL_MS).unref();
  }

  close(): void {
    this.#endWatches();
    this.#stopGrowing();
  }

  #grow(): void {
    if (this.#caches.grow()) this.#stopGrowing();
  }

  #stopGrowing(): void {
    if (this.#growing !== null) clearInterval(this.#growing);
    this.#growing = null;
  }

  #endWatches(): void {
    for (const watch of this.#watches.splice(0)) watch.close();
  }
}

let collector: (() => void) | null = null;

/** Node has no other way to ask for a collection, and an idle process makes none of its own. */
function releaseMemory(): void {
  if (collector === null) {
    setFlagsFromString('--expose-gc');
    const collect: unknown = runInNewContext('gc');
    collector = typeof collect === 'function' ? () => collect() : () => {};
  }
  collector();
  trimHeap();
}
