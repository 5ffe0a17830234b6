import { Errno } from '../../shared/errno.ts';
import { InodeFlag } from '../ext4/layout/inode.ts';
import { OPEN_IN, OpenFlag } from '../fuse/abi.ts';
import type { KernelCache } from '../fuse/kernel-cache.ts';
import type { LateReplies } from '../fuse/late-replies.ts';
import { DEFERRED } from '../fuse/operations.ts';
import type { Reply } from '../fuse/reply.ts';
import type { Request } from '../fuse/request.ts';
import type { Durability } from './durability.ts';
import type { WritableEngine } from './engine.ts';
import type { FailureHandler } from './failure.ts';
import { changingIoctl } from './ioctl-write.ts';
import { inodeOf } from './nodes.ts';

/** O_WRONLY and O_RDWR: what open(2) has besides reading, which is 0. */
const WRITING = 3;

/**
 * OPEN. The kernel checks permissions, but it knows nothing of the flags "immutable" and "append only", nor that
 * nothing is written any more after an abort. `appendFlag` is O_APPEND.
 */
export function openFile(engine: WritableEngine, appendFlag: number, request: Request, reply: Reply): number {
  const flags = request.u32(OPEN_IN.flags);
  if ((flags & WRITING) !== 0) {
    if (engine.isReadOnly) return Errno.EROFS;
    const inode = inodeOf(engine, request.nodeId);
    if (inode.hasFlag(InodeFlag.IMMUTABLE)) return Errno.EPERM;
    if (inode.hasFlag(InodeFlag.APPEND) && (flags & appendFlag) === 0) return Errno.EPERM;
  }
  reply.open(OpenFlag.KEEP_CACHE);
  return Errno.OK;
}

/**
 * Takes files from their writers where the kernel gathers writes: what it has gathered was written before, and is
 * asked for before the flags change.
 */
export class WriterProtection {
  readonly #engine: WritableEngine;
  readonly #cache: KernelCache;
  readonly #replies: LateReplies;
  readonly #durability: Durability;
  readonly #onFailure: FailureHandler;

  constructor(
    engine: WritableEngine,
    cache: KernelCache,
    replies: LateReplies,
    durability: Durability,
    onFailure: FailureHandler,
  ) {
    this.#engine = engine;
    this.#cache = cache;
    this.#replies = replies;
    this.#durability = durability;
    this.#onFailure = onFailure;
  }

  /** An IOCTL that `takesFromWriters`. */
  begin(request: Request, reply: Reply): number {
    const kept = request.copy();
    reply.ioctl(0);
    const success = this.#replies.keep(request, reply);
    this.#cache.writeBack(request.nodeId, 0, 0, () => {
      const { uniqueLow, uniqueHigh } = kept;
      const errno = this.#carryOut(kept);
      if (errno !== Errno.OK) this.#replies.answer(uniqueLow, uniqueHigh, errno);
      else this.#durability.changedInodeLate(inodeOf(this.#engine, kept.nodeId), success, uniqueLow, uniqueHigh);
    });
    return DEFERRED;
  }

  #carryOut(request: Request): number {
    try {
      this.#engine.beginRequest(request.uid, request.gid);
      return changingIoctl(this.#engine, request);
    } catch (error) {
      return this.#onFailure(`IOCTL on inode ${request.nodeId}`, error);
    }
  }
}
