import { createRequire } from 'node:module';
import { receivePacket, sendPacket } from '../../native/seqpacket.ts';
import type { KernelDevice } from '../../service/fuse/kernel-device.ts';
import { CONTROL_HEADER_BYTES, ControlCode } from './control.ts';

declare const __PEER_IO__: string;

const ANSWER_BYTES = 4;

/** The kernel's other ways in, as calls to the peer: in the service, instead of ioctls of /dev/fuse. */
export class PeerKernelDevice implements KernelDevice {
  readonly #control: number;
  readonly #notify: number;
  readonly #exchange: (socket: number, message: Uint8Array, done: (answer: number) => void) => void;
  readonly #waiting: { message: Uint8Array; done: (errno: number) => void }[] = [];

  constructor(control: number, notify: number) {
    this.#control = control;
    this.#notify = notify;
    this.#exchange = createRequire('/x')(__PEER_IO__).exchange;
  }

  iomapSupport(): number {
    return this.#call(ControlCode.IOMAP_SUPPORT, 0, 0);
  }

  backingOpen(fd: number): number {
    return this.#call(ControlCode.BACKING_OPEN, 0, 0, fd);
  }

  backingClose(id: number): number {
    return this.#call(ControlCode.BACKING_CLOSE, id, 0);
  }

  setBlockSize(id: number, bytes: number): number {
    return this.#call(ControlCode.SET_BLOCK_SIZE, id, bytes);
  }

  setNofs(on: boolean): number {
    return this.#call(ControlCode.SET_NOFS, on ? 1 : 0, 0);
  }

  probeStriping(): number {
    return this.#call(ControlCode.PROBE_STRIPING, 0, 0);
  }

  notifyNow(message: Uint8Array, lengthBytes: number): number {
    return this.#send(packetOf(ControlCode.NOTIFY, 0, 0, message.subarray(0, lengthBytes)), -1);
  }

  /** One at a time: answers come in the order of the questions. */
  notify(message: Uint8Array, done: (errno: number) => void): void {
    this.#waiting.push({ message: packetOf(ControlCode.NOTIFY, 0, 0, message), done });
    if (this.#waiting.length === 1) this.#notifyNext();
  }

  #notifyNext(): void {
    const next = this.#waiting[0];
    if (next === undefined) return;
    this.#exchange(this.#notify, next.message, (errno) => {
      this.#waiting.shift();
      next.done(errno);
      this.#notifyNext();
    });
  }

  #call(code: number, first: number, second: number, fd = -1): number {
    return this.#send(packetOf(code, first, second, new Uint8Array(0)), fd);
  }

  #send(packet: Uint8Array, fd: number): number {
    sendPacket(this.#control, packet, fd);
    const answer = receivePacket(this.#control, ANSWER_BYTES, -1);
    if (answer === null || answer.bytes.length !== ANSWER_BYTES) throw new Error('the peer hung up');
    return new DataView(answer.bytes.buffer).getInt32(0, true);
  }
}

function packetOf(code: number, first: number, second: number, message: Uint8Array): Uint8Array {
  const packet = new Uint8Array(CONTROL_HEADER_BYTES + message.length);
  const view = new DataView(packet.buffer);
  view.setUint32(0, code, true);
  view.setUint32(4, first, true);
  view.setUint32(8, second, true);
  packet.set(message, CONTROL_HEADER_BYTES);
  return packet;
}
