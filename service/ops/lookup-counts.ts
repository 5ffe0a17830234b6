const SLOTS_MIN = 1024;
/** Multiplier of Fibonacci hashing: 2^32 divided by the golden ratio. */
const SPREAD = 0x9e3779b1;

/**
 * How often the kernel was told about each node and has not forgotten it yet: a hash table with linear probing in
 * typed arrays, because there can be millions and each costs 12 bytes this way.
 */
export class LookupCounts {
  /** Node ids; 0 is an empty slot. */
  #nodes = new Uint32Array(SLOTS_MIN);
  #counts = new Float64Array(SLOTS_MIN);
  #mask = SLOTS_MIN - 1;
  #used = 0;

  get size(): number {
    return this.#used;
  }

  count(nodeId: number): number {
    return this.#counts[this.#slot(nodeId)];
  }

  add(nodeId: number): void {
    const slot = this.#slot(nodeId);
    this.#counts[slot]++;
    if (this.#nodes[slot] !== 0) return;
    this.#nodes[slot] = nodeId;
    this.#used++;
    if (2 * this.#used > this.#mask) this.#resize(2 * (this.#mask + 1));
  }

  /** True when the kernel knows nothing of the node any more. Forgetting more than was told counts as all of it. */
  forget(nodeId: number, lookups: number): boolean {
    const slot = this.#slot(nodeId);
    if (this.#nodes[slot] === 0) return false;
    this.#counts[slot] -= lookups;
    if (this.#counts[slot] > 0) return false;
    this.#vacate(slot);
    if (this.#mask >= SLOTS_MIN && 8 * this.#used < this.#mask) this.#resize((this.#mask + 1) / 2);
    return true;
  }

  /** Where the node is, or the empty slot where it would be. */
  #slot(nodeId: number): number {
    let slot = this.#home(nodeId);
    while (this.#nodes[slot] !== nodeId && this.#nodes[slot] !== 0) slot = (slot + 1) & this.#mask;
    return slot;
  }

  /** The upper half of the product is the better mixed one. */
  #home(nodeId: number): number {
    const product = Math.imul(nodeId, SPREAD);
    return ((product >>> 16) ^ product) & this.#mask;
  }

  /** Moves up those behind that would not be found any more. */
  #vacate(slot: number): void {
    let hole = slot;
    for (let next = (hole + 1) & this.#mask; this.#nodes[next] !== 0; next = (next + 1) & this.#mask) {
      const fromHome = (next - this.#home(this.#nodes[next])) & this.#mask;
      if (fromHome < ((next - hole) & this.#mask)) continue;
      this.#nodes[hole] = this.#nodes[next];
      this.#counts[hole] = this.#counts[next];
      hole = next;
    }
    this.#nodes[hole] = 0;
    this.#counts[hole] = 0;
    this.#used--;
  }

  #resize(slots: number): void {
    const nodes = this.#nodes;
    const counts = this.#counts;
    this.#nodes = new Uint32Array(slots);
    this.#counts = new Float64Array(slots);
    this.#mask = slots - 1;
    for (let old = 0; old < nodes.length; old++) {
      if (nodes[old] === 0) continue;
      const slot = this.#slot(nodes[old]);
      this.#nodes[slot] = nodes[old];
      this.#counts[slot] = counts[old];
    }
  }
}
