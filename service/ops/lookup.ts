import { Errno } from '../../shared/errno.ts';
import type { Reply } from '../fuse/reply.ts';
import type { Request } from '../fuse/request.ts';
import type { Engine } from './engine.ts';
import { inodeOf, type NodeReferences, namedInode, nodeIdOf } from './nodes.ts';

/** Longest name that a directory entry can hold. */
export const NAME_BYTES_MAX = 255;

const DOT = 0x2e;

/** LOOKUP: a name in a directory, or "." of any node (how the kernel revives a file handle). */
export function lookup(engine: Engine, references: NodeReferences, request: Request, reply: Reply): number {
  const { bytes, nameStart, nameEnd } = request;
  if (nameEnd - nameStart > NAME_BYTES_MAX) return Errno.ENAMETOOLONG;
  const parent = inodeOf(engine, request.nodeId);
  if (isDot(bytes, nameStart, nameEnd)) {
    reply.entry(nodeIdOf(parent.ino), parent, engine.blockSize);
    references.add(request.nodeId);
    return Errno.OK;
  }
  if (!parent.isDirectory) return Errno.ENOTDIR;
  const ino = engine.lookup(parent, bytes, nameStart, nameEnd);
  if (ino === 0) {
    reply.absentEntry();
    return Errno.OK;
  }
  const nodeId = nodeIdOf(ino);
  reply.entry(nodeId, namedInode(engine, ino, parent), engine.blockSize);
  references.add(nodeId);
  return Errno.OK;
}

export function isDot(bytes: Uint8Array, start: number, end: number): boolean {
  return end - start === 1 && bytes[start] === DOT;
}

export function isDotDot(bytes: Uint8Array, start: number, end: number): boolean {
  return end - start === 2 && bytes[start] === DOT && bytes[start + 1] === DOT;
}
