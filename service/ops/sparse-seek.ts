import { Errno } from '../../shared/errno.ts';
import { LSEEK_IN, SeekWhence } from '../fuse/abi.ts';
import type { KernelCache } from '../fuse/kernel-cache.ts';
import type { LateReplies } from '../fuse/late-replies.ts';
import { DEFERRED } from '../fuse/operations.ts';
import type { Reply } from '../fuse/reply.ts';
import type { Request } from '../fuse/request.ts';
import type { WritableEngine } from './engine.ts';
import type { FailureHandler } from './failure.ts';
import { inodeOf } from './nodes.ts';

/** A file that is written all the time may turn out to have data where there was a hole, again and again. */
const LOOKS_MAX = 8;
const NOTHING = -1;

/**
 * LSEEK for SEEK_DATA and SEEK_HOLE where the kernel gathers writes: what looks like a hole to us may have data in
 * the page cache. So the kernel writes back what it has for the hole before one is reported.
 */
export class SparseSeek {
  readonly #engine: WritableEngine;
  readonly #cache: KernelCache;
  readonly #replies: LateReplies;
  readonly #onFailure: FailureHandler;

  constructor(engine: WritableEngine, cache: KernelCache, replies: LateReplies, onFailure: FailureHandler) {
    this.#engine = engine;
    this.#cache = cache;
    this.#replies = replies;
    this.#onFailure = onFailure;
  }

  lseek(request: Request, reply: Reply): number {
    const whence = request.u32(LSEEK_IN.whence);
    if (whence !== SeekWhence.DATA && whence !== SeekWhence.HOLE) return Errno.EINVAL;
    const inode = inodeOf(this.#engine, request.nodeId);
    const offset = request.u64(LSEEK_IN.offset);
    if (offset > Number.MAX_SAFE_INTEGER) return Errno.ENXIO;
    if (!inode.isRegular && !inode.isDirectory) return Errno.EINVAL;
    const found = this.#find(request.nodeId, offset, whence);
    const isCertain = inode.isDirectory || (whence === SeekWhence.DATA && found === offset);
    if (!isCertain) {
      this.#lookAgain(request.nodeId, offset, whence, found, request.uniqueLow, request.uniqueHigh, 1);
      return DEFERRED;
    }
    if (found === NOTHING) return Errno.ENXIO;
    reply.seekPosition(found);
    return Errno.OK;
  }

  #find(nodeId: number, offset: number, whence: number): number {
    const engine = this.#engine;
    const inode = inodeOf(engine, nodeId);
    if (offset >= inode.sizeBytes) return NOTHING;
    return whence === SeekWhence.DATA ? engine.seekData(inode, offset) : engine.seekHole(inode, offset);
  }

  /** Where the hole ends that an answer of `found` would report; 0: it reaches to the end of the file. */
  #holeLength(nodeId: number, holeStart: number, whence: number, found: number): number {
    const end = whence === SeekWhence.DATA ? found : this.#find(nodeId, holeStart, SeekWhence.DATA);
    return end === NOTHING ? 0 : end - holeStart;
  }

  #lookAgain(
    nodeId: number,
    offset: number,
    whence: number,
    found: number,
    uniqueLow: number,
    uniqueHigh: number,
    looks: number,
  ): void {
    const holeStart = whence === SeekWhence.DATA || found === NOTHING ? offset : found;
    this.#cache.writeBack(nodeId, holeStart, this.#holeLength(nodeId, holeStart, whence, found), () => {
      try {
        this.#engine.beginRequest(0, 0);
        const now = this.#find(nodeId, offset, whence);
        const isSettled = now === found || (whence === SeekWhence.DATA && now !== NOTHING);
        if (isSettled || looks === LOOKS_MAX) this.#answer(now, uniqueLow, uniqueHigh);
        else this.#lookAgain(nodeId, offset, whence, now, uniqueLow, uniqueHigh, looks + 1);
      } catch (error) {
        const errno = this.#onFailure(`LSEEK on inode ${nodeId}`, error);
        this.#replies.answer(uniqueLow, uniqueHigh, errno);
      }
    });
  }

  #answer(found: number, uniqueLow: number, uniqueHigh: number): void {
    if (found === NOTHING) this.#replies.answer(uniqueLow, uniqueHigh, Errno.ENXIO);
    else this.#replies.position(uniqueLow, uniqueHigh, found);
  }
}
