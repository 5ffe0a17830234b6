import { compiledTool } from './compiled-tool.ts';
import { run } from './test-room.ts';

/** A path or a value; strings are UTF-8. */
export type Bytes = string | Buffer;

const hex = (value: Bytes) => Buffer.from(value).toString('hex') || '-';

/** A list of file system operations that one C program performs in one go (file-operations.c). */
export class OperationScript {
  readonly #lines: string[] = [];

  /** Operations that the file system may refuse: too large for its limits, or a feature that it lacks. */
  mayFail(add: (script: OperationScript) => void): this {
    const script = new OperationScript();
    add(script);
    for (const line of script.#lines) this.#lines.push(`?${line}`);
    return this;
  }

  run(root: string): void {
    run(compiledTool('file-operations'), [root], `${this.#lines.join('\n')}\n`);
  }

  mkdir(path: Bytes, mode = 0o755): this {
    return this.#add('mkdir', hex(path), mode);
  }

  rmdir(path: Bytes): this {
    return this.#add('rmdir', hex(path));
  }

  /** Seeded random bytes. */
  write(path: Bytes, offset: number, length: number, seed: number): this {
    return this.#add('write', hex(path), offset, length, seed);
  }

  text(path: Bytes, offset: number, value: Bytes): this {
    return this.#add('text', hex(path), offset, hex(value));
  }

  /** Blocks that begin with the magic number of journal blocks. */
  journalMagic(path: Bytes, blockBytes: number, count: number, seed: number): this {
    return this.#add('journal-magic', hex(path), blockBytes, count, seed);
  }

  /** One block at each multiple of the stride. */
  stripes(path: Bytes, blockBytes: number, count: number, strideBytes: number, seed: number): this {
    return this.#add('stripes', hex(path), blockBytes, count, strideBytes, seed);
  }

  punches(path: Bytes, blockBytes: number, count: number, strideBytes: number): this {
    return this.#add('punches', hex(path), blockBytes, count, strideBytes);
  }

  fallocate(path: Bytes, mode: number, offset: number, length: number): this {
    return this.#add('fallocate', hex(path), mode, offset, length);
  }

  truncate(path: Bytes, length: number): this {
    return this.#add('truncate', hex(path), length);
  }

  symlink(path: Bytes, target: Bytes): this {
    return this.#add('symlink', hex(path), hex(target));
  }

  /** mode with the S_IFMT type. */
  node(path: Bytes, mode: number, major = 0, minor = 0): this {
    return this.#add('node', hex(path), mode, major, minor);
  }

  link(from: Bytes, to: Bytes): this {
    return this.#add('link', hex(from), hex(to));
  }

  rename(from: Bytes, to: Bytes): this {
    return this.#add('rename', hex(from), hex(to));
  }

  unlink(path: Bytes): this {
    return this.#add('unlink', hex(path));
  }

  chmod(path: Bytes, mode: number): this {
    return this.#add('chmod', hex(path), mode);
  }

  chown(path: Bytes, uid: number, gid: number): this {
    return this.#add('chown', hex(path), uid, gid);
  }

  times(path: Bytes, atime: readonly [number, number], mtime: readonly [number, number]): this {
    return this.#add('times', hex(path), ...atime, ...mtime);
  }

  xattr(path: Bytes, name: Bytes, value: Bytes): this {
    return this.#add('xattr', hex(path), hex(name), hex(value));
  }

  xattrRandom(path: Bytes, name: Bytes, length: number, seed: number): this {
    return this.#add('xattr-random', hex(path), hex(name), length, seed);
  }

  xattrRemove(path: Bytes, name: Bytes): this {
    return this.#add('xattr-remove', hex(path), hex(name));
  }

  /** Adds FS_*_FL flags. */
  flags(path: Bytes, flags: number): this {
    return this.#add('flags', hex(path), flags);
  }

  /** Hard links PREFIX0, PREFIX1 ... to SOURCE0 ... in turn. */
  links(prefix: Bytes, count: number, sources: number, sourcePrefix: Bytes): this {
    return this.#add('links', hex(prefix), count, sources, hex(sourcePrefix));
  }

  /** Small files PREFIX0, PREFIX1 ... */
  files(prefix: Bytes, count: number): this {
    return this.#add('files', hex(prefix), count);
  }

  unlinks(prefix: Bytes, from: number, to: number, step: number): this {
    return this.#add('unlinks', hex(prefix), from, to, step);
  }

  sync(): this {
    return this.#add('sync');
  }

  /** Commits the running transaction, without writing metadata home as sync does. */
  fsync(path: Bytes): this {
    return this.#add('fsync', hex(path));
  }

  #add(...words: (string | number)[]): this {
    this.#lines.push(words.join(' '));
    return this;
  }
}
