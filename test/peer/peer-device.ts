import { peerIo } from './programs.ts';

const BOUNCE_BYTES = 2 ** 20;

/** The peer's own descriptor of the device, past the page cache: mistakes with that become visible. */
export class PeerDevice {
  readonly fd: number;
  readonly sizeBytes: number;
  readonly #bounce = peerIo.alignedBuffer(BOUNCE_BYTES);
  /** Makes an operation fail: returns an errno, or 0. */
  fault: (kind: 'read' | 'write', offsetBytes: number, lengthBytes: number) => number = () => 0;
  reads = 0;
  writes = 0;

  constructor(fd: number, sizeBytes: number) {
    this.fd = fd;
    this.sizeBytes = sizeBytes;
  }

  /** 0 or an errno. Offset and length are of whole sectors. */
  read(offsetBytes: number, into: Uint8Array, start: number, lengthBytes: number): number {
    this.reads++;
    const fault = this.fault('read', offsetBytes, lengthBytes);
    if (fault !== 0) return fault;
    for (let done = 0; done < lengthBytes; done += BOUNCE_BYTES) {
      const piece = Math.min(BOUNCE_BYTES, lengthBytes - done);
      const errno = -peerIo.readAt(this.fd, offsetBytes + done, this.#bounce, 0, piece);
      if (errno !== 0) return errno;
      into.set(this.#bounce.subarray(0, piece), start + done);
    }
    return 0;
  }

  /** A write of pieces of memory that lie behind each other on the device. */
  write(offsetBytes: number, pieces: readonly Uint8Array[]): number {
    this.writes++;
    let lengthBytes = 0;
    for (const piece of pieces) lengthBytes += piece.length;
    const fault = this.fault('write', offsetBytes, lengthBytes);
    if (fault !== 0) return fault;
    let filled = 0;
    let at = offsetBytes;
    for (const piece of pieces) {
      for (let from = 0; from < piece.length; ) {
        const count = Math.min(piece.length - from, BOUNCE_BYTES - filled);
        this.#bounce.set(piece.subarray(from, from + count), filled);
        filled += count;
        from += count;
        if (filled < BOUNCE_BYTES) continue;
        const errno = -peerIo.writeAt(this.fd, at, this.#bounce, 0, filled);
        if (errno !== 0) return errno;
        at += filled;
        filled = 0;
      }
    }
    return filled === 0 ? 0 : -peerIo.writeAt(this.fd, at, this.#bounce, 0, filled);
  }
}
