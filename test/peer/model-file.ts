import { FallocateMode } from './file-size.ts';
import { isPattern } from './machine.ts';
import type { PeerInode } from './peer-inode.ts';
import { Violation } from './violation.ts';

/** A file as it must be. */
export class ModelFile {
  readonly name: string;
  content = new Uint8Array(4096);
  size = 0;
  inode: PeerInode | null = null;

  constructor(name: string) {
    this.name = name;
  }

  get isOpen(): boolean {
    return this.inode !== null && this.inode.opens > 0;
  }

  reserve(size: number): void {
    if (size <= this.content.length) return;
    const grown = new Uint8Array(Math.max(size, 2 * this.content.length));
    grown.set(this.content.subarray(0, this.size));
    this.content = grown;
  }

  write(pos: number, data: Uint8Array): void {
    this.reserve(pos + data.length);
    if (pos > this.size) this.content.fill(0, this.size, pos);
    this.content.set(data, pos);
    this.size = Math.max(this.size, pos + data.length);
  }

  resize(size: number): void {
    this.reserve(size);
    if (size > this.size) this.content.fill(0, this.size, size);
    this.size = size;
  }

  /** What was read from `pos` on must be what the file holds (D-1), and never what nobody has written (D-2). */
  compare(pos: number, found: Uint8Array, how: string): void {
    const expected = this.content.subarray(pos, pos + found.length);
    if (Buffer.compare(found, expected) === 0) return;
    let at = 0;
    while (found[at] === expected[at]) at++;
    const what = `${how} of ${this.name} (inode ${this.inode?.nodeId}): byte ${pos + at} of ${this.size} is`;
    const id = isPattern(found, at - (at % 8)) || isPattern(found, at) ? 'D-2' : 'D-1';
    throw new Violation(id, `${what} ${found[at]} and not ${expected[at]}`);
  }

  /** What a successful fallocate does to the content. */
  allocated(mode: number, offset: number, length: number): void {
    const end = offset + length;
    if ((mode & FallocateMode.KEEP_SIZE) === 0 && end > this.size) this.resize(end);
    if ((mode & (FallocateMode.PUNCH_HOLE | FallocateMode.ZERO_RANGE)) === 0) return;
    this.content.fill(0, Math.min(offset, this.size), Math.min(end, this.size));
  }
}

/** Bytes that differ from one call to the next, none of them zero. */
export function distinctBytes(into: Uint8Array, random: number): Uint8Array {
  for (let at = 0; at < into.length; at++) into[at] = ((random + at * 7) & 0xff) | 1;
  return into;
}
