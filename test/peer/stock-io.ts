import type { Connection } from './connection.ts';
import { putU64 } from './mapping.ts';
import type { PeerInode } from './peer-inode.ts';
import { Op, SetattrBit } from './wire.ts';

const IO_BYTES = 40;
const SETATTR_BYTES = 88;
const FALLOCATE_BYTES = 32;
const KEEP_SIZE = 1;

/** Files without iomap: every read and write is a request, as with a kernel that caches nothing. */
export class StockIo {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  read(inode: PeerInode, pos: number, into: Uint8Array): number {
    const body = this.#connection.begin(IO_BYTES);
    putU64(body, 8, pos);
    body.setUint32(16, into.length, true);
    const reply = this.#connection.askNow(Op.READ, inode.nodeId, IO_BYTES, into.length);
    if (reply.errno !== 0) return -reply.errno;
    into.set(reply.bytes.subarray(reply.at, reply.at + reply.length));
    return reply.length;
  }

  write(inode: PeerInode, pos: number, data: Uint8Array): number {
    const body = this.#connection.begin(IO_BYTES);
    putU64(body, 8, pos);
    body.setUint32(16, data.length, true);
    this.#connection.bodyBytes.set(data, IO_BYTES);
    const reply = this.#connection.askNow(Op.WRITE, inode.nodeId, IO_BYTES + data.length);
    if (reply.errno !== 0) return -reply.errno;
    const written = reply.view.getUint32(reply.at, true);
    inode.size = Math.max(inode.size, pos + written);
    return written;
  }

  truncate(inode: PeerInode, size: number): number {
    const body = this.#connection.begin(SETATTR_BYTES);
    body.setUint32(0, SetattrBit.SIZE, true);
    putU64(body, 16, size);
    const { errno } = this.#connection.askNow(Op.SETATTR, inode.nodeId, SETATTR_BYTES);
    if (errno === 0) inode.size = size;
    return errno;
  }

  fallocate(inode: PeerInode, mode: number, offset: number, length: number): number {
    const body = this.#connection.begin(FALLOCATE_BYTES);
    putU64(body, 8, offset);
    putU64(body, 16, length);
    body.setUint32(24, mode, true);
    const { errno } = this.#connection.askNow(Op.FALLOCATE, inode.nodeId, FALLOCATE_BYTES);
    if (errno === 0 && (mode & KEEP_SIZE) === 0) inode.size = Math.max(inode.size, offset + length);
    return errno;
  }
}
