import { Errno } from '../../shared/errno.ts';
import type { Inode } from '../ext4/inode.ts';
import { InodeFlag } from '../ext4/layout/inode.ts';
import { FSYNC_IN, FsyncFlag } from '../fuse/abi.ts';
import type { LateReplies } from '../fuse/late-replies.ts';
import { DEFERRED } from '../fuse/operations.ts';
import type { Reply } from '../fuse/reply.ts';
import type { Request } from '../fuse/request.ts';
import type { WritableEngine } from './engine.ts';
import { inodeOf } from './nodes.ts';

export interface DurabilitySettings {
  /** Mount option sync: every change is on stable storage when it is answered. */
  readonly sync: boolean;
  /** Mount option dirsync: the same for changes of directories. */
  readonly dirsync: boolean;
  /** Makes durable what was written to the device; calls back with an errno. */
  readonly flushDevice: (done: (errno: number) => void) => void;
}

/** Requests that are answered when something is on stable storage. Others go on meanwhile. */
export class Durability {
  readonly #engine: WritableEngine;
  readonly #replies: LateReplies;
  readonly #settings: DurabilitySettings;

  constructor(engine: WritableEngine, replies: LateReplies, settings: DurabilitySettings) {
    this.#engine = engine;
    this.#replies = replies;
    this.#settings = settings;
  }

  /** FSYNC and FSYNCDIR, also of handles opened for reading. */
  fsync(request: Request): number {
    const engine = this.#engine;
    const inode = inodeOf(engine, request.nodeId);
    const dataOnly = (request.u32(FSYNC_IN.fsync_flags) & FsyncFlag.DATA_ONLY) !== 0;
    const answer = this.#answering(request);
    if (!dataOnly && !engine.isReadOnly) engine.lazyTimes.write(inode.ino);
    // After an abort nobody knows what is on the device: that is for `commit` to say.
    if (engine.isReadOnly || engine.needsCommit(inode, dataOnly)) engine.commit(answer);
    else this.#flush(answer);
    return DEFERRED;
  }

  /** SYNCFS, and whatever else wants all of the file system on stable storage. */
  syncfs(request: Request): number {
    this.#engine.lazyTimes.writeAll();
    this.#engine.commit(this.#answering(request));
    return DEFERRED;
  }

  /** The outcome of a request that has changed a directory, or two (the same one twice otherwise). */
  changedDirectories(one: Inode, other: Inode, request: Request, reply: Reply): number {
    const waits = this.#settings.dirsync || this.#settings.sync || isSynchronous(one) || isSynchronous(other);
    return waits ? this.#afterCommit(request, reply) : Errno.OK;
  }

  /** The outcome of a request that has changed an inode otherwise. */
  changedInode(inode: Inode, request: Request, reply: Reply): number {
    return this.#settings.sync || inode.hasFlag(InodeFlag.SYNC) ? this.#afterCommit(request, reply) : Errno.OK;
  }

  /** The same for a request whose answer was kept. */
  changedInodeLate(inode: Inode, message: Uint8Array, uniqueLow: number, uniqueHigh: number): void {
    if (this.#settings.sync || inode.hasFlag(InodeFlag.SYNC)) this.#sendAfterCommit(message, uniqueLow, uniqueHigh);
    else this.#replies.sendKept(message);
  }

  /** A failure is told once, and may be of what others have written: of blocks brought home, of another file's data. */
  #flush(answer: (errno: number) => void): void {
    this.#settings.flushDevice((errno) => {
      if (errno !== Errno.OK) this.#engine.abort(errno, 'flushing the device');
      answer(errno);
    });
  }

  #afterCommit(request: Request, reply: Reply): number {
    this.#sendAfterCommit(this.#replies.keep(request, reply), request.uniqueLow, request.uniqueHigh);
    return DEFERRED;
  }

  #sendAfterCommit(message: Uint8Array, uniqueLow: number, uniqueHigh: number): void {
    this.#engine.commit((errno) => {
      if (errno === Errno.OK) this.#replies.sendKept(message);
      else this.#replies.answer(uniqueLow, uniqueHigh, errno);
    });
  }

  #answering(request: Request): (errno: number) => void {
    const { uniqueLow, uniqueHigh } = request;
    return (errno) => this.#replies.answer(uniqueLow, uniqueHigh, errno);
  }
}

const isSynchronous = (directory: Inode): boolean => directory.hasFlag(InodeFlag.DIRSYNC | InodeFlag.SYNC);
