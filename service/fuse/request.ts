import { i64ne, u16ne, u32ne, u64ne, u64neHigh, u64neLow, viewOf } from '../../shared/bytes.ts';
import { IN_HEADER, ROOT_NODE_ID } from './abi.ts';

/**
 * The request being handled, parsed in place: one object over one buffer, refilled for every request.
 * The body lies at [bodyStart, bodyEnd) of `bytes`; a name, where the opcode has one, at
 * [nameStart, nameEnd) without its NUL.
 */
export class Request {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  opcode = 0;
  uniqueLow = 0;
  uniqueHigh = 0;
  /** Exact below 2^53; larger ids, which we never hand out, are rounded and stay larger. */
  nodeId = 0;
  uid = 0;
  gid = 0;
  bodyStart: number = IN_HEADER.SIZE;
  bodyEnd: number = IN_HEADER.SIZE;
  nameStart = 0;
  nameEnd = 0;
  /** The second name or the value, where the opcode has one, without NUL. */
  secondStart = 0;
  secondEnd = 0;
  /** Which of the channel's request buffers this is over. */
  readonly buffer: number;
  /** Whoever sets this needs the buffer's content beyond the request, and gives it back to the session later. */
  isKept = false;

  readonly #rootNodeId: number;

  /** `rootNodeId`: what the kernel calls the root of this mount, which is ROOT_NODE_ID to everybody else here. */
  constructor(bytes: Uint8Array, buffer: number, rootNodeId: number = ROOT_NODE_ID) {
    this.bytes = bytes;
    this.#rootNodeId = rootNodeId;
    this.buffer = buffer;
    this.view = viewOf(bytes);
  }

  /** Reads the header of a request of `lengthBytes`. False when its lengths contradict each other. */
  parseHeader(lengthBytes: number): boolean {
    const view = this.view;
    this.opcode = u32ne(view, IN_HEADER.opcode);
    this.uniqueLow = u64neLow(view, IN_HEADER.unique);
    this.uniqueHigh = u64neHigh(view, IN_HEADER.unique);
    this.nodeId = this.#known(u64ne(view, IN_HEADER.nodeid));
    this.uid = u32ne(view, IN_HEADER.uid);
    this.gid = u32ne(view, IN_HEADER.gid);
    this.bodyEnd = lengthBytes - u16ne(view, IN_HEADER.total_extlen) * 8;
    return u32ne(view, IN_HEADER.len) === lengthBytes && this.bodyEnd >= this.bodyStart;
  }

  /** The same request over bytes of its own, for answering it when the buffer is in use again. */
  copy(): Request {
    const lengthBytes = u32ne(this.view, IN_HEADER.len);
    const copy = new Request(this.bytes.slice(0, lengthBytes), this.buffer, this.#rootNodeId);
    copy.parseHeader(lengthBytes);
    return copy;
  }

  #known(nodeId: number): number {
    return nodeId === this.#rootNodeId ? ROOT_NODE_ID : nodeId;
  }

  get bodyBytes(): number {
    return this.bodyEnd - this.bodyStart;
  }

  /** Takes the rest of the body from `offset` on as one NUL-terminated name. False when it is empty or unterminated. */
  parseName(offset: number): boolean {
    this.nameStart = this.bodyStart + offset;
    this.nameEnd = this.bodyEnd - 1;
    return this.nameEnd > this.nameStart && this.bytes[this.nameEnd] === 0;
  }

  /**
   * Takes the body from `offset` on as a NUL-terminated name and what follows it. False when the name is empty or
   * unterminated.
   */
  parseNameAndRest(offset: number): boolean {
    this.nameStart = this.bodyStart + offset;
    this.nameEnd = this.bytes.indexOf(0, this.nameStart);
    this.secondStart = this.nameEnd + 1;
    this.secondEnd = this.bodyEnd;
    return this.nameEnd > this.nameStart && this.nameEnd < this.bodyEnd;
  }

  /** Takes the rest of the body from `offset` on as two NUL-terminated names. False unless that is what it is. */
  parseTwoNames(offset: number): boolean {
    if (!this.parseNameAndRest(offset)) return false;
    this.secondEnd = this.bodyEnd - 1;
    return this.secondEnd > this.secondStart && this.bytes[this.secondEnd] === 0;
  }

  /** A 32-bit field of the body. The opcode table has made sure that the body is long enough. */
  u32(offset: number): number {
    return u32ne(this.view, this.bodyStart + offset);
  }

  /** A node id in the body. */
  node(offset: number): number {
    return this.#known(this.u64(offset));
  }

  /** A 64-bit field of the body as a number; above 2^53 it is rounded, so compare it with a bound only. */
  u64(offset: number): number {
    return u64ne(this.view, this.bodyStart + offset);
  }

  /** A signed 64-bit field of the body as a number, rounded beyond 2^53 on either side. */
  i64(offset: number): number {
    return i64ne(this.view, this.bodyStart + offset);
  }

  /** The halves of a 64-bit field of the body that may use all its bits. */
  u64Low(offset: number): number {
    return u64neLow(this.view, this.bodyStart + offset);
  }

  u64High(offset: number): number {
    return u64neHigh(this.view, this.bodyStart + offset);
  }

  /** The bytes of the name. Allocates a view: for the rarer requests. */
  name(): Uint8Array {
    return this.bytes.subarray(this.nameStart, this.nameEnd);
  }

  /** The bytes behind the name. Allocates a view. */
  second(): Uint8Array {
    return this.bytes.subarray(this.secondStart, this.secondEnd);
  }
}
