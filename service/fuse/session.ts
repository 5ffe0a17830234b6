import { Errno, errnoName, SystemError } from '../../shared/errno.ts';
import { IN_HEADER, Opcode } from './abi.ts';
import type { Attributes } from './attributes.ts';
import type { Channel } from './channel.ts';
import { type ConnectionWishes, negotiate, requestBufferSuffices } from './init.ts';
import { Names, OPCODES, type OpcodeRow, opcodeSlot } from './opcode-table.ts';
import { DEFERRED, type Operations } from './operations.ts';
import { Reply } from './reply.ts';
import { Request } from './request.ts';
import { errnoOfThrown, type FailureLog } from './thrown-errno.ts';

/** Where a session's messages go. */
export interface SessionLog extends FailureLog {
  error(text: string): void;
  debug(text: string): void;
}

export interface SessionSettings extends ConnectionWishes {
  /** A debug line for each request. */
  readonly trace: boolean;
  readonly log: SessionLog;
  /** The node id that the mount gives its root, unless it is the usual one. */
  readonly rootNodeId?: number;
  /** AttributeFlag bits of an inode; none unless told. */
  readonly attributeFlags?: (node: Attributes) => number;
}

/** What one opcode has cost so far. */
export interface OpcodeCount {
  readonly name: string;
  readonly requests: number;
  readonly errors: number;
}

/** Nobody else changes the image while it is mounted, so names and attributes stay true for a day. */
export const VALID_SEC = 24 * 60 * 60;

/** Requests handled before timers and other descriptors get their turn. */
const DRAIN_BUDGET = 64;

/** Replies of fixed size, and the smallest directory reply worth having, fit in this. */
const REPLY_BUFFER_BYTES_MIN = 8192;

const NO_REPLY = 0;

/**
 * The conversation with the kernel over one mount: takes requests from the channel until the file
 * system is unmounted, hands each to its operation and sends the answer. Requests are handled one at
 * a time, on the main thread, each to its end.
 */
export class Session {
  readonly #channel: Channel;
  readonly #operations: Operations;
  readonly #settings: SessionSettings;
  readonly #requests: readonly Request[];
  /** Buffers that nobody keeps, but for the one that the next request is read into. */
  readonly #spareBuffers: number[] = [];
  #request: Request;
  readonly #reply: Reply;
  /** By slot of the opcode table; slot 0 counts the unknown ones. */
  readonly #requestCounts = new Float64Array(OPCODES.length);
  readonly #errorCounts = new Float64Array(OPCODES.length);
  readonly #continueDrain = (): void => {
    this.#yielding = false;
    this.#operations.afterRequests();
    this.#drain();
  };
  #initialised = false;
  #yielding = false;
  #ended = false;
  #pendingReplyBytes = NO_REPLY;
  #failure: Error | null = null;
  #settle: (failure: Error | null) => void = () => {};

  constructor(channel: Channel, operations: Operations, settings: SessionSettings) {
    const tooSmall = channel.requests.some((buffer) => !requestBufferSuffices(buffer.length));
    if (tooSmall || channel.requests.length === 0 || channel.reply.length < REPLY_BUFFER_BYTES_MIN) {
      throw new RangeError('the channel has too small buffers');
    }
    this.#channel = channel;
    this.#operations = operations;
    this.#settings = settings;
    this.#requests = channel.requests.map((bytes, buffer) => new Request(bytes, buffer, settings.rootNodeId));
    this.#request = this.#requests[0];
    for (let buffer = 1; buffer < channel.requests.length; buffer++) this.#spareBuffers.push(buffer);
    this.#reply = new Reply(channel.reply, VALID_SEC, settings.rootNodeId, settings.attributeFlags);
  }

  /**
   * Resolves when the file system has been unmounted; rejects when the conversation breaks off. The channel
   * stays open.
   */
  serve(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#settle = (failure) => (failure === null ? resolve() : reject(failure));
      this.#channel.start(() => {
        if (!this.#yielding && !this.#ended) this.#drain();
      });
    });
  }

  /** Ends the conversation although the file system is still mounted; `serve` resolves. */
  stop(): void {
    if (!this.#ended) this.#end(null);
  }

  /** Opcodes that were asked for at least once. */
  counts(): OpcodeCount[] {
    const counts: OpcodeCount[] = [];
    for (let slot = 0; slot < OPCODES.length; slot++) {
      if (this.#requestCounts[slot] === 0) continue;
      const name = OPCODES[slot]?.name ?? 'unknown';
      counts.push({ name, requests: this.#requestCounts[slot], errors: this.#errorCounts[slot] });
    }
    return counts;
  }

  /** A request buffer that an operation has kept may be used again. */
  giveBack(buffer: number): void {
    this.#requests[buffer].isKept = false;
    this.#spareBuffers.push(buffer);
  }

  #drain(): void {
    for (let handled = 0; handled < DRAIN_BUDGET; handled++) {
      const result = this.#channel.exchange(this.#pendingReplyBytes, this.#request.buffer);
      this.#pendingReplyBytes = NO_REPLY;
      if (this.#failure !== null) this.#end(this.#failure);
      else if (result < 0 && !isPassing(-result)) this.#end(failureOf(-result));
      if (this.#ended) return;
      if (result === 0) {
        if (this.#operations.afterRequests()) break;
        return;
      }
      if (result > 0) this.#pendingReplyBytes = this.#answer(result);
      if (this.#request.isKept) this.#changeBuffer();
    }
    this.#yielding = true;
    setImmediate(this.#continueDrain);
  }

  #changeBuffer(): void {
    let buffer = this.#spareBuffers.pop();
    while (buffer === undefined) {
      this.#operations.waitForBuffer();
      buffer = this.#spareBuffers.pop();
    }
    this.#request = this.#requests[buffer];
  }

  #end(failure: Error | null): void {
    this.#ended = true;
    this.#settle(failure);
  }

  /** Handles the request of `lengthBytes` in the buffer. Returns the length of the reply, NO_REPLY for none. */
  #answer(lengthBytes: number): number {
    const request = this.#request;
    if (lengthBytes < IN_HEADER.SIZE) return this.#dropped(`a request of ${lengthBytes} bytes`);
    const sound = request.parseHeader(lengthBytes);
    // A message about request 0 is no reply: the kernel would take it for a notification.
    if (request.uniqueLow === 0 && request.uniqueHigh === 0) return this.#dropped('a request without an id');
    const row = OPCODES[opcodeSlot(request.opcode)];
    const errno = this.#handle(row, sound);
    this.#count(row, errno);
    if (this.#settings.trace) this.#trace(row, errno);
    if (errno === DEFERRED || row?.answered === false) return NO_REPLY;
    return errno === Errno.OK ? this.#reply.finish(request) : this.#reply.finishError(request, errno);
  }

  #handle(row: OpcodeRow | null, sound: boolean): number {
    if (row === null) return Errno.ENOSYS;
    const request = this.#request;
    if (!sound || request.bodyBytes < row.minBodyBytes) return Errno.EINVAL;
    if (row.names === Names.ONE && !request.parseName(row.nameOffset)) return Errno.EINVAL;
    if (row.names === Names.TWO && !request.parseTwoNames(row.nameOffset)) return Errno.EINVAL;
    this.#reply.begin();
    if (request.opcode === Opcode.INIT) return this.#initialise();
    if (!this.#initialised) return Errno.EIO;
    try {
      this.#operations.beginRequest(request.uid, request.gid);
      return row.handle(this.#operations, request, this.#reply);
    } catch (error) {
      this.#operations.failed(error);
      return errnoOfThrown(this.#settings.log, `${row.name} on inode ${request.nodeId}`, error);
    }
  }

  #initialise(): number {
    const outcome = negotiate(this.#request, this.#reply, this.#settings);
    if (outcome.kind === 'refused') {
      this.#settings.log.error(`cannot serve this kernel: ${outcome.reason}`);
      this.#failure = new SystemError(Errno.EPROTO, 'INIT', '/dev/fuse', outcome.reason);
      return Errno.EPROTO;
    }
    if (outcome.kind === 'agreed') {
      this.#initialised = true;
      this.#operations.connected(outcome.connection);
    }
    return Errno.OK;
  }

  #dropped(what: string): number {
    this.#settings.log.limitedError(`ignored ${what}`);
    return NO_REPLY;
  }

  #count(row: OpcodeRow | null, errno: number): void {
    const slot = row === null ? 0 : opcodeSlot(this.#request.opcode);
    this.#requestCounts[slot]++;
    if (errno > 0) this.#errorCounts[slot]++;
  }

  #trace(row: OpcodeRow | null, errno: number): void {
    const { opcode, nodeId, uniqueHigh, uniqueLow } = this.#request;
    const outcome =
      errno === DEFERRED ? 'deferred' : errno === Errno.OK ? `${this.#reply.payloadBytes} bytes` : errnoName(errno);
    const unique = uniqueHigh * 2 ** 32 + uniqueLow;
    this.#settings.log.debug(`${row?.name ?? `opcode ${opcode}`} unique=${unique} node=${nodeId}: ${outcome}`);
  }
}

/** ENOENT: the request was withdrawn while being read. */
function isPassing(errno: number): boolean {
  return errno === Errno.ENOENT || errno === Errno.EINTR || errno === Errno.EAGAIN;
}

/** ENODEV is how the kernel says "unmounted". */
function failureOf(errno: number): Error | null {
  return errno === Errno.ENODEV ? null : new SystemError(errno, 'read', '/dev/fuse');
}
