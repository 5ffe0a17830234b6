import { Errno } from '../../shared/errno.ts';
import { ACCESS_IN, InitFlag, IOCTL_IN, OpenFlag } from '../fuse/abi.ts';
import type { Connection } from '../fuse/init.ts';
import type { Reply } from '../fuse/reply.ts';
import type { Request } from '../fuse/request.ts';
import { access, getattr, statx } from './attributes.ts';
import { bmap, lseek, read, readlink } from './data.ts';
import { DirectoryReader } from './directory-read.ts';
import type { DataReader, Engine } from './engine.ts';
import { answerStatistics, ioctl } from './ioctl.ts';
import { IoctlCommand } from './ioctl-commands.ts';
import { lookup } from './lookup.ts';
import type { NodeReferences } from './nodes.ts';
import { statfs } from './statfs.ts';
import { getxattr, listxattr } from './xattr.ts';

export interface ReadSettings {
  /** Mount option acl: show access control lists. */
  readonly posixAcl: boolean;
  /** Mount option minixdf: statfs counts the structures of the file system as space. */
  readonly minixDf: boolean;
  /** What there is to tell of the mount, encoded (see MountStatistics). */
  readonly statistics: () => Uint8Array;
  /** Takes one line about each object that can't be shown. */
  readonly warn: (text: string) => void;
}

/**
 * The operations that change nothing, the same for file systems that are read and those that are written. A node id
 * is an inode number, and there are no file handles.
 */
export class ReadOperations {
  readonly #engine: Engine;
  readonly #data: DataReader;
  readonly #settings: ReadSettings;
  readonly #references: NodeReferences;
  readonly #directories: DirectoryReader;
  #opensAreFree = false;
  #opendirsAreFree = false;

  constructor(engine: Engine, data: DataReader, settings: ReadSettings, references: NodeReferences) {
    this.#engine = engine;
    this.#data = data;
    this.#settings = settings;
    this.#references = references;
    this.#directories = new DirectoryReader(engine, references, settings.warn);
  }

  connected(connection: Connection): void {
    this.#opensAreFree = (connection.flags & InitFlag.NO_OPEN_SUPPORT) !== 0;
    this.#opendirsAreFree = (connection.flags & InitFlag.NO_OPENDIR_SUPPORT) !== 0;
  }

  lookup(request: Request, reply: Reply): number {
    return lookup(this.#engine, this.#references, request, reply);
  }

  getattr(request: Request, reply: Reply): number {
    return getattr(this.#engine, request, reply);
  }

  statx(request: Request, reply: Reply): number {
    return statx(this.#engine, request, reply);
  }

  readlink(request: Request, reply: Reply): number {
    return readlink(this.#engine, request, reply);
  }

  /** ENOSYS, where the kernel understands it, ends all opens and releases, and it keeps its page cache all the same. */
  open(_request: Request, reply: Reply): number {
    if (this.#opensAreFree) return Errno.ENOSYS;
    reply.open(OpenFlag.KEEP_CACHE);
    return Errno.OK;
  }

  /** There are no file handles. */
  release(_request: Request, _reply: Reply): number {
    return Errno.OK;
  }

  /** As `open`; the kernel then caches directory contents by itself. */
  opendir(_request: Request, reply: Reply): number {
    if (this.#opendirsAreFree) return Errno.ENOSYS;
    reply.open(OpenFlag.KEEP_CACHE | OpenFlag.CACHE_DIR);
    return Errno.OK;
  }

  read(request: Request, reply: Reply): number {
    return read(this.#engine, this.#data, request, reply);
  }

  readdir(request: Request, reply: Reply): number {
    return this.#directories.readdir(request, reply);
  }

  readdirplus(request: Request, reply: Reply): number {
    return this.#directories.readdirplus(request, reply);
  }

  statfs(_request: Request, reply: Reply): number {
    return statfs(this.#engine, this.#settings.minixDf, reply);
  }

  getxattr(request: Request, reply: Reply): number {
    return getxattr(this.#engine, this.#settings.posixAcl, request, reply);
  }

  listxattr(request: Request, reply: Reply): number {
    return listxattr(this.#engine, this.#settings.posixAcl, request, reply);
  }

  access(request: Request): number {
    return access(this.#engine, request, request.u32(ACCESS_IN.mask));
  }

  lseek(request: Request, reply: Reply): number {
    return lseek(this.#engine, request, reply);
  }

  ioctl(request: Request, reply: Reply): number {
    if (request.u32(IOCTL_IN.cmd) === IoctlCommand.STATISTICS) {
      return answerStatistics(this.#settings.statistics(), request, reply);
    }
    return ioctl(this.#engine, request, reply);
  }

  bmap(request: Request, reply: Reply): number {
    return bmap(this.#engine, request, reply);
  }
}
