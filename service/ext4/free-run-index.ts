/** Groups summed up by one entry of the next higher level: six bits of the group number. */
const FANOUT_BITS = 6;
const FANOUT = 2 ** FANOUT_BITS;
/** Larger than any level of a group: an entry whose groups nobody has looked at. */
const UNREAD = 255;

/** How many bits the length has: runs of level n are at least 2^(n-1) and less than 2^n long; 0 is no run at all. */
export const levelOf = (lenBlocks: number): number => 32 - Math.clz32(lenBlocks);

/**
 * For each group an upper bound of the level of its longest free run, and over those a tree of maxima, which finds
 * the next group worth looking at in a time that hardly grows with their number. A byte per group.
 *
 * Whoever looks at a group and finds less lowers its bound; whoever frees blocks raises it. What a group has at
 * first is asked for when its neighbourhood is visited.
 */
export class FreeRunIndex {
  readonly #groupCount: number;
  readonly #firstBound: (group: number) => number;
  /** #levels[0] has an entry for each group, #levels[n + 1] one for each 64 entries of #levels[n]. */
  readonly #levels: Uint8Array[] = [];

  /** `firstBound` gives the bound of a group that was never looked at. */
  constructor(groupCount: number, firstBound: (group: number) => number) {
    this.#groupCount = groupCount;
    this.#firstBound = firstBound;
    this.#levels.push(new Uint8Array(groupCount));
    let count = groupCount;
    do {
      count = Math.ceil(count / FANOUT);
      this.#levels.push(new Uint8Array(count).fill(UNREAD));
    } while (count > 1);
  }

  bound(group: number): number {
    this.#read(group >>> FANOUT_BITS);
    return this.#levels[0][group];
  }

  set(group: number, level: number): void {
    this.#read(group >>> FANOUT_BITS);
    this.#store(group, level);
  }

  raise(group: number, level: number): void {
    if (this.bound(group) < level) this.#store(group, level);
  }

  /** First group in [from, end) whose bound is at least `level`, or -1. */
  next(from: number, end: number, level: number): number {
    let group = from;
    while (group < end) {
      const chunk = group >>> FANOUT_BITS;
      this.#read(chunk);
      if (this.#levels[1][chunk] >= level) {
        const bounds = this.#levels[0];
        const stop = Math.min(end, (chunk + 1) * FANOUT);
        for (; group < stop; group++) if (bounds[group] >= level) return group;
      }
      group = this.#nextChunk(chunk + 1, level) * FANOUT;
    }
    return -1;
  }

  /** First chunk of groups from `chunk` on that may hold one of that level, or one behind all. */
  #nextChunk(chunk: number, level: number): number {
    let depth = 1;
    let index = chunk;
    for (;;) {
      const entries = this.#levels[depth];
      const stop = Math.min(entries.length, (Math.floor((index - 1) / FANOUT) + 1) * FANOUT);
      while (index < stop && entries[index] < level) index++;
      if (index < stop) break;
      if (stop === entries.length) return this.#groupCount;
      depth++;
      index = stop / FANOUT;
    }
    while (depth > 1) {
      depth--;
      const entries = this.#levels[depth];
      index *= FANOUT;
      while (entries[index] < level) index++;
    }
    return index;
  }

  #read(chunk: number): void {
    if (this.#levels[1][chunk] !== UNREAD) return;
    const bounds = this.#levels[0];
    const first = chunk * FANOUT;
    const end = Math.min(first + FANOUT, this.#groupCount);
    for (let group = first; group < end; group++) bounds[group] = this.#firstBound(group);
    this.#refresh(1, chunk);
  }

  #store(group: number, level: number): void {
    this.#levels[0][group] = level;
    this.#refresh(1, group >>> FANOUT_BITS);
  }

  /** Makes the entry, and those above it, the maximum of what they sum up. */
  #refresh(depth: number, index: number): void {
    let entry = index;
    for (let at = depth; at < this.#levels.length; at++) {
      const below = this.#levels[at - 1];
      const end = Math.min((entry + 1) * FANOUT, below.length);
      let maximum = 0;
      for (let child = entry * FANOUT; child < end; child++) if (below[child] > maximum) maximum = below[child];
      if (this.#levels[at][entry] === maximum) return;
      this.#levels[at][entry] = maximum;
      entry = entry >>> FANOUT_BITS;
    }
  }
}
