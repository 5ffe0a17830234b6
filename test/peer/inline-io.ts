import { Errno } from '../../shared/errno.ts';
import type { Connection, Task } from './connection.ts';
import { putU64 } from './mapping.ts';
import type { PeerInode } from './peer-inode.ts';
import { Op } from './wire.ts';

const READ_BYTES = 40;
const WRITE_BYTES = 40;

/** Data that lies in the metadata comes by READ without a handle. An errno; nothing at all is one, too. */
export function* inlineRead(connection: Connection, inode: PeerInode, length: number, into: Uint8Array): Task<number> {
  const body = connection.begin(READ_BYTES);
  body.setUint32(16, length, true);
  const reply = yield* connection.ask(Op.READ, inode.nodeId, READ_BYTES, length);
  if (reply.errno !== 0) return reply.errno === Errno.ENOSYS ? Errno.EIO : reply.errno;
  if (reply.length === 0) return Errno.EIO;
  into.set(reply.bytes.subarray(reply.at, reply.at + reply.length));
  into.fill(0, reply.length, length);
  return 0;
}

/** And goes by WRITE, at once. Bytes written, or a negative errno. */
export function* inlineWrite(connection: Connection, inode: PeerInode, pos: number, data: Uint8Array): Task<number> {
  const body = connection.begin(WRITE_BYTES);
  putU64(body, 8, pos);
  body.setUint32(16, data.length, true);
  connection.bodyBytes.set(data, WRITE_BYTES);
  const reply = yield* connection.ask(Op.WRITE, inode.nodeId, WRITE_BYTES + data.length);
  if (reply.errno !== 0) return -reply.errno;
  const written = reply.view.getUint32(reply.at, true);
  if (pos + written > inode.size) inode.size = pos + written;
  inode.diskSize = Math.max(inode.diskSize, pos + written);
  inode.serverSize = Math.max(inode.serverSize, pos + written);
  const folio = inode.pages.find(0);
  folio?.bytes.set(data.subarray(0, written), pos);
  inode.cache?.drop(0, inode.pages.folioBytes);
  return written;
}
