import type { Task } from './connection.ts';
import type { MappingCache } from './mapping-cache.ts';
import type { PageCache } from './page-cache.ts';
import { AttrFlag } from './profile.ts';

/** Many may share it, or one has it alone. */
export class SharedLock {
  #sharers = 0;
  #isExclusive = false;

  *lock(): Task<void> {
    while (this.#isExclusive || this.#sharers > 0) yield 0;
    this.#isExclusive = true;
  }

  unlock(): void {
    this.#isExclusive = false;
  }

  *share(): Task<void> {
    while (this.#isExclusive) yield 0;
    this.#sharers++;
  }

  unshare(): void {
    this.#sharers--;
  }
}

/** What the kernel knows of a file. */
export class PeerInode {
  readonly nodeId: number;
  readonly attrIno: number;
  /** As of the reply that made the kernel know it: they count for as long as it does. */
  readonly flags: number;
  readonly pages: PageCache;
  /** Held by who changes the file, shared by who reads it. */
  readonly lock = new SharedLock();
  /** Held by who takes pages away, shared by who brings some without the other lock. */
  readonly invalidateLock = new SharedLock();
  mode: number;
  size: number;
  /** What the kernel takes to be on the server's disk. */
  diskSize: number;
  /** What the server must have there, after all that it has answered. */
  serverSize: number;
  lookups = 0;
  opens = 0;
  hasName = true;
  cache: MappingCache | null = null;
  timesAreDirty = false;
  knowsCapability = false;
  /** Of a writeback; the next fsync tells. */
  error = 0;
  mtimeSec = 0;

  constructor(nodeId: number, attrIno: number, flags: number, mode: number, size: number, pages: PageCache) {
    this.nodeId = nodeId;
    this.attrIno = attrIno;
    this.flags = flags;
    this.mode = mode;
    this.size = size;
    this.diskSize = size;
    this.serverSize = size;
    this.pages = pages;
  }

  get usesIomap(): boolean {
    return (this.flags & AttrFlag.IOMAP) !== 0;
  }
}
