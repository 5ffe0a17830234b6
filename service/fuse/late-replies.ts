import { putI32ne, putU32ne, putU64ne, putU64neHalves, viewOf } from '../../shared/bytes.ts';
import { Errno } from '../../shared/errno.ts';
import { ERRNO_LIMIT, LSEEK_OUT, OUT_HEADER, WRITE_OUT } from './abi.ts';
import type { Channel } from './channel.ts';
import type { Reply } from './reply.ts';
import type { Request } from './request.ts';

/**
 * Answers requests whose handlers have returned DEFERRED. A failure to send is of no interest: the requester was
 * interrupted or the mount is gone, and the session will find that out by itself.
 */
export class LateReplies {
  readonly #channel: Channel;
  readonly #bytes = new Uint8Array(OUT_HEADER.SIZE + WRITE_OUT.SIZE);
  readonly #view = viewOf(this.#bytes);

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  /** `errno` 0 is a success without payload. */
  answer(uniqueLow: number, uniqueHigh: number, errno: number): void {
    const valid = errno >= 0 && errno < ERRNO_LIMIT;
    this.#send(uniqueLow, uniqueHigh, valid ? errno : Errno.EIO, OUT_HEADER.SIZE);
  }

  /** Success of a WRITE. */
  written(uniqueLow: number, uniqueHigh: number, sizeBytes: number): void {
    putU64ne(this.#view, OUT_HEADER.SIZE, 0);
    putU32ne(this.#view, OUT_HEADER.SIZE + WRITE_OUT.size, sizeBytes);
    this.#send(uniqueLow, uniqueHigh, Errno.OK, OUT_HEADER.SIZE + WRITE_OUT.SIZE);
  }

  /** Success of an LSEEK. */
  position(uniqueLow: number, uniqueHigh: number, offsetBytes: number): void {
    putU64ne(this.#view, OUT_HEADER.SIZE + LSEEK_OUT.offset, offsetBytes);
    this.#send(uniqueLow, uniqueHigh, Errno.OK, OUT_HEADER.SIZE + LSEEK_OUT.SIZE);
  }

  /** Keeps a reply that is complete but must wait. */
  keep(request: Request, reply: Reply): Uint8Array {
    return reply.bytes.slice(0, reply.finish(request));
  }

  sendKept(message: Uint8Array): void {
    this.#channel.send(message, message.length);
  }

  #send(uniqueLow: number, uniqueHigh: number, errno: number, length: number): void {
    putU32ne(this.#view, OUT_HEADER.len, length);
    putI32ne(this.#view, OUT_HEADER.error, -errno);
    putU64neHalves(this.#view, OUT_HEADER.unique, uniqueHigh, uniqueLow);
    this.#channel.send(this.#bytes, length);
  }
}
