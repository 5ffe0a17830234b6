import type { FileMessage, ReplyMessage } from './packets.ts';

/** Four ASCII letters for known and unknown tags alike, or hexadecimal when they are not printable. */
export function tagName(magic: number): string {
  const letters = String.fromCharCode(magic >>> 24, (magic >>> 16) & 0xff, (magic >>> 8) & 0xff, magic & 0xff);
  return /^[\x20-\x7e]{4}$/.test(letters) ? letters : `0x${(magic >>> 0).toString(16).padStart(8, '0')}`;
}

/**
 * A packet breaks the protocol. `refusal` is what the helper answers to it; with null there is nothing to
 * say. `endsSession` is false where the peer may go on after the refusal.
 */
export class ProtocolError extends Error {
  readonly packet: string;
  /** Byte offset in the packet of what is wrong. */
  readonly offset: number;
  readonly refusal: FileMessage | ReplyMessage | null;
  readonly endsSession: boolean;

  constructor(
    packet: string,
    offset: number,
    why: string,
    refusal: FileMessage | ReplyMessage | null = null,
    endsSession = true,
  ) {
    super(`${packet} packet, byte ${offset}: ${why}`);
    this.name = 'ProtocolError';
    this.packet = packet;
    this.offset = offset;
    this.refusal = refusal;
    this.endsSession = endsSession;
  }
}
