import { Errno } from '../../shared/errno.ts';
import type { Handler, Operations } from '../fuse/operations.ts';
import type { DataReader, Engine } from './engine.ts';
import { ReadOperations, type ReadSettings } from './read-operations.ts';

/** Nothing can change, so nothing depends on what the kernel knows. */
const NOT_COUNTED = Object.freeze({ add: (): void => {} });

const refuse: Handler = () => Errno.EROFS;
const nothingToDo: Handler = () => Errno.OK;

/** The operations of a file system that nobody changes. They keep no state at all. */
export class ReadOnlyOperations extends ReadOperations implements Operations {
  readonly #engine: Engine;

  constructor(engine: Engine, data: DataReader, settings: ReadSettings) {
    super(engine, data, settings, NOT_COUNTED);
    this.#engine = engine;
  }

  beginRequest(): void {
    this.#engine.beginOperation();
  }

  /** Nothing can be noted in what is only read. */
  failed(): void {}

  afterRequests(): boolean {
    return false;
  }

  /** No request is ever kept. */
  waitForBuffer(): void {}

  destroy(): number {
    return Errno.OK;
  }

  readonly iomap = null;
  readonly forget = nothingToDo;
  readonly batchForget = nothingToDo;
  readonly fsync = nothingToDo;
  readonly fsyncdir = nothingToDo;
  readonly syncfs = nothingToDo;

  readonly setattr = refuse;
  readonly mknod = refuse;
  readonly mkdir = refuse;
  readonly symlink = refuse;
  readonly create = refuse;
  readonly tmpfile = refuse;
  readonly link = refuse;
  readonly unlink = refuse;
  readonly rmdir = refuse;
  readonly rename = refuse;
  readonly rename2 = refuse;
  readonly write = refuse;
  readonly fallocate = refuse;
  readonly copyFileRange = refuse;
  readonly copyFileRange64 = refuse;
  readonly setxattr = refuse;
  readonly removexattr = refuse;
}
