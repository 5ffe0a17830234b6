import { receivePacket, sendPacket } from '../native/seqpacket.ts';
import type { Ends } from '../test/peer/connection.ts';
import { putU64 } from '../test/peer/mapping.ts';
import type { PeerInode } from '../test/peer/peer-inode.ts';
import { CONTROL_IS_READABLE, NOTIFY_IS_READABLE, peerIo } from '../test/peer/programs.ts';
import { IN_HEADER_BYTES, Op } from '../test/peer/wire.ts';

const BEGIN_BYTES = 32;
const IOEND_BYTES = 48;
const PACKET_BYTES = 8192;
const SILENCE_MS = 30_000;
/** Far above the ids that the connection gives. */
const FIRST_UNIQUE = 2 ** 40;

/** BEGIN or IOEND of a range. */
export interface RawRequest {
  readonly opcode: number;
  readonly inode: PeerInode;
  readonly flags: number;
  readonly pos: number;
  readonly bytes: number;
}

/** Requests with as little as possible around them. Everything that the service says to the kernel is welcome. */
export class RequestStream {
  readonly #ends: Ends;
  readonly #packet = new Uint8Array(IN_HEADER_BYTES + IOEND_BYTES);
  readonly #view = new DataView(this.#packet.buffer);
  readonly #received = new Uint8Array(PACKET_BYTES);
  readonly #receivedView = new DataView(this.#received.buffer);
  readonly #fine = new Uint8Array(4);
  #unique = FIRST_UNIQUE;

  constructor(ends: Ends) {
    this.#ends = ends;
  }

  roundTrip(request: RawRequest): void {
    this.#send(request);
    this.#receive();
  }

  /** Sends all before it reads the first reply. */
  roundTrips(requests: readonly RawRequest[]): void {
    for (const request of requests) this.#send(request);
    for (let count = 0; count < requests.length; count++) this.#receive();
  }

  #send({ opcode, inode, flags, pos, bytes }: RawRequest): void {
    const view = this.#view;
    const isBegin = opcode === Op.IOMAP_BEGIN;
    const length = IN_HEADER_BYTES + (isBegin ? BEGIN_BYTES : IOEND_BYTES);
    this.#packet.fill(0);
    this.#unique += 2;
    view.setUint32(0, length, true);
    view.setUint32(4, opcode, true);
    putU64(view, 8, this.#unique);
    putU64(view, 16, inode.nodeId);
    view.setUint32(IN_HEADER_BYTES, flags >>> 0, true);
    putU64(view, IN_HEADER_BYTES + 8, inode.nodeId);
    putU64(view, IN_HEADER_BYTES + 16, pos);
    putU64(view, IN_HEADER_BYTES + (isBegin ? 24 : 32), bytes);
    const errno = peerIo.send(this.#ends.channel, this.#packet, length);
    if (errno !== 0) throw new Error(`a request can't be sent: ${errno}`);
  }

  #receive(): void {
    const { channel, control, notify } = this.#ends;
    for (;;) {
      const length = peerIo.receive(channel, control, notify, this.#received, SILENCE_MS);
      if (length === CONTROL_IS_READABLE || length === NOTIFY_IS_READABLE) {
        const socket = length === CONTROL_IS_READABLE ? control : notify;
        receivePacket(socket, PACKET_BYTES, SILENCE_MS);
        sendPacket(socket, this.#fine);
        continue;
      }
      if (length < 0) throw new Error(`no reply: ${length}`);
      const error = this.#receivedView.getInt32(4, true);
      if (error !== 0) throw new Error(`a request fails with ${-error}`);
      return;
    }
  }
}
