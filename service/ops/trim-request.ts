import { putU64ne, u64ne, viewOf } from '../../shared/bytes.ts';
import { Errno } from '../../shared/errno.ts';
import { Trim } from '../ext4/trim.ts';
import { IOCTL_IN } from '../fuse/abi.ts';
import type { LateReplies } from '../fuse/late-replies.ts';
import { DEFERRED } from '../fuse/operations.ts';
import type { Reply } from '../fuse/reply.ts';
import type { Request } from '../fuse/request.ts';
import type { WritableEngine } from './engine.ts';
import type { FailureHandler } from './failure.ts';
import { ioctlArgument } from './ioctl-commands.ts';

const FSTRIM_RANGE = Object.freeze({ start: 0, len: 8, minlen: 16, SIZE: 24 });
/** Groups gone over before others get their turn. */
const GROUPS_AT_ONCE = 16;

export interface TrimSettings {
  /** Tells the device that nobody needs the range, in bytes of the file system; calls back with an errno. */
  readonly discard: (offsetBytes: number, lengthBytes: number, done: (errno: number) => void) => void;
  readonly onFailure: FailureHandler;
}

/** FITRIM: goes over the free space a few groups at a time, while other requests go on. */
export class TrimRequest {
  readonly #engine: WritableEngine;
  readonly #replies: LateReplies;
  readonly #settings: TrimSettings;
  readonly #trim: Trim;
  readonly #uniqueLow: number;
  readonly #uniqueHigh: number;
  readonly #message: Uint8Array;
  readonly #messageView: DataView;
  readonly #lengthAt: number;
  #discardsUnderWay = 0;
  /** Discards may end before they return. */
  #isTrimming = false;
  #errno: number = Errno.OK;

  /** Answers `request` some time later. */
  static start(
    engine: WritableEngine,
    replies: LateReplies,
    settings: TrimSettings,
    request: Request,
    reply: Reply,
  ): number {
    const at = ioctlArgument(FSTRIM_RANGE.SIZE, request);
    if (at === 0 || request.u32(IOCTL_IN.out_size) < FSTRIM_RANGE.SIZE) return Errno.EINVAL;
    const range = {
      startBytes: u64ne(request.view, at + FSTRIM_RANGE.start),
      lengthBytes: u64ne(request.view, at + FSTRIM_RANGE.len),
      leastBytes: u64ne(request.view, at + FSTRIM_RANGE.minlen),
    };
    const trim = new Trim(engine.geometry, engine.blocks, range);
    const out = reply.ioctl(FSTRIM_RANGE.SIZE);
    reply.bytes.set(request.bytes.subarray(at, at + FSTRIM_RANGE.SIZE), out);
    new TrimRequest(engine, replies, settings, trim, request, reply, out + FSTRIM_RANGE.len).#goOn();
    return DEFERRED;
  }

  private constructor(
    engine: WritableEngine,
    replies: LateReplies,
    settings: TrimSettings,
    trim: Trim,
    request: Request,
    reply: Reply,
    lengthAt: number,
  ) {
    this.#engine = engine;
    this.#replies = replies;
    this.#settings = settings;
    this.#trim = trim;
    this.#uniqueLow = request.uniqueLow;
    this.#uniqueHigh = request.uniqueHigh;
    this.#message = replies.keep(request, reply);
    this.#messageView = viewOf(this.#message);
    this.#lengthAt = lengthAt;
  }

  #goOn(): void {
    let isDone = false;
    try {
      this.#engine.beginRequest(0, 0);
      this.#isTrimming = true;
      isDone = this.#errno !== Errno.OK || !this.#trimSome();
    } catch (error) {
      this.#errno = this.#settings.onFailure('FITRIM', error);
      isDone = true;
    }
    this.#isTrimming = false;
    if (!isDone) return;
    if (this.#discardsUnderWay === 0) this.#answer();
  }

  /** False when all groups were gone over. Otherwise it goes on when the discards have ended. */
  #trimSome(): boolean {
    for (let count = 0; count < GROUPS_AT_ONCE; count++) {
      const runs = this.#trim.nextRuns();
      if (runs === null) return false;
      for (let index = 0; index < runs.length; index += 2) this.#discard(runs[index], runs[index + 1]);
      if (this.#discardsUnderWay > 0) return true;
    }
    setImmediate(() => this.#goOn());
    return true;
  }

  #discard(pblk: number, lenBlocks: number): void {
    const { blockSize } = this.#engine;
    this.#discardsUnderWay++;
    this.#settings.discard(pblk * blockSize, lenBlocks * blockSize, (errno) => {
      this.#engine.blocks.discarded(pblk, lenBlocks);
      if (errno !== Errno.OK && errno !== Errno.EBUSY) this.#errno = errno;
      this.#discardsUnderWay--;
      if (this.#discardsUnderWay === 0 && !this.#isTrimming) setImmediate(() => this.#goOn());
    });
  }

  #answer(): void {
    if (this.#errno !== Errno.OK) {
      this.#replies.answer(this.#uniqueLow, this.#uniqueHigh, this.#errno);
      return;
    }
    putU64ne(this.#messageView, this.#lengthAt, this.#trim.trimmedBytes);
    this.#replies.sendKept(this.#message);
  }
}
