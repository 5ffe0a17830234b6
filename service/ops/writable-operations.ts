import { Errno, errnoOf } from '../../shared/errno.ts';
import { FsError } from '../ext4/errors.ts';
import type { Inode } from '../ext4/inode.ts';
import { isCallers, isMappable } from '../ext4/mappable.ts';
import {
  COPY_FILE_RANGE_IN,
  FALLOCATE_IN,
  FORGET_IN,
  InitFlag,
  IOCTL_IN,
  RENAME_IN,
  SETATTR_IN,
  SetattrValid,
} from '../fuse/abi.ts';
import type { Attributes } from '../fuse/attributes.ts';
import type { Connection } from '../fuse/init.ts';
import type { KernelCache } from '../fuse/kernel-cache.ts';
import type { LateReplies } from '../fuse/late-replies.ts';
import { DEFERRED, type IomapOperations, type Operations } from '../fuse/operations.ts';
import type { Reply } from '../fuse/reply.ts';
import type { Request } from '../fuse/request.ts';
import { errnoOfThrown, type FailureLog } from '../fuse/thrown-errno.ts';
import { RangeCopy } from './copy-range.ts';
import { Durability, type DurabilitySettings } from './durability.ts';
import type { DataReader, DataWriter, WritableEngine } from './engine.ts';
import type { FailureHandler } from './failure.ts';
import { FileWriter, type FileWriterSettings } from './file-writer.ts';
import { forgetBatch } from './forget-batch.ts';
import { IoctlCommand } from './ioctl-commands.ts';
import { changingIoctl, NOT_CHANGING, ROOT_UID, takesFromWriters } from './ioctl-write.ts';
import type { IomapSettings } from './iomap-config.ts';
import { MappedFiles } from './iomap-operations.ts';
import { Namespace } from './namespace.ts';
import { NodeLifetimes } from './node-lifetimes.ts';
import { inodeOf } from './nodes.ts';
import { ReadOperations, type ReadSettings } from './read-operations.ts';
import { setattr } from './set-attributes.ts';
import { SparseSeek } from './sparse-seek.ts';
import { TrimRequest, type TrimSettings } from './trim-request.ts';
import { openFile, WriterProtection } from './writer-protection.ts';
import { removexattr, setxattr } from './xattr-write.ts';

/** How fallocate fails for want of space, or of a block map that can do it. */
const LATE_REFUSALS: ReadonlySet<number> = new Set([Errno.ENOSPC, Errno.EOPNOTSUPP]);
/** Inodes freed before waiting requests get their turn again. */
const EVICTIONS_AT_ONCE = 16;

export interface WritableSettings
  extends ReadSettings,
    DurabilitySettings,
    Omit<FileWriterSettings, 'onFailure'>,
    Omit<TrimSettings, 'onFailure'> {
  readonly log: FailureLog;
  /** O_APPEND of open(2), as the kernel passes it on. */
  readonly appendFlag: number;
  /** For connections with iomap; null when there is none. */
  readonly iomap: IomapSettings | null;
  /** Ends all writing and lets go of the device; nothing can be asked for afterwards. Returns 0 or a positive errno. */
  readonly endAll: () => number;
}

/** The operations of a file system that changes. */
export class WritableOperations extends ReadOperations implements Operations {
  readonly #engine: WritableEngine;
  readonly #settings: WritableSettings;
  readonly #onFailure: FailureHandler;
  readonly #trim: TrimSettings;
  readonly #lifetimes: NodeLifetimes;
  readonly #namespace: Namespace;
  readonly #writer: FileWriter;
  readonly #reader: DataReader;
  readonly #durability: Durability;
  readonly #copy = new RangeCopy();
  readonly #replies: LateReplies;
  readonly #sparseSeek: SparseSeek;
  readonly #protection: WriterProtection;
  /** Files that the kernel reads and writes by itself; null without iomap. */
  #mapped: MappedFiles | null = null;
  #kernelGathersWrites = false;
  #xattrsAreExtended = false;
  #isShutDown = false;
  #isReclaiming = false;

  constructor(
    engine: WritableEngine,
    reader: DataReader,
    writer: DataWriter,
    replies: LateReplies,
    cache: KernelCache,
    settings: WritableSettings,
  ) {
    const lifetimes = new NodeLifetimes();
    const onFailure = (where: string, error: unknown): number => {
      engine.noteError(error);
      return errnoOfThrown(settings.log, where, error);
    };
    super(engine, reader, settings, lifetimes);
    this.#engine = engine;
    this.#settings = settings;
    this.#reader = reader;
    this.#onFailure = onFailure;
    this.#trim = { discard: settings.discard, onFailure };
    this.#replies = replies;
    this.#lifetimes = lifetimes;
    this.#namespace = new Namespace(engine, lifetimes);
    this.#writer = new FileWriter(engine, writer, replies, {
      sync: settings.sync,
      directFlag: settings.directFlag,
      giveBack: settings.giveBack,
      onFailure,
    });
    this.#durability = new Durability(engine, replies, settings);
    engine.reclaimThrough(() => this.#reclaim());
    this.#sparseSeek = new SparseSeek(engine, cache, replies, onFailure);
    this.#protection = new WriterProtection(engine, cache, replies, this.#durability, onFailure);
  }

  override connected(connection: Connection): void {
    super.connected(connection);
    this.#xattrsAreExtended = (connection.flags & InitFlag.SETXATTR_EXT) !== 0;
    this.#kernelGathersWrites = (connection.flags & InitFlag.WRITEBACK_CACHE) !== 0;
    this.#engine.caller.tellsFileTimes = this.#kernelGathersWrites;
    if (connection.iomap && this.#settings.iomap !== null) this.#handOver(this.#settings.iomap);
  }

  /** The kernel does by itself whatever it can do with files. */
  #handOver(settings: IomapSettings): void {
    const { caller } = this.#engine;
    caller.ownsFiles = true;
    caller.tellsFileTimes = true;
    this.#mapped = new MappedFiles(this.#engine, {
      ...settings,
      warn: this.#settings.warn,
      onFailure: this.#onFailure,
      shutDown: () => this.#shutDown(),
    });
  }

  get iomap(): IomapOperations | null {
    return this.#mapped;
  }

  /** AttributeFlag bits. */
  attributeFlags(node: Attributes): number {
    return this.#mapped === null ? 0 : MappedFiles.attributeFlags(node);
  }

  /** The file's data is the kernel's business. */
  #isMapped(inode: Inode): boolean {
    return this.#mapped !== null && isMappable(inode);
  }

  beginRequest(uid: number, gid: number): void {
    if (this.#isShutDown) throw new FsError(Errno.EIO, 'the file system was shut down');
    this.#engine.beginRequest(uid, gid);
  }

  failed(error: unknown): void {
    this.#engine.noteError(error);
  }

  /** Frees inodes that the kernel has forgotten. */
  afterRequests(): boolean {
    if (this.#mapped?.isFrozen === true) return false;
    for (let count = 0; count < EVICTIONS_AT_ONCE && this.#lifetimes.hasEnded; count++) this.#evictOne();
    return this.#lifetimes.hasEnded;
  }

  /** Somebody lacks space in the middle of a request; what has been deleted before it may not be freed yet. */
  #reclaim(): boolean {
    if (this.#isReclaiming || !this.#lifetimes.hasEnded) return false;
    const { caller } = this.#engine;
    const { uid, gid } = caller;
    this.#isReclaiming = true;
    while (this.#lifetimes.hasEnded) this.#evictOne();
    this.#isReclaiming = false;
    caller.uid = uid;
    caller.gid = gid;
    return true;
  }

  waitForBuffer(): void {
    this.#writer.waitForOne();
  }

  /** Threads have written data. */
  finishWrites(): void {
    this.#writer.finishCompleted();
  }

  /** The kernel uses nothing any more: waits for what is under way, and frees what has no name. */
  finish(): void {
    this.#writer.waitForAll();
    this.#mapped?.finish();
    this.#lifetimes.endAll();
    while (this.#lifetimes.hasEnded) this.#evictOne();
  }

  destroy(request: Request): number {
    // The kernel answers umount(2) when we answer this, and somebody else may open the device then.
    if (this.#mapped !== null) return this.#settings.endAll();
    this.finish();
    return this.#durability.syncfs(request);
  }

  #evictOne(): void {
    const ino = this.#lifetimes.takeEnded();
    try {
      this.#writer.waitFor(ino);
      this.#engine.beginRequest(0, 0);
      this.#engine.evict(ino);
    } catch (error) {
      // It stays an orphan, which the next mount will free.
      this.#onFailure(`freeing inode ${ino}`, error);
    }
  }

  /**
   * Blocks of a file may be about to be freed or moved: no data is on its way to them then, nor from them, for soon
   * they may be another file's. Reads of all files are waited for; an inode that is evicted has none.
   */
  #waitForData(nodeId: number): void {
    this.#writer.waitFor(inodeOf(this.#engine, nodeId).ino);
    this.#reader.waitForReads();
  }

  forget(request: Request): number {
    this.#lifetimes.forget(request.nodeId, request.u64(FORGET_IN.nlookup));
    return Errno.OK;
  }

  batchForget(request: Request): number {
    forgetBatch(this.#lifetimes, request);
    return Errno.OK;
  }

  override read(request: Request, reply: Reply): number {
    if (this.#mapped?.isInline(request) === true) return this.#mapped.readInline(request, reply);
    return this.#accessed(super.read(request, reply), request);
  }

  override readlink(request: Request, reply: Reply): number {
    return this.#accessed(super.readlink(request, reply), request);
  }

  override readdir(request: Request, reply: Reply): number {
    return this.#accessed(super.readdir(request, reply), request);
  }

  override readdirplus(request: Request, reply: Reply): number {
    return this.#accessed(super.readdirplus(request, reply), request);
  }

  /** What was read is good, whether the time can be kept or not. */
  #accessed(errno: number, { nodeId }: Request): number {
    if (errno !== Errno.OK && errno !== DEFERRED) return errno;
    try {
      const inode = inodeOf(this.#engine, nodeId);
      if (!isCallers(this.#engine, inode)) this.#engine.touchAccessTime(inode);
    } catch (error) {
      this.#onFailure(`access time of inode ${nodeId}`, error);
    }
    return errno;
  }

  setattr(request: Request, reply: Reply): number {
    if ((request.u32(SETATTR_IN.valid) & SetattrValid.SIZE) !== 0) this.#waitForData(request.nodeId);
    return this.#changedInode(setattr(this.#engine, request, reply), request, reply);
  }

  mknod(request: Request, reply: Reply): number {
    return this.#changedDirectory(this.#namespace.mknod(request, reply), request, reply);
  }

  mkdir(request: Request, reply: Reply): number {
    return this.#changedDirectory(this.#namespace.mkdir(request, reply), request, reply);
  }

  symlink(request: Request, reply: Reply): number {
    return this.#changedDirectory(this.#namespace.symlink(request, reply), request, reply);
  }

  create(request: Request, reply: Reply): number {
    const errno = this.#namespace.create(request, reply);
    if (errno === Errno.OK) this.#mapped?.openedNew(reply);
    return this.#changedDirectory(errno, request, reply);
  }

  override open(request: Request, reply: Reply): number {
    const errno = openFile(this.#engine, this.#settings.appendFlag, request, reply);
    if (errno === Errno.OK) this.#mapped?.opened(request);
    return errno;
  }

  /** There are no file handles to release; with iomap, opens are counted. */
  override release(request: Request): number {
    return this.#mapped === null ? Errno.OK : this.#mapped.release(request);
  }

  tmpfile(request: Request, reply: Reply): number {
    const errno = this.#namespace.tmpfile(request, reply);
    if (errno === Errno.OK) this.#mapped?.openedNew(reply);
    return errno;
  }

  link(request: Request, reply: Reply): number {
    return this.#changedDirectory(this.#namespace.link(request, reply), request, reply);
  }

  unlink(request: Request, reply: Reply): number {
    return this.#changedDirectory(this.#namespace.unlink(request), request, reply);
  }

  rmdir(request: Request, reply: Reply): number {
    return this.#changedDirectory(this.#namespace.rmdir(request), request, reply);
  }

  rename(request: Request, reply: Reply): number {
    return this.#renamed(this.#namespace.rename(request), request, reply);
  }

  rename2(request: Request, reply: Reply): number {
    return this.#renamed(this.#namespace.rename2(request), request, reply);
  }

  write(request: Request, reply: Reply): number {
    // No file of the kernel's is ever shown as one that is written like this.
    if (this.#isMapped(inodeOf(this.#engine, request.nodeId))) return Errno.EIO;
    return this.#changedInode(this.#writer.write(request, reply), request, reply);
  }

  fallocate(request: Request, reply: Reply): number {
    const inode = inodeOf(this.#engine, request.nodeId);
    const offset = request.u64(FALLOCATE_IN.offset);
    const length = request.u64(FALLOCATE_IN.length);
    if (offset + length > Number.MAX_SAFE_INTEGER) return Errno.EFBIG;
    this.#waitForData(request.nodeId);
    this.#engine.files.keepSurplus(inode);
    try {
      this.#engine.fallocate(inode, request.u32(FALLOCATE_IN.mode), offset, length);
    } catch (error) {
      // Only what is refused at the first look leaves set-user-ID alone.
      if (LATE_REFUSALS.has(errnoOf(error))) this.#changedBy(inode, request.uid);
      throw error;
    }
    this.#changedBy(inode, request.uid);
    return this.#changedInode(Errno.OK, request, reply);
  }

  /** The kernel takes set-user-ID from its files by itself. */
  #changedBy(inode: Inode, uid: number): void {
    if (!this.#isMapped(inode)) this.#writer.changedBy(inode, uid);
  }

  copyFileRange(request: Request, reply: Reply): number {
    return this.#copyRange(request, reply, (bytes) => reply.written(bytes));
  }

  copyFileRange64(request: Request, reply: Reply): number {
    return this.#copyRange(request, reply, (bytes) => reply.copied(bytes));
  }

  #copyRange(request: Request, reply: Reply, answer: (copiedBytes: number) => void): number {
    // The kernel copies by itself then, and only that keeps its page cache in step.
    if (this.#mapped !== null) return Errno.ENOSYS;
    const errno = this.#copy.run(this.#engine, this.#writer, request);
    if (errno !== Errno.OK) return errno;
    answer(this.#copy.copiedBytes);
    const to = inodeOf(this.#engine, request.u64(COPY_FILE_RANGE_IN.nodeid_out));
    return this.#durability.changedInode(to, request, reply);
  }

  setxattr(request: Request, reply: Reply): number {
    const errno = setxattr(this.#engine, this.#settings.posixAcl, this.#xattrsAreExtended, request);
    return this.#changedInode(errno, request, reply);
  }

  removexattr(request: Request, reply: Reply): number {
    return this.#changedInode(removexattr(this.#engine, this.#settings.posixAcl, request), request, reply);
  }

  override ioctl(request: Request, reply: Reply): number {
    if (this.#kernelGathersWrites && this.#mapped === null && takesFromWriters(this.#engine, request)) {
      return this.#protection.begin(request, reply);
    }
    const errno = changingIoctl(this.#engine, request);
    if (errno === Errno.OK) reply.ioctl(0);
    if (errno !== NOT_CHANGING) return this.#changedInode(errno, request, reply);
    switch (request.u32(IOCTL_IN.cmd)) {
      case IoctlCommand.FITRIM:
        if (request.uid !== ROOT_UID) return Errno.EPERM;
        return TrimRequest.start(this.#engine, this.#replies, this.#trim, request, reply);
      case IoctlCommand.SHUTDOWN:
        if (request.uid !== ROOT_UID) return Errno.EPERM;
        reply.ioctl(0);
        return this.#shutDown();
      default:
        return super.ioctl(request, reply);
    }
  }

  /**
   * Everything fails from now on. The command's number says that it has no argument to read, so that how to shut down
   * stays unknown: what has changed is written before.
   */
  #shutDown(): number {
    this.#writer.waitForAll();
    this.#engine.lazyTimes.writeAll();
    const errno = this.#engine.commitNow();
    this.#isShutDown = true;
    this.#engine.abort(Errno.ESHUTDOWN, 'shut down as asked');
    return errno;
  }

  override lseek(request: Request, reply: Reply): number {
    return this.#kernelGathersWrites ? this.#sparseSeek.lseek(request, reply) : super.lseek(request, reply);
  }

  fsync(request: Request): number {
    return this.#durability.fsync(request);
  }

  fsyncdir(request: Request): number {
    return this.#durability.fsync(request);
  }

  syncfs(request: Request): number {
    return this.#durability.syncfs(request);
  }

  #changedDirectory(errno: number, request: Request, reply: Reply): number {
    if (errno !== Errno.OK) return errno;
    const directory = inodeOf(this.#engine, request.nodeId);
    return this.#durability.changedDirectories(directory, directory, request, reply);
  }

  #renamed(errno: number, request: Request, reply: Reply): number {
    if (errno !== Errno.OK) return errno;
    const from = inodeOf(this.#engine, request.nodeId);
    // Both kinds of request have the new parent first.
    const to = inodeOf(this.#engine, request.node(RENAME_IN.newdir));
    return this.#durability.changedDirectories(from, to, request, reply);
  }

  #changedInode(errno: number, request: Request, reply: Reply): number {
    if (errno !== Errno.OK) return errno;
    return this.#durability.changedInode(inodeOf(this.#engine, request.nodeId), request, reply);
  }
}
