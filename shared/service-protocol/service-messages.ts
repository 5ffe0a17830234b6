import { putU16be, putU32be, u16be, u32be, viewOf } from '../bytes.ts';
import { Errno } from '../errno.ts';
import type { ByteString } from './byte-string.ts';
import { endOfString, magicOf, packetOf, packetWithNumber, packetWithString, stringAt } from './packet-bytes.ts';
import type {
  MountPointMessage,
  OpenBlockDeviceMessage,
  OpenMessage,
  ReplyMessage,
  ServiceMessage,
} from './packets.ts';
import {
  ExpectedFormat,
  HELLO_REPLY,
  IOMAP_GRANT,
  IomapMode,
  Magic,
  MOUNT_POINT,
  NUMBER_MESSAGE,
  OPEN,
  requestFlagsAreKnown,
  SOURCE,
  TypeFlag,
  UNREADABLE_PATH,
} from './packets.ts';
import { ProtocolError, tagName } from './protocol-error.ts';

/** Messages of the service. Both directions of the codec, so that one file shows that they agree. */
export function encodeServiceMessage(message: ServiceMessage): Uint8Array {
  switch (message.kind) {
    case 'hello-reply': {
      const bytes = packetOf(Magic.HELLO_REPLY, HELLO_REPLY.SIZE);
      putU16be(viewOf(bytes), HELLO_REPLY.version, message.version);
      return bytes;
    }
    case 'open':
      return encodeOpen(Magic.OPEN, message, 0);
    case 'open-block-device':
      return encodeOpen(Magic.OPEN_BLOCK_DEVICE, message, message.blockSizeBytes);
    case 'type':
      return packetWithNumber(Magic.TYPE, message.flags);
    case 'source':
      return packetWithString(Magic.SOURCE, SOURCE.STRING, message.source);
    case 'mount-point': {
      const bytes = packetWithString(Magic.MOUNT_POINT, MOUNT_POINT.STRING, message.path);
      putU16be(viewOf(bytes), MOUNT_POINT.expected_fmt, message.expectedFormat);
      return bytes;
    }
    case 'options':
      return packetWithString(Magic.OPTIONS, SOURCE.STRING, message.options);
    case 'mtab':
      return packetWithString(Magic.MTAB, SOURCE.STRING, message.options);
    case 'mount':
      return packetWithNumber(Magic.MOUNT, message.msFlags);
    case 'goodbye':
      return packetWithNumber(Magic.GOODBYE, message.exitCode);
    case 'iomap-grant': {
      const bytes = packetOf(Magic.IOMAP_GRANT, IOMAP_GRANT.SIZE);
      putU16be(viewOf(bytes), IOMAP_GRANT.mode, message.mode);
      return bytes;
    }
  }
}

/** Throws ProtocolError, which says what to answer and whether the session goes on. */
export function decodeServiceMessage(bytes: Uint8Array): ServiceMessage {
  const view = viewOf(bytes);
  const magic = magicOf(bytes, view);
  switch (magic) {
    case Magic.HELLO_REPLY:
      return decodeHelloReply(bytes, view);
    case Magic.OPEN:
    case Magic.OPEN_BLOCK_DEVICE:
      return decodeOpen(bytes, view, magic);
    case Magic.TYPE: {
      const flags = decodeNumber(bytes, view, magic);
      if ((flags & ~TypeFlag.FUSEBLK) !== 0) refuse(magic, NUMBER_MESSAGE.value, 'unknown flags');
      return { kind: 'type', flags };
    }
    case Magic.SOURCE:
      return { kind: 'source', source: decodeString(bytes, magic, SOURCE.STRING) };
    case Magic.MOUNT_POINT:
      return decodeMountPoint(bytes, view);
    case Magic.OPTIONS:
      return { kind: 'options', options: decodeString(bytes, magic, SOURCE.STRING) };
    case Magic.MTAB:
      return { kind: 'mtab', options: decodeString(bytes, magic, SOURCE.STRING) };
    case Magic.MOUNT:
      return { kind: 'mount', msFlags: decodeNumber(bytes, view, magic) };
    case Magic.GOODBYE:
      if (bytes.length !== NUMBER_MESSAGE.SIZE) refuseForGood(magic, bytes.length, `${bytes.length} bytes`);
      return { kind: 'goodbye', exitCode: u32be(view, NUMBER_MESSAGE.value) };
    case Magic.IOMAP_GRANT:
      return decodeIomapGrant(bytes, view);
    default:
      throw new ProtocolError(tagName(magic), 0, 'unknown magic');
  }
}

const INVALID: ReplyMessage = Object.freeze({ kind: 'reply', errno: Errno.EINVAL });

/** The helper answers EINVAL and waits for the next command. */
function refuse(magic: number, offset: number, why: string): never {
  throw new ProtocolError(tagName(magic), offset, why, INVALID, false);
}

/** The helper answers EINVAL and gives up. */
function refuseForGood(magic: number, offset: number, why: string): never {
  throw new ProtocolError(tagName(magic), offset, why, INVALID, true);
}

/** The helper answers EINVAL in the form of a file, and waits for the next command. */
function refuseFile(magic: number, offset: number, why: string, path: ByteString): never {
  throw new ProtocolError(tagName(magic), offset, why, { kind: 'file', errno: Errno.EINVAL, path }, false);
}

/** There is no negative answer to a hello reply: the helper just ends. */
function decodeHelloReply(bytes: Uint8Array, view: DataView): ServiceMessage {
  if (bytes.length !== HELLO_REPLY.SIZE) throw new ProtocolError('LAST', bytes.length, `${bytes.length} bytes`);
  if (u16be(view, HELLO_REPLY.padding) !== 0)
    throw new ProtocolError('LAST', HELLO_REPLY.padding, 'nonzero value in padding field');
  return { kind: 'hello-reply', version: u16be(view, HELLO_REPLY.version) };
}

function encodeOpen(magic: number, message: OpenMessage | OpenBlockDeviceMessage, blockSizeBytes: number): Uint8Array {
  const bytes = packetWithString(magic, OPEN.STRING, message.path);
  const view = viewOf(bytes);
  putU32be(view, OPEN.open_flags, message.openFlags);
  putU32be(view, OPEN.create_mode, message.createMode);
  putU32be(view, OPEN.request_flags, message.requestFlags);
  putU32be(view, OPEN.block_size, blockSizeBytes);
  return bytes;
}

function decodeOpen(bytes: Uint8Array, view: DataView, magic: number): OpenMessage | OpenBlockDeviceMessage {
  if (bytes.length < OPEN.STRING + 2) refuseFile(magic, bytes.length, 'too short', UNREADABLE_PATH);
  if (endOfString(bytes, OPEN.STRING) < 0) refuseFile(magic, bytes.length, 'no final NUL', UNREADABLE_PATH);
  const path = stringAt(bytes, OPEN.STRING);
  const requestFlags = u32be(view, OPEN.request_flags);
  if (!requestFlagsAreKnown(requestFlags)) refuseFile(magic, OPEN.request_flags, 'unknown request flags', path);
  if (path === '') refuseFile(magic, OPEN.STRING, 'empty path', path);
  const openFlags = u32be(view, OPEN.open_flags);
  const createMode = u32be(view, OPEN.create_mode);
  if (magic === Magic.OPEN) return { kind: 'open', openFlags, createMode, requestFlags, path };
  const blockSizeBytes = u32be(view, OPEN.block_size);
  return { kind: 'open-block-device', openFlags, createMode, requestFlags, blockSizeBytes, path };
}

function decodeMountPoint(bytes: Uint8Array, view: DataView): MountPointMessage {
  const path = decodeString(bytes, Magic.MOUNT_POINT, MOUNT_POINT.STRING);
  if (u16be(view, MOUNT_POINT.padding) !== 0)
    refuse(Magic.MOUNT_POINT, MOUNT_POINT.padding, 'nonzero value in padding field');
  const expectedFormat = u16be(view, MOUNT_POINT.expected_fmt);
  if (
    expectedFormat !== ExpectedFormat.ANY &&
    expectedFormat !== ExpectedFormat.DIRECTORY &&
    expectedFormat !== ExpectedFormat.REGULAR_FILE
  )
    refuse(Magic.MOUNT_POINT, MOUNT_POINT.expected_fmt, `unknown file type 0x${expectedFormat.toString(16)}`);
  return { kind: 'mount-point', expectedFormat, path };
}

function decodeIomapGrant(bytes: Uint8Array, view: DataView): ServiceMessage {
  const magic = Magic.IOMAP_GRANT;
  if (bytes.length !== IOMAP_GRANT.SIZE) refuseForGood(magic, bytes.length, `${bytes.length} bytes`);
  if (u16be(view, IOMAP_GRANT.padding) !== 0)
    refuseForGood(magic, IOMAP_GRANT.padding, 'nonzero value in padding field');
  const mode = u16be(view, IOMAP_GRANT.mode);
  if (mode !== IomapMode.OPTIONAL && mode !== IomapMode.MANDATORY) refuseForGood(magic, IOMAP_GRANT.mode, 'bad mode');
  return { kind: 'iomap-grant', mode };
}

function decodeNumber(bytes: Uint8Array, view: DataView, magic: number): number {
  if (bytes.length !== NUMBER_MESSAGE.SIZE) refuse(magic, bytes.length, `${bytes.length} bytes`);
  return u32be(view, NUMBER_MESSAGE.value);
}

/** A string of at least one character that ends the packet. */
function decodeString(bytes: Uint8Array, magic: number, start: number): ByteString {
  if (bytes.length < start + 2) refuse(magic, bytes.length, 'too short');
  if (endOfString(bytes, start) < 0) refuse(magic, bytes.length, 'no final NUL');
  const text = stringAt(bytes, start);
  if (text === '') refuse(magic, start, 'empty string');
  return text;
}
