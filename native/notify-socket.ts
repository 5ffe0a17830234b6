import { addon } from './addon.ts';
import { check } from './check.ts';

export const SOCK_DGRAM = 2;

/** A datagram socket connected to the one at `path`. The caller owns it. */
export function connectDatagram(path: string): number {
  return check(addon.connectDatagram(path), 'connect', path);
}

/** Sends one datagram and never waits. False when it is lost: nobody listens, or not fast enough. */
export function trySendDatagram(socket: number, bytes: Uint8Array): boolean {
  return addon.sendDatagram(socket, bytes) >= 0;
}
