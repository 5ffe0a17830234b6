import { Errno } from '../../shared/errno.ts';
import type { Inode } from '../ext4/inode.ts';
import { FileType } from '../ext4/layout/inode.ts';
import { CREATE_IN, LINK_IN, MKDIR_IN, MKNOD_IN, OpenFlag, RENAME_IN, RENAME2_IN } from '../fuse/abi.ts';
import type { Reply } from '../fuse/reply.ts';
import type { Request } from '../fuse/request.ts';
import type { WritableEngine } from './engine.ts';
import { NAME_BYTES_MAX } from './lookup.ts';
import type { NodeLifetimes } from './node-lifetimes.ts';
import { inodeOf, nodeIdOf } from './nodes.ts';

/** Longest text of a symbolic link: a page without the NUL. */
const TARGET_BYTES_MAX = 4095;

/** Requests that change directories. The kernel has checked permissions and that names are free or taken. */
export class Namespace {
  readonly #engine: WritableEngine;
  readonly #lifetimes: NodeLifetimes;

  constructor(engine: WritableEngine, lifetimes: NodeLifetimes) {
    this.#engine = engine;
    this.#lifetimes = lifetimes;
  }

  /** CREATE: MKNOD of a regular file that is opened at once. */
  create(request: Request, reply: Reply): number {
    if (isNameTooLong(request)) return Errno.ENAMETOOLONG;
    const engine = this.#engine;
    const inode = engine.createNode(
      inodeOf(engine, request.nodeId),
      request.bytes,
      request.nameStart,
      request.nameEnd,
      FileType.REGULAR | (request.u32(CREATE_IN.mode) & ~FileType.MASK),
      this.#umask(request.u32(CREATE_IN.umask)),
      0,
      0,
    );
    const nodeId = nodeIdOf(inode.ino);
    this.#lifetimes.add(nodeId);
    reply.entryAndOpen(nodeId, inode, engine.blockSize, OpenFlag.KEEP_CACHE);
    return Errno.OK;
  }

  mknod(request: Request, reply: Reply): number {
    if (isNameTooLong(request)) return Errno.ENAMETOOLONG;
    const engine = this.#engine;
    const rdev = request.u32(MKNOD_IN.rdev);
    const inode = engine.createNode(
      inodeOf(engine, request.nodeId),
      request.bytes,
      request.nameStart,
      request.nameEnd,
      request.u32(MKNOD_IN.mode),
      this.#umask(request.u32(MKNOD_IN.umask)),
      deviceMajor(rdev),
      deviceMinor(rdev),
    );
    return this.#entry(inode, reply);
  }

  mkdir(request: Request, reply: Reply): number {
    if (isNameTooLong(request)) return Errno.ENAMETOOLONG;
    const engine = this.#engine;
    const inode = engine.makeDirectory(
      inodeOf(engine, request.nodeId),
      request.bytes,
      request.nameStart,
      request.nameEnd,
      request.u32(MKDIR_IN.mode),
      this.#umask(request.u32(MKDIR_IN.umask)),
    );
    return this.#entry(inode, reply);
  }

  symlink(request: Request, reply: Reply): number {
    const target = request.second();
    if (isNameTooLong(request) || target.length > TARGET_BYTES_MAX) return Errno.ENAMETOOLONG;
    const engine = this.#engine;
    const parent = inodeOf(engine, request.nodeId);
    return this.#entry(engine.makeSymlink(parent, request.bytes, request.nameStart, request.nameEnd, target), reply);
  }

  /** There are no file handles: what is opened is known by its node until FORGET. */
  tmpfile(request: Request, reply: Reply): number {
    const engine = this.#engine;
    const parent = inodeOf(engine, request.nodeId);
    const inode = engine.makeTemporary(parent, request.u32(CREATE_IN.mode), this.#umask(request.u32(CREATE_IN.umask)));
    const nodeId = nodeIdOf(inode.ino);
    this.#lifetimes.add(nodeId);
    this.#lifetimes.unnamed(inode);
    reply.entryAndOpen(nodeId, inode, engine.blockSize, OpenFlag.KEEP_CACHE);
    return Errno.OK;
  }

  link(request: Request, reply: Reply): number {
    if (isNameTooLong(request)) return Errno.ENAMETOOLONG;
    const engine = this.#engine;
    const inode = inodeOf(engine, request.u64(LINK_IN.oldnodeid));
    engine.link(inode, inodeOf(engine, request.nodeId), request.bytes, request.nameStart, request.nameEnd);
    this.#lifetimes.named(inode);
    return this.#entry(inode, reply);
  }

  unlink(request: Request): number {
    if (isNameTooLong(request)) return Errno.ENAMETOOLONG;
    const engine = this.#engine;
    const parent = inodeOf(engine, request.nodeId);
    this.#lifetimes.unnamed(engine.unlink(parent, request.bytes, request.nameStart, request.nameEnd));
    return Errno.OK;
  }

  rmdir(request: Request): number {
    if (isNameTooLong(request)) return Errno.ENAMETOOLONG;
    const engine = this.#engine;
    const parent = inodeOf(engine, request.nodeId);
    this.#lifetimes.unnamed(engine.removeDirectory(parent, request.bytes, request.nameStart, request.nameEnd));
    return Errno.OK;
  }

  rename(request: Request): number {
    return this.#rename(request, request.node(RENAME_IN.newdir), 0);
  }

  rename2(request: Request): number {
    return this.#rename(request, request.node(RENAME2_IN.newdir), request.u32(RENAME2_IN.flags));
  }

  #rename(request: Request, newParentId: number, flags: number): number {
    if (isNameTooLong(request) || request.secondEnd - request.secondStart > NAME_BYTES_MAX) return Errno.ENAMETOOLONG;
    const engine = this.#engine;
    const { bytes } = request;
    const victim = engine.rename(
      inodeOf(engine, request.nodeId),
      bytes,
      request.nameStart,
      request.nameEnd,
      inodeOf(engine, newParentId),
      bytes,
      request.secondStart,
      request.secondEnd,
      flags,
    );
    if (victim !== null) this.#lifetimes.unnamed(victim);
    return Errno.OK;
  }

  /** What a new file's mode loses; nothing when the kernel has applied it. */
  #umask(umask: number): number {
    return this.#engine.caller.ownsFiles === true ? 0 : umask;
  }

  #entry(inode: Inode, reply: Reply): number {
    const nodeId = nodeIdOf(inode.ino);
    this.#lifetimes.add(nodeId);
    reply.entry(nodeId, inode, this.#engine.blockSize);
    return Errno.OK;
  }
}

const isNameTooLong = (request: Request): boolean => request.nameEnd - request.nameStart > NAME_BYTES_MAX;

/** The kernel's 32-bit device number: 12 bits of major between 8 low and 12 high bits of minor. */
const deviceMajor = (rdev: number): number => (rdev >>> 8) & 0xfff;
const deviceMinor = (rdev: number): number => (rdev & 0xff) | ((rdev >>> 12) & 0xfff00);
