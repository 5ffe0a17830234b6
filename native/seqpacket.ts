import { Errno, errnoOf, SystemError } from '../shared/errno.ts';
import { addon } from './addon.ts';
import { check } from './check.ts';
import { closeQuietly } from './descriptor.ts';

/** One packet of an AF_UNIX SEQPACKET socket. `fd` is -1 when no descriptor came with it; the receiver owns it. */
export interface Packet {
  readonly bytes: Uint8Array;
  readonly fd: number;
}

export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

export interface SocketInfo {
  readonly family: number;
  readonly type: number;
  readonly sendBufferBytes: number;
}

export const AF_UNIX = 1;
export const SOCK_SEQPACKET = 5;

/** A connected pair of SEQPACKET sockets, both close-on-exec. */
export function socketPair(): [number, number] {
  const pair = addon.socketPair();
  if (typeof pair === 'number') throw new SystemError(-pair, 'socketpair', '');
  return pair;
}

/** Connects to the SEQPACKET socket at `path`. The caller owns the returned descriptor. */
export function connectSeqpacket(path: string): number {
  return check(addon.connectSeqpacket(path), 'connect', path);
}

/** Sends one packet, with a copy of descriptor `fd` when given. */
export function sendPacket(socket: number, bytes: Uint8Array, fd = -1): void {
  check(addon.sendPacket(socket, bytes, fd), 'sendmsg', `fd ${socket}`);
}

/**
 * Waits for the next packet. Returns null at end of stream. Throws SystemError ETIMEDOUT after
 * `timeoutMs` (-1 waits for ever), EMSGSIZE for a packet above `maxBytes` (read and thrown away), and
 * EPROTO when more than one descriptor came along or control data was cut; none of them stays open.
 */
export function receivePacket(socket: number, maxBytes: number, timeoutMs: number): Packet | null {
  const length = check(addon.peekPacket(socket, timeoutMs), 'recvmsg', `fd ${socket}`);
  if (length === 0) return null;
  const bytes = new Uint8Array(Math.min(length, maxBytes));
  const received = addon.receivePacket(socket, bytes);
  if (typeof received === 'number') throw new SystemError(-received, 'recvmsg', `fd ${socket}`);
  const fd = received[1];
  if (length > maxBytes) {
    if (fd >= 0) closeQuietly(fd);
    throw new SystemError(Errno.EMSGSIZE, 'recvmsg', `fd ${socket}`, `packet of ${length} bytes exceeds ${maxBytes}`);
  }
  return { bytes, fd };
}

/** The other end is gone. */
export function isHangup(error: unknown): boolean {
  const errno = errnoOf(error);
  return errno === Errno.EPIPE || errno === Errno.ECONNRESET;
}

/** Who connected, as the kernel saw it at connect time (SO_PEERCRED). */
export function peerCredentials(socket: number): PeerCredentials {
  const result = addon.peerCredentials(socket);
  if (typeof result === 'number') throw new SystemError(-result, 'getsockopt SO_PEERCRED', `fd ${socket}`);
  return { pid: result[0], uid: result[1], gid: result[2] };
}

/** Throws SystemError ENOTSOCK when `fd` is no socket. */
export function socketInfo(fd: number): SocketInfo {
  const result = addon.socketInfo(fd);
  if (typeof result === 'number') throw new SystemError(-result, 'getsockname', `fd ${fd}`);
  return { family: result[0], type: result[1], sendBufferBytes: result[2] };
}

/** From now on the peer can't send descriptors through `socket` (SO_PASSRIGHTS). Kernels before 6.16 can't: ignored. */
export function disallowRights(socket: number): void {
  const result = addon.disallowRights(socket);
  if (result !== -Errno.ENOPROTOOPT) check(result, 'setsockopt SO_PASSRIGHTS', `fd ${socket}`);
}

export function shutdownSocket(socket: number): void {
  check(addon.shutdownSocket(socket), 'shutdown', `fd ${socket}`);
}
