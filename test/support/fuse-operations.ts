import type { Connection } from '../../service/fuse/init.ts';
import type { Handler, IomapOperations, Operations } from '../../service/fuse/operations.ts';
import type { SessionLog } from '../../service/fuse/session.ts';
import { Errno } from '../../shared/errno.ts';

/** Keeps what would be logged. */
export class RecordingLog implements SessionLog {
  readonly lines: string[] = [];
  readonly debugLines: string[] = [];

  error(text: string): void {
    this.lines.push(text);
  }

  limitedError(text: string): void {
    this.lines.push(text);
  }

  debug(text: string): void {
    this.debugLines.push(text);
  }
}

/** Operations that do what the test says: one handler for all, and a record of who was called. */
export class ScriptedOperations implements Operations {
  connection: Connection | null = null;
  readonly calls: string[] = [];
  readonly failures: unknown[] = [];
  begun = 0;
  destroyed = 0;
  handler: Handler = () => Errno.OK;
  afterwards: () => boolean = () => false;
  waitedFor: () => void = () => {
    throw new Error('no buffer was kept');
  };

  connected(connection: Connection): void {
    this.connection = connection;
  }

  beginRequest(): void {
    this.begun++;
  }

  failed(error: unknown): void {
    this.failures.push(error);
  }

  afterRequests(): boolean {
    return this.afterwards();
  }

  waitForBuffer(): void {
    this.waitedFor();
  }

  destroy(): number {
    this.destroyed++;
    return Errno.OK;
  }

  #called(name: string): Handler {
    return (request, reply) => {
      this.calls.push(name);
      return this.handler(request, reply);
    };
  }

  iomap: IomapOperations | null = null;

  readonly lookup = this.#called('lookup');
  readonly getattr = this.#called('getattr');
  readonly statx = this.#called('statx');
  readonly readlink = this.#called('readlink');
  readonly open = this.#called('open');
  readonly release = this.#called('release');
  readonly opendir = this.#called('opendir');
  readonly read = this.#called('read');
  readonly readdir = this.#called('readdir');
  readonly readdirplus = this.#called('readdirplus');
  readonly statfs = this.#called('statfs');
  readonly getxattr = this.#called('getxattr');
  readonly listxattr = this.#called('listxattr');
  readonly access = this.#called('access');
  readonly lseek = this.#called('lseek');
  readonly ioctl = this.#called('ioctl');
  readonly bmap = this.#called('bmap');
  readonly forget = this.#called('forget');
  readonly batchForget = this.#called('batchForget');
  readonly setattr = this.#called('setattr');
  readonly mknod = this.#called('mknod');
  readonly mkdir = this.#called('mkdir');
  readonly symlink = this.#called('symlink');
  readonly create = this.#called('create');
  readonly tmpfile = this.#called('tmpfile');
  readonly link = this.#called('link');
  readonly unlink = this.#called('unlink');
  readonly rmdir = this.#called('rmdir');
  readonly rename = this.#called('rename');
  readonly rename2 = this.#called('rename2');
  readonly write = this.#called('write');
  readonly fallocate = this.#called('fallocate');
  readonly copyFileRange = this.#called('copyFileRange');
  readonly copyFileRange64 = this.#called('copyFileRange64');
  readonly setxattr = this.#called('setxattr');
  readonly removexattr = this.#called('removexattr');
  readonly fsync = this.#called('fsync');
  readonly fsyncdir = this.#called('fsyncdir');
  readonly syncfs = this.#called('syncfs');
}
