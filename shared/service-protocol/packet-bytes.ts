import { putU32be, u32be, viewOf } from '../bytes.ts';
import { type ByteString, byteStringOf, bytesOf } from './byte-string.ts';
import { NUMBER_MESSAGE, PACKET_BYTES_MAX } from './packets.ts';
import { ProtocolError, tagName } from './protocol-error.ts';

const MAGIC_BYTES = 4;

/** The tag of a packet of acceptable size. */
export function magicOf(bytes: Uint8Array, view: DataView): number {
  if (bytes.length < MAGIC_BYTES)
    throw new ProtocolError('unknown', 0, `${bytes.length} bytes are too short for any packet`);
  if (bytes.length > PACKET_BYTES_MAX)
    throw new ProtocolError('unknown', PACKET_BYTES_MAX, `${bytes.length} bytes exceed ${PACKET_BYTES_MAX}`);
  return u32be(view, 0);
}

/** Where the first NUL at or after `start` stands, or -1 when the packet does not end with NUL. */
export function endOfString(bytes: Uint8Array, start: number): number {
  if (bytes.length <= start || bytes[bytes.length - 1] !== 0) return -1;
  return bytes.indexOf(0, start);
}

export const stringAt = (bytes: Uint8Array, start: number): ByteString =>
  byteStringOf(bytes, start, endOfString(bytes, start));

/** A packet with this tag, zeros, and `text` with its NUL from `stringOffset` on. */
export function packetWithString(magic: number, stringOffset: number, text: ByteString): Uint8Array {
  const content = bytesOf(text);
  if (content.includes(0))
    throw new ProtocolError(tagName(magic), stringOffset + content.indexOf(0), 'NUL inside the string');
  const length = stringOffset + content.length + 1;
  if (length > PACKET_BYTES_MAX)
    throw new ProtocolError(tagName(magic), PACKET_BYTES_MAX, `${length} bytes exceed ${PACKET_BYTES_MAX}`);
  const bytes = new Uint8Array(length);
  putU32be(viewOf(bytes), 0, magic);
  bytes.set(content, stringOffset);
  return bytes;
}

/** A packet of fixed size with this tag and zeros. */
export function packetOf(magic: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  putU32be(viewOf(bytes), 0, magic);
  return bytes;
}

export function packetWithNumber(magic: number, value: number): Uint8Array {
  const bytes = packetOf(magic, NUMBER_MESSAGE.SIZE);
  putU32be(viewOf(bytes), NUMBER_MESSAGE.value, value);
  return bytes;
}
