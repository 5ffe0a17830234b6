import { SpecialInode } from '../../service/ext4/layout/inode.ts';
import type { WritePlan } from '../../service/ext4/planned-write.ts';
import { ROOT_NODE_ID } from '../../service/fuse/abi.ts';
import { KernelCache } from '../../service/fuse/kernel-cache.ts';
import { LateReplies } from '../../service/fuse/late-replies.ts';
import { Session } from '../../service/fuse/session.ts';
import type { DataReader, DataWriter } from '../../service/ops/engine.ts';
import type { IomapSettings } from '../../service/ops/iomap-config.ts';
import { WritableOperations } from '../../service/ops/writable-operations.ts';
import { Errno } from '../../shared/errno.ts';
import { FakeChannel, FuseClient, OFFERED_FLAGS } from './fuse-client.ts';
import { RecordingLog } from './fuse-operations.ts';
import { WritableImage } from './writable-image.ts';

const UNDER_WAY = -1;
/** O_DIRECT as the tests' kernel has it. */
export const DIRECT_FLAG = 0x4000;
/** O_APPEND, everywhere that Node runs. */
export const APPEND_FLAG = 0o2000;

interface WriteUnderWay {
  readonly token: number;
  readonly bytes: Uint8Array;
  readonly segments: Float64Array;
}

/** Writes to an image in memory when the test says so. */
export class SteppedWriter implements DataWriter {
  readonly alignmentBytes = 512;
  readonly #image: Uint8Array;
  readonly underWay: WriteUnderWay[] = [];
  readonly #ended: [token: number, errno: number][] = [];
  /** What the next write to end fails with. */
  nextErrno: number = Errno.OK;

  constructor(image: Uint8Array) {
    this.#image = image;
  }

  write(token: number, bytes: Uint8Array, start: number, plan: WritePlan): number {
    const segments = plan.segments.slice(0, 2 * plan.segmentCount);
    this.underWay.push({ token, bytes: bytes.subarray(start), segments });
    return UNDER_WAY;
  }

  /** Carries out the write that was begun first. */
  endOne(): void {
    const write = this.underWay.shift();
    if (write === undefined) return;
    const errno = this.nextErrno;
    this.nextErrno = Errno.OK;
    for (let index = 0, at = 0; errno === Errno.OK && index < write.segments.length; index += 2) {
      const [offset, length] = write.segments.subarray(index, index + 2);
      this.#image.set(write.bytes.subarray(at, at + length), offset);
      at += length;
    }
    this.#ended.push([write.token, errno]);
  }

  wait(): void {
    if (this.#ended.length === 0) this.endOne();
  }

  takeCompleted(into: Float64Array): number {
    const taken = this.#ended.splice(0, into.length / 2);
    for (const [index, pair] of taken.entries()) into.set(pair, 2 * index);
    return taken.length;
  }
}

/** The image behind a session that writes, after INIT with what a kernel offers. */
export class WritableSession {
  readonly image: WritableImage;
  readonly channel: FakeChannel;
  readonly client: FuseClient;
  readonly writer: SteppedWriter;
  readonly operations: WritableOperations;
  readonly log = new RecordingLog();
  /** How often the end of all reads was waited for. */
  waitsForReads = 0;
  /** Flushes that were asked for; each is to be called with an errno. */
  readonly flushes: ((errno: number) => void)[] = [];
  /** Notifications sent to the kernel, and what to call when it has dealt with them. */
  readonly notifications: { readonly message: Uint8Array; readonly done: (errno: number) => void }[] = [];

  /** `iomap`: as a kernel with iomap is served. What such a kernel sends first is the caller's then. */
  constructor(
    path: string,
    options: { readonly flags?: number; readonly sync?: boolean; readonly iomap?: IomapSettings } = {},
  ) {
    this.image = new WritableImage(path, { onAbort: () => {} });
    this.channel = new FakeChannel(undefined, undefined, 3);
    this.writer = new SteppedWriter(this.image.bytes);
    const reader: DataReader = { read: () => false, waitForReads: () => this.waitsForReads++ };
    let giveBack: (buffer: number) => void = () => {};
    this.operations = new WritableOperations(
      this.image.fs,
      reader,
      this.writer,
      new LateReplies(this.channel),
      new KernelCache((message, done) => this.notifications.push({ message, done })),
      {
        posixAcl: true,
        minixDf: false,
        statistics: () => new Uint8Array(0),
        warn: (text) => this.log.limitedError(text),
        log: this.log,
        sync: options.sync === true,
        dirsync: false,
        directFlag: DIRECT_FLAG,
        appendFlag: APPEND_FLAG,
        giveBack: (buffer) => giveBack(buffer),
        flushDevice: (done) => this.flushes.push(done),
        iomap: options.iomap ?? null,
        endAll: () => Errno.OK,
        discard: (_offset, _length, done) => done(Errno.OK),
      },
    );
    const iomap = options.iomap === undefined ? 'never' : 'require';
    const session = new Session(this.channel, this.operations, {
      ...{ posixAcl: true, writable: true, writebackCache: true, iomap, trace: false, log: this.log },
      rootNodeId: options.iomap === undefined ? ROOT_NODE_ID : SpecialInode.ROOT,
      attributeFlags: (node) => this.operations.attributeFlags(node),
    });
    giveBack = (buffer) => session.giveBack(buffer);
    void session.serve();
    this.client = new FuseClient(this.channel);
    if (options.iomap === undefined) this.client.init(45, options.flags ?? OFFERED_FLAGS);
  }

  /** A write that was begun ends, and is answered. */
  endWrite(): void {
    this.writer.endOne();
    this.operations.finishWrites();
  }

  /** Ends everything and returns the image. */
  close(): Uint8Array {
    this.operations.finish();
    this.image.close();
    return this.image.bytes;
  }
}
