import { DeviceError, FsError } from './errors.ts';
import type { Inode } from './inode.ts';
import { atomically } from './journal/atomically.ts';
import type { WriteContext } from './write-context.ts';

/** Inodes, about 500 bytes each, that may have times in memory only. */
const PENDING_LIMIT = 4096;
/** How many of them a request writes when there are more: what is read for that keeps the next request waiting. */
const WRITTEN_AT_ONCE = 64;
/** As long as the kernel's dirtytime_expire_seconds. */
const EXPIRE_SECONDS = 12 * 60 * 60;

/**
 * Inodes whose times are newer in memory than on the disk (mount option lazytime). They are written when anything else
 * in the inode is, and at the times that the kernel has for that: fsync, sync, eviction, and after half a day.
 */
export class LazyTimes {
  readonly #ctx: WriteContext;
  readonly #modify: (inode: Inode) => void;
  readonly #report: (error: DeviceError) => void;
  /** By number, those that have waited longest first. */
  readonly #pending = new Map<number, Inode>();
  /** When the first of them was added, or an earlier one. */
  #sinceSec = 0;

  /** `modify`: enters the inode into the open handle. */
  constructor(ctx: WriteContext, modify: (inode: Inode) => void, report: (error: DeviceError) => void) {
    this.#ctx = ctx;
    this.#modify = modify;
    this.#report = report;
  }

  add(inode: Inode): void {
    if (this.#pending.size === 0) this.#sinceSec = this.#ctx.now.sec;
    this.#pending.set(inode.ino, inode);
  }

  find(ino: number): Inode | null {
    return this.#pending.get(ino) ?? null;
  }

  /** The inode is part of a handle that has ended: written, or gone. */
  remove(ino: number): void {
    if (this.#pending.size > 0) this.#pending.delete(ino);
  }

  /** If the inode has such times: as one handle, with others in the same block of the inode table, at no cost. */
  write(ino: number): void {
    const inode = this.#pending.get(ino);
    if (inode === undefined) return;
    const { handle, superblock, geometry } = this.#ctx;
    const first = ino - inode.tableOffset / superblock.inodeSizeBytes;
    atomically(handle, () => {
      for (let index = 0; index < geometry.inodesPerBlock; index++) {
        const neighbour = this.#pending.get(first + index);
        if (neighbour !== undefined) this.#modify(neighbour);
      }
    });
  }

  /** Too many, or for too long. */
  writeDue(): void {
    if (this.#pending.size > PENDING_LIMIT) this.#writeOldest(WRITTEN_AT_ONCE);
    else if (this.#pending.size > 0 && this.#ctx.now.sec - this.#sinceSec >= EXPIRE_SECONDS) this.writeAll();
  }

  writeAll(): void {
    this.#writeOldest(this.#pending.size);
  }

  /** Times whose block fails are given up. When nothing can be written any more, all stay as they are. */
  #writeOldest(count: number): void {
    const oldest = [...this.#pending.keys()].slice(0, count);
    // In the order of the device.
    for (const ino of oldest.sort((one, other) => one - other)) {
      try {
        this.write(ino);
      } catch (error) {
        if (error instanceof FsError) return;
        if (!(error instanceof DeviceError)) throw error;
        this.#pending.delete(ino);
        this.#report(error);
      }
      this.#ctx.cache.beginOperation();
    }
  }
}
