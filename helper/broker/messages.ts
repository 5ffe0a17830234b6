import { putU32be, u32be, viewOf } from '../../shared/bytes.ts';
import { fromByteString, toByteString } from '../../shared/service-protocol/byte-string.ts';
import {
  endOfString,
  magicOf,
  packetOf,
  packetWithString,
  stringAt,
} from '../../shared/service-protocol/packet-bytes.ts';
import { ProtocolError, tagName } from '../../shared/service-protocol/protocol-error.ts';

/**
 * What a user's helper and the mount broker say to each other: one SEQPACKET packet is one message with at most one
 * descriptor, integers are big endian, a string ends its packet and ends with NUL. Every request has one answer.
 */
export const BROKER_SOCKET = '/run/fuservicemount';

/** Bytes of the longest packet: an answer with its explanation. */
export const BROKER_PACKET_BYTES_MAX = 2048;
const EXPLANATION_CHARACTERS_MAX = 400;

const Magic = Object.freeze({
  CONNECT: 0x434f4e4e, // CONN
  SOURCE: 0x53524345, // SRCE
  MOUNT: 0x4d4f554e, // MOUN
  KEEP: 0x4b454550, // KEEP
  UNMOUNT: 0x554d4e54, // UMNT
  ANSWER: 0x414e5357, // ANSW
});

/** Offsets in bytes; CONNECT and SOURCE are the magic and a string, KEEP is the magic alone. */
const WORD = Object.freeze({ STRING: 4 });
const MOUNT = Object.freeze({ ms_flags: 4, options: 8, max_read: 12, STRING: 16 });
const UNMOUNT = Object.freeze({ flags: 4, STRING: 8 });
const ANSWER = Object.freeze({ error: 4, STRING: 8 });
const KEEP_BYTES = 4;

/** Bits of MOUNT's options. */
export const MountOption = Object.freeze({ ALLOW_OTHER: 1, DEFAULT_PERMISSIONS: 2 });
export const MOUNT_OPTIONS_KNOWN = MountOption.ALLOW_OTHER | MountOption.DEFAULT_PERMISSIONS;

/** Bits of UNMOUNT's flags. */
const LAZY = 1;

/** Answered with a socket that is connected to the service of this subtype. */
export interface ConnectRequest {
  readonly kind: 'connect';
  readonly subtype: string;
}

/**
 * What the mount table shall show as source. A name with a slash comes with the file itself, open for reading, and the
 * mount table shows the path of that.
 */
export interface SourceRequest {
  readonly kind: 'source';
  readonly name: string;
}

/** Comes with the mount point. Answered with the mounted /dev/fuse descriptor; nobody sees the mount yet. */
export interface MountCommand {
  readonly kind: 'mount';
  /** MS_* bits of ms-flags.ts. */
  readonly msFlags: number;
  /** MountOption bits. */
  readonly options: number;
  /** Bytes; 0 for the kernel's own choice. */
  readonly maxRead: number;
  readonly subtype: string;
}

/** The mount shall appear. Without it, the mount goes with the connection. */
export interface KeepRequest {
  readonly kind: 'keep';
}

/** Comes with the directory in which the mount point is called `name`. */
export interface UnmountRequest {
  readonly kind: 'unmount';
  readonly lazy: boolean;
  readonly name: string;
}

export type BrokerRequest = ConnectRequest | SourceRequest | MountCommand | KeepRequest | UnmountRequest;

/** `errno` 0 is success; `text` explains a failure to the user. */
export interface BrokerAnswer {
  readonly errno: number;
  readonly text: string;
}

export function encodeRequest(request: BrokerRequest): Uint8Array {
  switch (request.kind) {
    case 'connect':
      return packetWithString(Magic.CONNECT, WORD.STRING, toByteString(request.subtype));
    case 'source':
      return packetWithString(Magic.SOURCE, WORD.STRING, toByteString(request.name));
    case 'mount': {
      const bytes = packetWithString(Magic.MOUNT, MOUNT.STRING, toByteString(request.subtype));
      const view = viewOf(bytes);
      putU32be(view, MOUNT.ms_flags, request.msFlags);
      putU32be(view, MOUNT.options, request.options);
      putU32be(view, MOUNT.max_read, request.maxRead);
      return bytes;
    }
    case 'keep':
      return packetOf(Magic.KEEP, KEEP_BYTES);
    case 'unmount': {
      const bytes = packetWithString(Magic.UNMOUNT, UNMOUNT.STRING, toByteString(request.name));
      putU32be(viewOf(bytes), UNMOUNT.flags, request.lazy ? LAZY : 0);
      return bytes;
    }
  }
}

/** Throws ProtocolError, after which there is nothing to talk about any more. */
export function decodeRequest(bytes: Uint8Array): BrokerRequest {
  const view = viewOf(bytes);
  const magic = magicOf(bytes, view);
  switch (magic) {
    case Magic.CONNECT:
      return { kind: 'connect', subtype: textAt(bytes, magic, WORD.STRING) };
    case Magic.SOURCE:
      return { kind: 'source', name: textAt(bytes, magic, WORD.STRING) };
    case Magic.MOUNT: {
      const subtype = textAt(bytes, magic, MOUNT.STRING);
      const msFlags = u32be(view, MOUNT.ms_flags);
      return {
        kind: 'mount',
        msFlags,
        options: u32be(view, MOUNT.options),
        maxRead: u32be(view, MOUNT.max_read),
        subtype,
      };
    }
    case Magic.KEEP:
      if (bytes.length !== KEEP_BYTES) fail(magic, bytes.length, `${bytes.length} bytes`);
      return { kind: 'keep' };
    case Magic.UNMOUNT: {
      const name = textAt(bytes, magic, UNMOUNT.STRING);
      const flags = u32be(view, UNMOUNT.flags);
      if ((flags & ~LAZY) !== 0) fail(magic, UNMOUNT.flags, 'unknown flags');
      return { kind: 'unmount', lazy: flags === LAZY, name };
    }
    default:
      return fail(magic, 0, 'unknown magic');
  }
}

export function encodeAnswer(answer: BrokerAnswer): Uint8Array {
  const text = answer.text.replaceAll('\0', '').slice(0, EXPLANATION_CHARACTERS_MAX);
  const bytes = packetWithString(Magic.ANSWER, ANSWER.STRING, toByteString(text));
  putU32be(viewOf(bytes), ANSWER.error, answer.errno);
  return bytes;
}

export function decodeAnswer(bytes: Uint8Array): BrokerAnswer {
  const view = viewOf(bytes);
  const magic = magicOf(bytes, view);
  if (magic !== Magic.ANSWER) fail(magic, 0, 'not an answer');
  if (endOfString(bytes, ANSWER.STRING) < 0) fail(magic, bytes.length, 'no final NUL');
  return { errno: u32be(view, ANSWER.error), text: fromByteString(stringAt(bytes, ANSWER.STRING)) };
}

/** A string of at least one character that fills the rest of the packet. */
function textAt(bytes: Uint8Array, magic: number, start: number): string {
  const end = endOfString(bytes, start);
  if (end !== bytes.length - 1 || end <= start) fail(magic, start, 'no proper string');
  return fromByteString(stringAt(bytes, start));
}

function fail(magic: number, offset: number, why: string): never {
  throw new ProtocolError(tagName(magic), offset, why);
}
