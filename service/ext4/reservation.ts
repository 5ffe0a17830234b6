import type { BlockRun } from './write-context.ts';

/** Files whose next blocks are set aside; the one that went longest without an append loses them first. */
const MAX_RESERVATIONS = 512;

/** Blocks set aside, in memory only, for the next appends to a file or for the small files of a neighbourhood. */
export class Reservation {
  readonly key: number;
  /** The file's block that comes next. */
  lblk: number;
  /** Where it goes. */
  pblk: number;
  lenBlocks: number;

  constructor(key: number, lblk: number, pblk: number, lenBlocks: number) {
    this.key = key;
    this.lblk = lblk;
    this.pblk = pblk;
    this.lenBlocks = lenBlocks;
  }

  holds(lblk: number): boolean {
    return lblk >= this.lblk && lblk < this.lblk + this.lenBlocks;
  }
}

/** Who keeps blocks out of the hands of others. A run lies within one group. */
export interface BlockKeeper {
  setAside(pblk: number, lenBlocks: number): void;
  giveBack(pblk: number, lenBlocks: number): void;
  /** The blocks are about to be allocated: they stay out of reach. */
  use(pblk: number, lenBlocks: number): void;
}

/**
 * The reservations, by their keys, which the caller assigns. What the open handle took from a reservation is free
 * again when the handle is cancelled, so such reservations are then let go as a whole.
 */
export class Reservations {
  readonly #keeper: BlockKeeper;
  /** In the order of their last use. */
  readonly #byKey = new Map<number, Reservation>();
  readonly #usedInHandle: number[] = [];
  #blocks = 0;

  constructor(keeper: BlockKeeper) {
    this.#keeper = keeper;
  }

  /** How many blocks are set aside. */
  get blocks(): number {
    return this.#blocks;
  }

  find(key: number): Reservation | null {
    return this.#byKey.get(key) ?? null;
  }

  /** Replaces the reservation that the key has. */
  set(key: number, lblk: number, pblk: number, lenBlocks: number): void {
    this.drop(key);
    if (this.#byKey.size >= MAX_RESERVATIONS) this.#dropOldest();
    this.#byKey.set(key, new Reservation(key, lblk, pblk, lenBlocks));
    this.#keeper.setAside(pblk, lenBlocks);
    this.#blocks += lenBlocks;
    this.#usedInHandle.push(key);
  }

  /** Takes up to `wantBlocks` from the front for the file's block `lblk`, which the reservation must hold. */
  take(reservation: Reservation, lblk: number, wantBlocks: number, out: BlockRun): void {
    const { key } = reservation;
    if (lblk > reservation.lblk) this.#skip(reservation, lblk - reservation.lblk);
    const count = Math.min(wantBlocks, reservation.lenBlocks);
    out.pblk = reservation.pblk;
    out.lenBlocks = count;
    this.#keeper.use(reservation.pblk, count);
    this.#shorten(reservation, count);
    this.#byKey.delete(key);
    if (reservation.lenBlocks > 0) this.#byKey.set(key, reservation);
    this.#usedInHandle.push(key);
  }

  drop(key: number): void {
    const reservation = this.#byKey.get(key);
    if (reservation === undefined) return;
    this.#byKey.delete(key);
    this.#blocks -= reservation.lenBlocks;
    this.#keeper.giveBack(reservation.pblk, reservation.lenBlocks);
  }

  dropAll(): void {
    for (const key of this.#byKey.keys()) this.drop(key);
  }

  handleEnded(): void {
    this.#usedInHandle.length = 0;
  }

  handleCancelled(): void {
    for (const key of this.#usedInHandle) this.drop(key);
    this.#usedInHandle.length = 0;
  }

  /** The file has left out some blocks; whoever fills the gap later may find them still free. */
  #skip(reservation: Reservation, count: number): void {
    const { pblk } = reservation;
    this.#shorten(reservation, count);
    this.#keeper.giveBack(pblk, count);
  }

  #shorten(reservation: Reservation, count: number): void {
    reservation.lblk += count;
    reservation.pblk += count;
    reservation.lenBlocks -= count;
    this.#blocks -= count;
  }

  #dropOldest(): void {
    for (const key of this.#byKey.keys()) {
      this.drop(key);
      return;
    }
  }
}
