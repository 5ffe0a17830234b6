/** Blocks freed by one transaction, as pairs (first block, count), flattened. */
class FreedRuns {
  readonly runs: number[] = [];
  blocks = 0;
}

/** Blocks freed by transactions that have not committed: a crash would give them back to their old owners. */
export class PendingFrees {
  readonly #transactions = new Map<number, FreedRuns>();
  #running: FreedRuns | null = null;
  #runningSequence = 0;
  /** Length of the running transaction's list when the open handle began. */
  #mark = 0;
  #blocks = 0;

  /** How many blocks wait for a commit. */
  get blocks(): number {
    return this.#blocks;
  }

  add(sequence: number, pblk: number, lenBlocks: number): void {
    const freed = this.#freedIn(sequence);
    const { runs } = freed;
    const last = runs.length - 2;
    if (last >= this.#mark && runs[last] + runs[last + 1] === pblk) {
      runs[last + 1] += lenBlocks;
    } else if (last >= this.#mark && pblk + lenBlocks === runs[last]) {
      runs[last] = pblk;
      runs[last + 1] += lenBlocks;
    } else {
      runs.push(pblk, lenBlocks);
    }
    freed.blocks += lenBlocks;
    this.#blocks += lenBlocks;
  }

  handleEnded(): void {
    this.#mark = this.#running === null ? 0 : this.#running.runs.length;
  }

  /** Takes back what the open handle has added and returns it, as pairs. */
  takeHandle(): number[] {
    const freed = this.#running;
    if (freed === null || freed.runs.length === this.#mark) return [];
    const runs = freed.runs.splice(this.#mark);
    this.#account(freed, runs);
    return runs;
  }

  /** Removes what the transactions up to `sequence` freed and hands each run to `take`. */
  takeCommitted(sequence: number, take: (pblk: number, lenBlocks: number) => void): void {
    for (const [number, freed] of this.#transactions) {
      if (number > sequence) continue;
      this.#transactions.delete(number);
      if (freed === this.#running) this.#running = null;
      this.#blocks -= freed.blocks;
      const { runs } = freed;
      for (let index = 0; index < runs.length; index += 2) take(runs[index], runs[index + 1]);
    }
  }

  #freedIn(sequence: number): FreedRuns {
    if (this.#running !== null && this.#runningSequence === sequence) return this.#running;
    const freed = new FreedRuns();
    this.#running = freed;
    this.#runningSequence = sequence;
    this.#transactions.set(sequence, freed);
    this.#mark = 0;
    return freed;
  }

  #account(freed: FreedRuns, runs: readonly number[]): void {
    for (let index = 1; index < runs.length; index += 2) {
      freed.blocks -= runs[index];
      this.#blocks -= runs[index];
    }
  }
}
