import type { Connection } from './init.ts';
import type { Reply } from './reply.ts';
import type { Request } from './request.ts';

/**
 * What a handler returns when there is no errno to return: 0 means that the reply is complete, a
 * positive number is the errno to answer with, and DEFERRED that somebody else answers later.
 * Expected refusals are returned like this; thrown errors are for broken metadata and devices.
 */
export const DEFERRED = -1;

/** One request, read from `request` and answered into `reply`. */
export type Handler = (request: Request, reply: Reply) => number;

/** What a kernel with iomap asks for in addition. */
export interface IomapOperations {
  /** How the file system is to be mapped; before all others. */
  readonly config: Handler;
  /** Where a range of a file is, or shall be. */
  readonly begin: Handler;
  /** Data has reached the device, or has not. */
  readonly ioend: Handler;
  freeze(request: Request): number;
  thaw(): number;
  shutdown(): number;
}

/** The file system behind a session, one handler per request that is not the session's own business. */
export interface Operations {
  /** Once, after the kernel and we have agreed on how to talk. */
  connected(connection: Connection): void;
  /** Before each of the handlers below. */
  beginRequest(uid: number, gid: number): void;
  /** A handler has thrown. */
  failed(error: unknown): void;
  /**
   * No requests are waiting, or others may take their turn: time for what nobody waits for. True when there is
   * more of it.
   */
  afterRequests(): boolean;
  /** All request buffers are kept: returns when at least one has been given back to the session. */
  waitForBuffer(): void;
  /** The kernel ends the session; nothing but the end of the connection follows. */
  destroy(request: Request): number;

  /** Null before a connection with iomap is agreed on. */
  readonly iomap: IomapOperations | null;

  readonly lookup: Handler;
  readonly getattr: Handler;
  readonly statx: Handler;
  readonly readlink: Handler;
  readonly open: Handler;
  readonly release: Handler;
  readonly opendir: Handler;
  readonly read: Handler;
  readonly readdir: Handler;
  readonly readdirplus: Handler;
  readonly statfs: Handler;
  readonly getxattr: Handler;
  readonly listxattr: Handler;
  readonly access: Handler;
  readonly lseek: Handler;
  readonly ioctl: Handler;
  readonly bmap: Handler;

  /** FORGET, which has no answer. */
  readonly forget: Handler;
  readonly batchForget: Handler;
  readonly setattr: Handler;
  readonly mknod: Handler;
  readonly mkdir: Handler;
  readonly symlink: Handler;
  readonly create: Handler;
  readonly tmpfile: Handler;
  readonly link: Handler;
  readonly unlink: Handler;
  readonly rmdir: Handler;
  readonly rename: Handler;
  readonly rename2: Handler;
  readonly write: Handler;
  readonly fallocate: Handler;
  readonly copyFileRange: Handler;
  readonly copyFileRange64: Handler;
  readonly setxattr: Handler;
  readonly removexattr: Handler;
  /** FSYNC, FSYNCDIR and SYNCFS. */
  readonly fsync: Handler;
  readonly fsyncdir: Handler;
  readonly syncfs: Handler;
}
