import { closeSync } from 'node:fs';
import { receivePacket, sendPacket } from '../../native/seqpacket.ts';
import { Errno } from '../../shared/errno.ts';
import { CONTROL_HEADER_BYTES, ControlCode } from './control.ts';
import { u64 } from './mapping.ts';
import type { Profile } from './profile.ts';
import { CONTROL_IS_READABLE, NOTIFY_IS_READABLE, peerIo } from './programs.ts';
import { Violation } from './violation.ts';
import { errnoName, IN_HEADER_BYTES, NEVER_ENOSYS, Op, OUT_HEADER_BYTES, opName, replyBytes } from './wire.ts';

/** The largest request or reply: 1 MiB of data and a page of headers. */
export const MAX_WRITE_BYTES = 2 ** 20;
const PACKET_BYTES = MAX_WRITE_BYTES + 4096;
const ERRNO_LIMIT = 512;
const EPIPE = 32;
/** A server that says nothing for so long is stuck (L-1). */
const SILENCE_MS = 30_000;

/** An answer; `at` is where its body begins. */
export interface Reply {
  readonly errno: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly at: number;
  /** Of the body. */
  readonly length: number;
}

/** Something that runs in the kernel: it yields the id of a request to wait for its reply, or 0 to let others run. */
export type Task<T> = Generator<number, T, Reply>;

interface Outstanding {
  readonly opcode: number;
  readonly nodeId: number;
  /** Of a reply of variable size. */
  readonly maxBytes: number;
  readonly isAwaited: boolean;
  readonly effect: Effect;
}

/** What a reply changes at once, whenever the one who waits for it goes on. */
export type Effect = ((view: DataView, at: number) => void) | null;

/** What the server says by control calls and notifications. */
export interface ControlHandler {
  control(code: number, first: number, second: number, fd: number): number;
  /** 0 or a positive errno, like write(2) of a notification. */
  notify(code: number, message: Uint8Array): number;
}

export interface Ends {
  readonly channel: number;
  readonly control: number;
  readonly notify: number;
}

/** The peer's end of the conversation: numbers requests, checks replies, answers control calls. */
export class Connection {
  readonly profile: Profile;
  readonly body: DataView;
  readonly bodyBytes: Uint8Array;
  /** Requests by opcode, for tests that count round trips. */
  readonly counts = new Map<number, number>();
  /** Called before each request is sent. */
  beforeRequest: (opcode: number) => void = () => {};
  /** The last requests, newest last. */
  readonly trace: string[] = [];
  traceLength = 100;
  #handler: ControlHandler | null = null;
  readonly ends: Ends;
  readonly #request = new Uint8Array(PACKET_BYTES);
  readonly #requestView = new DataView(this.#request.buffer);
  readonly #received = new Uint8Array(PACKET_BYTES);
  readonly #receivedView = new DataView(this.#received.buffer);
  readonly #outstanding = new Map<number, Outstanding>();
  #unique = 0;
  #concurrent: Scheduler | null = null;

  constructor(profile: Profile, ends: Ends) {
    this.profile = profile;
    this.ends = ends;
    this.body = new DataView(this.#request.buffer, IN_HEADER_BYTES);
    this.bodyBytes = this.#request.subarray(IN_HEADER_BYTES);
  }

  handleControlBy(handler: ControlHandler): void {
    this.#handler = handler;
  }

  get isConcurrent(): boolean {
    return this.#concurrent !== null;
  }

  count(opcode: number): number {
    return this.counts.get(opcode) ?? 0;
  }

  /** Zeroes the first `bytes` of the body, which a request is then put into. */
  begin(bytes: number): DataView {
    this.bodyBytes.fill(0, 0, bytes);
    return this.body;
  }

  putName(at: number, name: string): number {
    const bytes = Buffer.from(name);
    this.bodyBytes.set(bytes, at);
    this.bodyBytes[at + bytes.length] = 0;
    return at + bytes.length + 1;
  }

  /** Sends the request in the body and waits for its answer. */
  *ask(opcode: number, nodeId: number, bodyBytes: number, maxBytes = 0, effect: Effect = null): Task<Reply> {
    const unique = this.#send(opcode, nodeId, bodyBytes, maxBytes, true, effect);
    return this.#concurrent === null ? this.#waitFor(unique) : yield unique;
  }

  /** The same where nothing else runs. */
  askNow(opcode: number, nodeId: number, bodyBytes: number, maxBytes = 0): Reply {
    return this.#waitFor(this.#send(opcode, nodeId, bodyBytes, maxBytes, true, null));
  }

  /** Sends a request whose answer, if it has one, nobody waits for. */
  tell(opcode: number, nodeId: number, bodyBytes: number): void {
    this.#send(opcode, nodeId, bodyBytes, 0, false, null);
  }

  /** Sends what no kernel would. `fill` may change the whole packet, whose length it returns. */
  askBroken(opcode: number, nodeId: number, bodyBytes: number, change: (packet: DataView) => number): Reply {
    const unique = this.#send(opcode, nodeId, bodyBytes, MAX_WRITE_BYTES, true, null, change);
    return this.#waitFor(unique);
  }

  /** Runs tasks beside each other until all have ended. `random` gives numbers from 0 up to 1. */
  runBesideEachOther(tasks: readonly Task<void>[], random: () => number): void {
    const scheduler = new Scheduler(tasks, random);
    this.#concurrent = scheduler;
    try {
      while (!scheduler.isDone) {
        if (!scheduler.step()) this.#receiveFor(scheduler);
        else if (random() < 0.5) this.#receiveWaiting(scheduler);
      }
    } finally {
      this.#concurrent = null;
    }
  }

  hangUp(): void {
    closeSync(this.ends.channel);
    closeSync(this.ends.control);
    closeSync(this.ends.notify);
  }

  #send(
    opcode: number,
    nodeId: number,
    bodyBytes: number,
    maxBytes: number,
    isAwaited: boolean,
    effect: Effect,
    change?: (packet: DataView) => number,
  ): number {
    this.beforeRequest(opcode);
    this.#unique += 2;
    const unique = this.#unique;
    const view = this.#requestView;
    const length = IN_HEADER_BYTES + bodyBytes;
    view.setUint32(0, length, true);
    view.setUint32(4, opcode, true);
    view.setUint32(8, unique >>> 0, true);
    view.setUint32(12, Math.floor(unique / 2 ** 32), true);
    view.setUint32(16, nodeId >>> 0, true);
    view.setUint32(20, Math.floor(nodeId / 2 ** 32), true);
    for (let at = 24; at < IN_HEADER_BYTES; at += 4) view.setUint32(at, 0, true);
    this.counts.set(opcode, (this.counts.get(opcode) ?? 0) + 1);
    if (opcode !== Op.FORGET) this.#outstanding.set(unique, { opcode, nodeId, maxBytes, isAwaited, effect });
    this.#note(`${opName(opcode)} ${nodeId}${detailOf(opcode, this.body)}`);
    const errno = peerIo.send(this.ends.channel, this.#request, change?.(view) ?? length);
    if (errno === -EPIPE || errno === -Errno.ECONNRESET) throw new ServerGone(opName(opcode));
    if (errno !== 0) throw new Violation('L-1', `${opName(opcode)} can't be sent: errno ${-errno}`);
    return unique;
  }

  #waitFor(unique: number): Reply {
    for (;;) {
      const length = this.#receive(SILENCE_MS);
      if (this.#takeReply(length) === unique) return this.#replyOf(length, this.#received, this.#receivedView);
    }
  }

  #receiveFor(scheduler: Scheduler): void {
    this.#hand(scheduler, this.#receive(SILENCE_MS));
  }

  #receiveWaiting(scheduler: Scheduler): void {
    for (;;) {
      const length = this.#receiveRaw(0);
      if (length === -Errno.ETIMEDOUT) return;
      if (length < 0) throw this.#gone(length);
      this.#hand(scheduler, length);
    }
  }

  #hand(scheduler: Scheduler, length: number): void {
    const unique = this.#takeReply(length);
    if (unique === 0) return;
    const bytes = this.#received.slice(0, length);
    scheduler.take(unique, this.#replyOf(length, bytes, new DataView(bytes.buffer)));
  }

  #replyOf(length: number, bytes: Uint8Array, view: DataView): Reply {
    return { errno: 0 - view.getInt32(4, true), bytes, view, at: OUT_HEADER_BYTES, length: length - OUT_HEADER_BYTES };
  }

  #receive(timeoutMs: number): number {
    const length = this.#receiveRaw(timeoutMs);
    if (length < 0) throw this.#gone(length);
    return length;
  }

  #gone(length: number): Error {
    const asked = [...this.#outstanding.values()].map(({ opcode, nodeId }) => `${opName(opcode)} of ${nodeId}`);
    if (length === -Errno.ENODEV || length === -Errno.ECONNRESET) return new ServerGone(asked.join(', '));
    if (length === -Errno.EMSGSIZE) return new Violation('P-1', 'a reply that is longer than any may be');
    return new Violation('L-1', `no answer to ${asked.join(', ')}: errno ${-length}`);
  }

  /** The next packet of the channel; answers what comes by the other sockets before. */
  #receiveRaw(timeoutMs: number): number {
    const { channel, control, notify } = this.ends;
    for (;;) {
      const length = peerIo.receive(channel, control, notify, this.#received, timeoutMs);
      if (length === CONTROL_IS_READABLE) this.#control(control);
      else if (length === NOTIFY_IS_READABLE) this.#control(notify);
      else return length;
    }
  }

  #control(socket: number): void {
    const packet = receivePacket(socket, PACKET_BYTES, SILENCE_MS);
    if (packet === null) throw new ServerGone('control');
    const view = new DataView(packet.bytes.buffer, packet.bytes.byteOffset, packet.bytes.byteLength);
    const code = view.getUint32(0, true);
    const handler = this.#handler;
    if (handler === null) throw new Violation('P-8', `control call ${code} before anything was asked`);
    const result =
      code === ControlCode.NOTIFY
        ? this.#notification(handler, packet.bytes.subarray(CONTROL_HEADER_BYTES))
        : handler.control(code, view.getUint32(4, true), view.getUint32(8, true), packet.fd);
    sendPacket(socket, new Uint8Array(Int32Array.of(result).buffer));
  }

  #notification(handler: ControlHandler, message: Uint8Array): number {
    const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
    if (message.length < OUT_HEADER_BYTES || view.getUint32(0, true) !== message.length) {
      throw new Violation('P-1', `a notification of ${message.length} bytes that says otherwise`);
    }
    if (view.getUint32(8, true) !== 0 || view.getUint32(12, true) !== 0) {
      throw new Violation('P-1', 'a notification with the id of a request');
    }
    return handler.notify(view.getInt32(4, true), message.subarray(OUT_HEADER_BYTES));
  }

  /** Checks the reply that was received and returns the id of its request, 0 when nobody waits for it (P-1, P-9). */
  #takeReply(length: number): number {
    const view = this.#receivedView;
    if (length < OUT_HEADER_BYTES) throw new Violation('P-1', `a reply of ${length} bytes`);
    const unique = view.getUint32(8, true) + view.getUint32(12, true) * 2 ** 32;
    const request = this.#outstanding.get(unique);
    if (request === undefined) throw new Violation('P-1', `a reply to request ${unique}, which nobody waits for`);
    this.#outstanding.delete(unique);
    const name = opName(request.opcode);
    const said = view.getUint32(0, true);
    if (said !== length) throw new Violation('P-1', `the reply to ${name} says ${said} and has ${length} bytes`);
    const error = view.getInt32(4, true);
    if (error > 0 || error <= -ERRNO_LIMIT) throw new Violation('P-1', `${name} is answered with error ${error}`);
    const body = length - OUT_HEADER_BYTES;
    if (error !== 0 && body !== 0) throw new Violation('P-1', `${name} fails with a reply of ${body} bytes`);
    if (error === -Errno.ENOSYS && NEVER_ENOSYS.has(request.opcode)) {
      throw new Violation('P-9', `${name} is answered ENOSYS`);
    }
    const expected = replyBytes(request.opcode);
    if (error === 0 && expected >= 0 && body !== expected) {
      throw new Violation('P-1', `the reply to ${name} has ${body} bytes in place of ${expected}`);
    }
    if (error === 0 && expected < 0 && body > request.maxBytes) {
      throw new Violation('P-1', `the reply to ${name} has ${body} bytes, more than ${request.maxBytes}`);
    }
    this.#note(`  ${name} ${request.nodeId}: ${error === 0 ? 'done' : errnoName(-error)}`);
    if (error === 0) request.effect?.(view, OUT_HEADER_BYTES);
    return request.isAwaited ? unique : 0;
  }

  #note(line: string): void {
    this.trace.push(line);
    if (this.trace.length > 2 * this.traceLength) this.trace.splice(0, this.traceLength);
  }
}

/** What was asked, as far as it fits a line. */
function detailOf(opcode: number, body: DataView): string {
  if (opcode === Op.IOMAP_BEGIN) return ` flags ${body.getUint32(0, true)} ${u64(body, 16)}+${u64(body, 24)}`;
  if (opcode === Op.IOMAP_IOEND) return ` flags ${body.getUint32(0, true)} ${u64(body, 16)}+${u64(body, 32)}`;
  if (opcode === Op.SETATTR) return ` valid ${body.getUint32(0, true)} size ${u64(body, 16)}`;
  if (opcode === Op.FALLOCATE) return ` mode ${body.getUint32(24, true)} ${u64(body, 8)}+${u64(body, 16)}`;
  return '';
}

/** The server has ended, or hung up. */
export class ServerGone extends Error {
  constructor(asked: string) {
    super(`the server has gone while asked: ${asked}`);
    this.name = 'ServerGone';
  }
}

interface Ready {
  readonly task: Task<void>;
  readonly reply: Reply;
}

const NOTHING = new Uint8Array(0);
const NO_REPLY: Reply = { errno: 0, bytes: NOTHING, view: new DataView(NOTHING.buffer), at: 0, length: 0 };

/** Takes steps of tasks in an order of chance; replies reach them late and in another order than they came. */
class Scheduler {
  readonly #random: () => number;
  #ready: Ready[];
  readonly #waiting = new Map<number, Task<void>>();
  #blocked: Task<void>[] = [];
  #held: Ready[] = [];
  #idleSteps = 0;

  constructor(tasks: readonly Task<void>[], random: () => number) {
    this.#random = random;
    this.#ready = tasks.map((task) => ({ task, reply: NO_REPLY }));
  }

  get isDone(): boolean {
    return this.#ready.length + this.#waiting.size + this.#blocked.length + this.#held.length === 0;
  }

  take(unique: number, reply: Reply): void {
    const task = this.#waiting.get(unique);
    if (task === undefined) throw new Error(`no task waits for request ${unique}`);
    this.#waiting.delete(unique);
    this.#held.push({ task, reply });
  }

  /** False when nothing can go on before a reply has come. */
  step(): boolean {
    if (this.#held.length > 0 && (this.#ready.length === 0 || this.#random() < 0.3)) {
      this.#ready.push(this.#pick(this.#held));
    }
    if (this.#ready.length === 0) {
      if (this.#blocked.length === 0 || this.#idleSteps > 2 * this.#blocked.length) {
        if (this.#waiting.size > 0) {
          this.#idleSteps = 0;
          return false;
        }
        if (this.#blocked.length > 0 && this.#idleSteps > 1000 * this.#blocked.length) {
          throw new Error('tasks of the peer wait for each other');
        }
      }
      const [task] = this.#blocked.splice(Math.floor(this.#random() * this.#blocked.length), 1);
      this.#idleSteps++;
      this.#resume({ task, reply: NO_REPLY });
      return true;
    }
    this.#resume(this.#pick(this.#ready));
    return true;
  }

  #pick(list: Ready[]): Ready {
    const index = Math.floor(this.#random() * list.length);
    const picked = list[index];
    list[index] = list[list.length - 1];
    list.pop();
    return picked;
  }

  #resume({ task, reply }: Ready): void {
    const { done, value } = task.next(reply);
    if (done === true) {
      this.#idleSteps = 0;
      return;
    }
    if (value === 0) {
      this.#blocked.push(task);
      return;
    }
    this.#idleSteps = 0;
    this.#waiting.set(value, task);
  }
}

/** Runs a task where nothing else runs. */
export function runAlone<T>(task: Task<T>): T {
  const { done, value } = task.next(NO_REPLY);
  if (done !== true) throw new Error('a task waits although it is alone');
  return value;
}
