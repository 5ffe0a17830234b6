import type { ByteString } from './byte-string.ts';
import { toByteString } from './byte-string.ts';

/**
 * The fuse service protocol, version 1 (libfuse, include/fuse_service_priv.h): what the privileged mount
 * helper and the contained file system service say to each other over an AF_UNIX SEQPACKET socket. One packet
 * is one message; integers are big endian; strings end the packet and end with NUL.
 */
export const PROTOCOL_VERSION = 1;

/** Bytes. A larger packet ends the session. */
export const PACKET_BYTES_MAX = 65536;

/** First four bytes of a packet, an ASCII tag. */
export const Magic = Object.freeze({
  HELLO: 0x53414654, // SAFT
  HELLO_REPLY: 0x4c415354, // LAST
  FILE: 0x46494c45,
  OPEN: 0x4f50454e,
  OPEN_BLOCK_DEVICE: 0x42444556, // BDEV
  TYPE: 0x54595045,
  SOURCE: 0x4e414d45, // NAME
  MOUNT_POINT: 0x4d4e5450, // MNTP
  OPTIONS: 0x4f505453, // OPTS
  MTAB: 0x4d544142,
  MOUNT: 0x444f4954, // DOIT
  GOODBYE: 0x42594545, // BYEE
  REPLY: 0x5245504c, // REPL
  IOMAP_GRANT: 0x494f4d41, // IOMA
  ARGUMENTS: 0x41524753, // ARGS, inside the argv memfd only
});

export const HelloFlag = Object.freeze({ ALLOW_OTHER: 1, FUSEBLK: 2 });

/**
 * How a file shall be opened. QUIET: the helper prints nothing when it fails. TRYLOOP is our extension:
 * answer a regular file with a loop device over it if possible; libfuse's helper refuses the bit with EINVAL.
 */
export const RequestFlag = Object.freeze({ QUIET: 1, TRYLOOP: 2 });
const REQUEST_FLAGS_KNOWN = RequestFlag.QUIET | RequestFlag.TRYLOOP;
export const requestFlagsAreKnown = (flags: number): boolean => (flags & ~REQUEST_FLAGS_KNOWN) === 0;

export const TypeFlag = Object.freeze({ FUSEBLK: 1 });

/** What the mount point must be (S_IFMT values). */
export const ExpectedFormat = Object.freeze({ ANY: 0, DIRECTORY: 0x4000, REGULAR_FILE: 0x8000 });

/** Whether a mount without iomap is worth having: "P?" and "P!". */
export const IomapMode = Object.freeze({ OPTIONAL: 0x503f, MANDATORY: 0x5021 });

/** Names of the two files that the helper sends unasked after the hello. */
export const ARGUMENTS_PATH = toByteString('argv');
export const FUSE_DEVICE_PATH = toByteString('fusedev');
/** Stands in the answer to an OPEN whose path can't be read. */
export const UNREADABLE_PATH = toByteString('?');

/** Offsets in bytes. Messages with a string at STRING are variable; the others are exactly SIZE bytes. */
export const HELLO = Object.freeze({ min_version: 4, max_version: 6, flags: 8, SIZE: 12 });
export const HELLO_REPLY = Object.freeze({ version: 4, padding: 6, SIZE: 8 });
export const FILE = Object.freeze({ error: 4, STRING: 8 });
export const OPEN = Object.freeze({ open_flags: 4, create_mode: 8, request_flags: 12, block_size: 16, STRING: 20 });
export const SOURCE = Object.freeze({ STRING: 4 });
export const MOUNT_POINT = Object.freeze({ expected_fmt: 4, padding: 6, STRING: 8 });
export const IOMAP_GRANT = Object.freeze({ mode: 4, padding: 6, SIZE: 8 });
/** TYPE, DOIT, BYEE and REPL: the magic and one number. */
export const NUMBER_MESSAGE = Object.freeze({ value: 4, SIZE: 8 });

export interface HelloMessage {
  readonly kind: 'hello';
  readonly minVersion: number;
  readonly maxVersion: number;
  readonly flags: number;
}

/** Errno 0 and one descriptor, or a positive errno and none. */
export interface FileMessage {
  readonly kind: 'file';
  readonly errno: number;
  readonly path: ByteString;
}

export interface ReplyMessage {
  readonly kind: 'reply';
  readonly errno: number;
}

/** From the helper to the service. */
export type HelperMessage = HelloMessage | FileMessage | ReplyMessage;

export interface HelloReplyMessage {
  readonly kind: 'hello-reply';
  readonly version: number;
}

/** `openFlags` are O_* bits of this architecture. */
export interface OpenMessage {
  readonly kind: 'open';
  readonly openFlags: number;
  readonly createMode: number;
  readonly requestFlags: number;
  readonly path: ByteString;
}

/** `blockSizeBytes` 0 keeps the device's present block size. */
export interface OpenBlockDeviceMessage {
  readonly kind: 'open-block-device';
  readonly openFlags: number;
  readonly createMode: number;
  readonly requestFlags: number;
  readonly blockSizeBytes: number;
  readonly path: ByteString;
}

export interface TypeMessage {
  readonly kind: 'type';
  readonly flags: number;
}

export interface SourceMessage {
  readonly kind: 'source';
  readonly source: ByteString;
}

export interface MountPointMessage {
  readonly kind: 'mount-point';
  readonly expectedFormat: number;
  readonly path: ByteString;
}

export interface OptionsMessage {
  readonly kind: 'options';
  readonly options: ByteString;
}

export interface MtabMessage {
  readonly kind: 'mtab';
  readonly options: ByteString;
}

/** `msFlags` are MS_* bits of mount(2), see ms-flags.ts. */
export interface MountMessage {
  readonly kind: 'mount';
  readonly msFlags: number;
}

export interface GoodbyeMessage {
  readonly kind: 'goodbye';
  readonly exitCode: number;
}

/** Extension, not in libfuse: asks the helper to pre-approve iomap on its /dev/fuse descriptor. */
export interface IomapGrantMessage {
  readonly kind: 'iomap-grant';
  readonly mode: number;
}

/** From the service to the helper. */
export type ServiceMessage =
  | HelloReplyMessage
  | OpenMessage
  | OpenBlockDeviceMessage
  | TypeMessage
  | SourceMessage
  | MountPointMessage
  | OptionsMessage
  | MtabMessage
  | MountMessage
  | GoodbyeMessage
  | IomapGrantMessage;
