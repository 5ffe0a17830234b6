import { putU16be, putU32be, u16be, u32be, viewOf } from '../bytes.ts';
import { endOfString, magicOf, packetOf, packetWithNumber, packetWithString, stringAt } from './packet-bytes.ts';
import type { FileMessage, HelloMessage, HelperMessage } from './packets.ts';
import { FILE, HELLO, Magic, NUMBER_MESSAGE } from './packets.ts';
import { ProtocolError, tagName } from './protocol-error.ts';

/** Messages of the helper. Both directions of the codec, so that one file shows that they agree. */
export function encodeHelperMessage(message: HelperMessage): Uint8Array {
  switch (message.kind) {
    case 'hello':
      return encodeHello(message);
    case 'file':
      return encodeFile(message);
    case 'reply':
      return packetWithNumber(Magic.REPLY, message.errno);
  }
}

/** Every ProtocolError thrown here ends the session: the service has no way to refuse. */
export function decodeHelperMessage(bytes: Uint8Array): HelperMessage {
  const view = viewOf(bytes);
  const magic = magicOf(bytes, view);
  switch (magic) {
    case Magic.HELLO:
      demandSize(bytes, magic, HELLO.SIZE);
      return {
        kind: 'hello',
        minVersion: u16be(view, HELLO.min_version),
        maxVersion: u16be(view, HELLO.max_version),
        flags: u32be(view, HELLO.flags),
      };
    case Magic.FILE:
      return decodeFile(bytes, view);
    case Magic.REPLY:
      demandSize(bytes, magic, NUMBER_MESSAGE.SIZE);
      return { kind: 'reply', errno: u32be(view, NUMBER_MESSAGE.value) };
    default:
      throw new ProtocolError(tagName(magic), 0, 'unknown magic');
  }
}

function encodeHello(message: HelloMessage): Uint8Array {
  const bytes = packetOf(Magic.HELLO, HELLO.SIZE);
  const view = viewOf(bytes);
  putU16be(view, HELLO.min_version, message.minVersion);
  putU16be(view, HELLO.max_version, message.maxVersion);
  putU32be(view, HELLO.flags, message.flags);
  return bytes;
}

function encodeFile(message: FileMessage): Uint8Array {
  const bytes = packetWithString(Magic.FILE, FILE.STRING, message.path);
  putU32be(viewOf(bytes), FILE.error, message.errno);
  return bytes;
}

/** The path must be the requested one byte for byte, so bytes after its NUL are an error here. */
function decodeFile(bytes: Uint8Array, view: DataView): FileMessage {
  const end = endOfString(bytes, FILE.STRING);
  if (end < 0) throw new ProtocolError('FILE', bytes.length, 'path without final NUL');
  if (end !== bytes.length - 1) throw new ProtocolError('FILE', end, 'bytes after the path');
  return { kind: 'file', errno: u32be(view, FILE.error), path: stringAt(bytes, FILE.STRING) };
}

function demandSize(bytes: Uint8Array, magic: number, size: number): void {
  if (bytes.length !== size)
    throw new ProtocolError(tagName(magic), Math.min(bytes.length, size), `${bytes.length} bytes instead of ${size}`);
}
