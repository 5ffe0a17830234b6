import { covers, endOf, isWithAddress, type Mapping } from './mapping.ts';

/** What a cached mapping costs of the limit. */
const ENTRY_BYTES = 32;

/**
 * The kernel's copy of a file's mappings: there from the first one that the server brings until the inode is evicted.
 * Whatever changes it gives it a new sequence number, by which users of a mapping notice.
 */
export class MappingCache {
  sequence = 1;
  /** In order, without overlaps. */
  readonly #entries: Mapping[] = [];
  readonly #limitBytes: number;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get entries(): readonly Mapping[] {
    return this.#entries;
  }

  find(pos: number): Mapping | null {
    const entries = this.#entries;
    let low = 0;
    let high = entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (endOf(entries[middle]) <= pos) low = middle + 1;
      else high = middle;
    }
    const found = entries[low];
    return found !== undefined && covers(found, pos) ? { ...found, sequence: this.sequence } : null;
  }

  upsert(mapping: Mapping): void {
    if (this.#entries.length * ENTRY_BYTES > this.#limitBytes) this.#entries.length = 0;
    this.drop(mapping.offset, mapping.length);
    const at = this.#entries.findIndex((entry) => entry.offset > mapping.offset);
    this.#entries.splice(at < 0 ? this.#entries.length : at, 0, mapping);
    this.#merge(at < 0 ? this.#entries.length - 1 : at);
  }

  /** Forgets a range; what sticks out of it stays. */
  drop(offset: number, length: number): void {
    this.sequence++;
    const end = offset + length;
    const entries = this.#entries;
    for (let index = 0; index < entries.length; index++) {
      const entry = entries[index];
      if (endOf(entry) <= offset || entry.offset >= end) continue;
      const rest: Mapping[] = [];
      if (entry.offset < offset) rest.push(part(entry, entry.offset, offset));
      if (endOf(entry) > end) rest.push(part(entry, end, endOf(entry)));
      entries.splice(index, 1, ...rest);
      index += rest.length - 1;
    }
  }

  #merge(at: number): void {
    const entries = this.#entries;
    if (at + 1 < entries.length && continues(entries[at], entries[at + 1])) {
      entries.splice(at, 2, joined(entries[at], entries[at + 1]));
    }
    if (at > 0 && continues(entries[at - 1], entries[at])) {
      entries.splice(at - 1, 2, joined(entries[at - 1], entries[at]));
    }
  }
}

function part(mapping: Mapping, from: number, to: number): Mapping {
  const address = isWithAddress(mapping.type) ? mapping.address + (from - mapping.offset) : mapping.address;
  return { ...mapping, offset: from, length: to - from, address };
}

function continues(left: Mapping, right: Mapping): boolean {
  if (endOf(left) !== right.offset || left.type !== right.type || left.flags !== right.flags) return false;
  if (left.device !== right.device) return false;
  return !isWithAddress(left.type) || left.address + left.length === right.address;
}

const joined = (left: Mapping, right: Mapping): Mapping => ({ ...left, length: left.length + right.length });
