import { IN_HEADER, Opcode, OUT_HEADER } from '../../service/fuse/abi.ts';
import type { Channel } from '../../service/fuse/channel.ts';
import { REPLY_BUFFER_BYTES, REQUEST_BUFFER_BYTES } from '../../service/fuse/init.ts';
import { i32ne, putU32ne, putU64ne, u32ne, u64ne, viewOf } from '../../shared/bytes.ts';

/** What came back for one request. `errno` is positive, 0 for success. */
export interface FuseReply {
  readonly unique: number;
  readonly errno: number;
  readonly payload: Uint8Array;
  readonly view: DataView;
}

/** A channel without a kernel: `deliver` plays the part of the kernel's queue. */
export class FakeChannel implements Channel {
  readonly requests: readonly Uint8Array[];
  readonly reply: Uint8Array;
  /** Every message written, oldest first. */
  readonly written: Uint8Array[] = [];
  closed = false;
  #queue: (Uint8Array | number)[] = [];
  #onReadable: (pollErrno: number) => void = () => {};

  constructor(requestBytes = REQUEST_BUFFER_BYTES, replyBytes = REPLY_BUFFER_BYTES, buffers = 1) {
    this.requests = Array.from({ length: buffers }, () => new Uint8Array(requestBytes));
    this.reply = new Uint8Array(replyBytes);
  }

  exchange(replyLength: number, buffer: number): number {
    if (replyLength > 0) this.written.push(this.reply.slice(0, replyLength));
    const next = this.#queue.shift();
    if (next === undefined) return 0;
    if (typeof next === 'number') return next;
    this.requests[buffer].set(next);
    return next.length;
  }

  send(bytes: Uint8Array, length: number): number {
    this.written.push(bytes.slice(0, length));
    return 0;
  }

  start(onReadable: (pollErrno: number) => void): void {
    this.#onReadable = onReadable;
  }

  close(): void {
    this.closed = true;
  }

  /** Queues requests, or results of read(2) as negative numbers, and reports the channel readable. */
  deliver(...events: (Uint8Array | number)[]): void {
    this.#queue.push(...events);
    this.#onReadable(0);
  }
}

/** Fields of a body in order: u32 and u64 by their width in bytes, byte arrays as they are. */
export type Field = readonly [4 | 8, number] | Uint8Array;

export const u32 = (value: number): Field => [4, value];
export const u64 = (value: number): Field => [8, value];
export const zeros = (bytes: number): Uint8Array => new Uint8Array(bytes);
/** A name with its NUL. */
export const cString = (text: string): Uint8Array => new TextEncoder().encode(`${text}\0`);

export function body(...fields: Field[]): Uint8Array {
  const bytes = new Uint8Array(fields.reduce((sum, field) => sum + fieldBytes(field), 0));
  const view = viewOf(bytes);
  let at = 0;
  for (const field of fields) {
    if (field instanceof Uint8Array) bytes.set(field, at);
    else if (field[0] === 4) putU32ne(view, at, field[1]);
    else putU64ne(view, at, field[1]);
    at += fieldBytes(field);
  }
  return bytes;
}

const fieldBytes = (field: Field): number => (field instanceof Uint8Array ? field.length : field[0]);

export interface Caller {
  readonly uid: number;
  readonly gid: number;
}

const ROOT: Caller = { uid: 0, gid: 0 };

export function requestBytes(
  opcode: number,
  nodeId: number,
  unique: number,
  content: Uint8Array,
  caller: Caller = ROOT,
): Uint8Array {
  const bytes = new Uint8Array(IN_HEADER.SIZE + content.length);
  const view = viewOf(bytes);
  putU32ne(view, IN_HEADER.len, bytes.length);
  putU32ne(view, IN_HEADER.opcode, opcode);
  putU64ne(view, IN_HEADER.unique, unique);
  putU64ne(view, IN_HEADER.nodeid, nodeId);
  putU32ne(view, IN_HEADER.uid, caller.uid);
  putU32ne(view, IN_HEADER.gid, caller.gid);
  bytes.set(content, IN_HEADER.SIZE);
  return bytes;
}

/** Takes a written message apart; throws when it is no well-formed reply. */
export function parseReply(message: Uint8Array): FuseReply {
  const view = viewOf(message);
  if (message.length < OUT_HEADER.SIZE) throw new Error(`a reply of ${message.length} bytes`);
  const length = u32ne(view, OUT_HEADER.len);
  if (length !== message.length) throw new Error(`a reply of ${message.length} bytes says that it has ${length}`);
  const error = i32ne(view, OUT_HEADER.error);
  if (error > 0 || error <= -512) throw new Error(`the kernel refuses error ${error}`);
  if (error < 0 && length !== OUT_HEADER.SIZE) throw new Error('an error reply has no payload');
  const payload = message.slice(OUT_HEADER.SIZE);
  return { unique: u64ne(view, OUT_HEADER.unique), errno: error === 0 ? 0 : -error, payload, view: viewOf(payload) };
}

/** All flags of the first word that kernels up to 7.45 offer. */
export const OFFERED_FLAGS = 0x73fffffb;

export const initBody = (minor: number, flags = OFFERED_FLAGS, flags2 = 0): Uint8Array => {
  const short = body(u32(7), u32(minor), u32(128 * 1024), u32(flags));
  return minor < 36 ? short : body(short, u32(flags2), zeros(44));
};

/** What a session that writes nothing wants of its connection. */
export const READ_ONLY_WISHES = Object.freeze({ posixAcl: false, writable: false, writebackCache: false });

/** Speaks to a session as the kernel does. */
export class FuseClient {
  readonly channel: FakeChannel;
  #unique = 0;

  constructor(channel: FakeChannel) {
    this.channel = channel;
  }

  init(minor = 45, flags = OFFERED_FLAGS): FuseReply {
    return this.call(Opcode.INIT, 0, initBody(minor, flags));
  }

  /** Sends a request that is answered at once. */
  call(opcode: number, nodeId: number, content: Uint8Array, caller: Caller = ROOT): FuseReply {
    const reply = this.send(opcode, nodeId, content, caller);
    if (reply === null) throw new Error(`opcode ${opcode} was not answered`);
    return reply;
  }

  /** Sends a request; null when it was not answered. */
  send(opcode: number, nodeId: number, content: Uint8Array, caller: Caller = ROOT): FuseReply | null {
    const before = this.channel.written.length;
    this.#unique += 2;
    this.channel.deliver(requestBytes(opcode, nodeId, this.#unique, content, caller));
    const messages = this.channel.written.slice(before);
    if (messages.length > 1) throw new Error(`${messages.length} replies to one request`);
    if (messages.length === 0) return null;
    const reply = parseReply(messages[0]);
    if (reply.unique !== this.#unique) throw new Error(`reply to ${reply.unique} instead of ${this.#unique}`);
    return reply;
  }
}
