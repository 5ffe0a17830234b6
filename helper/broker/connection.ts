import { closeSync } from 'node:fs';
import { closeQuietly } from '../../native/descriptor.ts';
import { connectSeqpacket, isHangup, type Packet, receivePacket, sendPacket } from '../../native/seqpacket.ts';
import { Errno, errnoOf, SystemError } from '../../shared/errno.ts';
import {
  BROKER_PACKET_BYTES_MAX,
  BROKER_SOCKET,
  type BrokerRequest,
  decodeAnswer,
  encodeRequest,
  type MountCommand,
} from './messages.ts';

/** For each answer. The broker has to be started first, and does nothing that takes long. */
const ANSWER_MS = 60_000;

/** The user's end of one connection to the mount broker. A refusal is a SystemError with the broker's own words. */
export class BrokerConnection {
  readonly #socket: number;

  /** Takes over `socket`. */
  constructor(socket: number) {
    this.#socket = socket;
  }

  /** Null when there is no broker, or none for this user. */
  static open(): BrokerConnection | null {
    try {
      return new BrokerConnection(connectSeqpacket(BROKER_SOCKET));
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === Errno.ENOENT || errno === Errno.ECONNREFUSED || errno === Errno.EACCES) return null;
      throw error;
    }
  }

  /** The connected socket of a service, or null when nobody offers it. The caller owns it. */
  connectToService(subtype: string): number | null {
    try {
      return this.#askForDescriptor({ kind: 'connect', subtype }, -1);
    } catch (error) {
      if (errnoOf(error) === Errno.ENOENT) return null;
      throw error;
    }
  }

  /** `fd` is the file itself, -1 for a name that is none. */
  nameSource(name: string, fd: number): void {
    this.#ask({ kind: 'source', name }, fd);
  }

  /** The /dev/fuse descriptor of a mount that nobody sees yet. The caller owns it. */
  mount(command: MountCommand, mountPointFd: number): number {
    return this.#askForDescriptor(command, mountPointFd);
  }

  keep(): void {
    this.#ask({ kind: 'keep' }, -1);
  }

  unmount(parentFd: number, name: string, lazy: boolean): void {
    this.#ask({ kind: 'unmount', lazy, name }, parentFd);
  }

  close(): void {
    closeSync(this.#socket);
  }

  #ask(request: BrokerRequest, fd: number): void {
    const given = this.#exchange(request, fd);
    if (given < 0) return;
    closeQuietly(given);
    throw new SystemError(Errno.EPROTO, 'mount broker', request.kind, 'sent a descriptor');
  }

  #askForDescriptor(request: BrokerRequest, fd: number): number {
    const given = this.#exchange(request, fd);
    if (given < 0) throw new SystemError(Errno.EPROTO, 'mount broker', request.kind, 'sent no descriptor');
    return given;
  }

  /** The descriptor that came with success, or -1. */
  #exchange(request: BrokerRequest, fd: number): number {
    const packet = this.#transact(encodeRequest(request), fd);
    if (packet === null)
      throw new SystemError(Errno.ECONNRESET, 'mount broker', request.kind, 'ended without an answer');
    const answer = decodeAnswer(packet.bytes);
    if (answer.errno === Errno.OK) return packet.fd;
    if (packet.fd >= 0) closeQuietly(packet.fd);
    throw new SystemError(answer.errno, 'mount broker', '', answer.text);
  }

  #transact(bytes: Uint8Array, fd: number): Packet | null {
    try {
      sendPacket(this.#socket, bytes, fd);
      return receivePacket(this.#socket, BROKER_PACKET_BYTES_MAX, ANSWER_MS);
    } catch (error) {
      if (isHangup(error)) return null;
      throw error;
    }
  }
}
