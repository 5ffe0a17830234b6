import type { Task } from './connection.ts';

interface Claim {
  readonly isMapped: boolean;
  readonly from: number;
  readonly to: number;
}

/**
 * Keeps stores through a mapping apart from other operations on the same bytes. Such stores take no lock of the file,
 * so that they come between the parts of a read or write, and nobody can say what is right then. Next to each other,
 * within one folio or one block, both go on at the same time.
 */
export class RangeClaims {
  readonly #active = new Set<Claim>();

  /** Runs `task` with the bytes [from, to) kept from operations of the other kind. */
  *during<T>(isMapped: boolean, from: number, to: number, task: Task<T>): Task<T> {
    while (this.#isTaken(isMapped, from, to)) yield 0;
    const claim = { isMapped, from, to };
    this.#active.add(claim);
    try {
      return yield* task;
    } finally {
      this.#active.delete(claim);
    }
  }

  #isTaken(isMapped: boolean, from: number, to: number): boolean {
    for (const claim of this.#active) {
      if (claim.isMapped !== isMapped && claim.from < to && from < claim.to) return true;
    }
    return false;
  }
}
