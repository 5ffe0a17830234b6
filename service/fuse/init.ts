import { putU16ne, putU32ne } from '../../shared/bytes.ts';
import { IN_HEADER, INIT_IN, INIT_OUT, InitFlag, MIN_READ_BUFFER_BYTES, ProtocolVersion } from './abi.ts';
import { INIT_FLAG2_IOMAP, IOMAP_MINOR } from './iomap-profile.ts';
import type { Reply } from './reply.ts';
import type { Request } from './request.ts';

/** What the kernel and we have agreed on. */
export interface Connection {
  readonly minor: number;
  /** First flag word: what was offered and accepted. */
  readonly flags: number;
  /** The kernel reads and writes files by itself, by our mappings. */
  readonly iomap: boolean;
}

/** What a connection shall be able to do. */
export interface ConnectionWishes {
  /** Let the kernel enforce POSIX ACLs. */
  readonly posixAcl: boolean;
  readonly writable: boolean;
  /** Let the kernel gather writes before it sends them. */
  readonly writebackCache: boolean;
  /** The smallest difference of two times of a file; a nanosecond unless told. */
  readonly timeGranularityNs?: number;
  /** Let the kernel read and write files by itself. Only who has asked it whether it can may wish this. */
  readonly iomap?: 'never' | 'default' | 'require';
}

/** How an INIT request was taken. The reply is complete in the first two cases. */
export type InitOutcome =
  | { readonly kind: 'agreed'; readonly connection: Connection }
  /** The kernel knows a newer major version: it asks again with ours. */
  | { readonly kind: 'ask-again' }
  | { readonly kind: 'refused'; readonly reason: string };

/** Everything of the first flag word that this server does when the kernel offers it. Of the second word: iomap. */
const IMPLEMENTED =
  InitFlag.ASYNC_READ |
  InitFlag.EXPORT_SUPPORT |
  InitFlag.HAS_IOCTL_DIR |
  InitFlag.DO_READDIRPLUS |
  InitFlag.READDIRPLUS_AUTO |
  InitFlag.ASYNC_DIO |
  InitFlag.NO_OPEN_SUPPORT |
  InitFlag.PARALLEL_DIROPS |
  InitFlag.MAX_PAGES |
  InitFlag.CACHE_SYMLINKS |
  InitFlag.NO_OPENDIR_SUPPORT |
  InitFlag.INIT_EXT;

/** What a file system that can be written does in addition. */
const IMPLEMENTED_FOR_WRITING =
  InitFlag.BIG_WRITES | InitFlag.DONT_MASK | InitFlag.HANDLE_KILLPRIV_V2 | InitFlag.SETXATTR_EXT;

/**
 * Instead of that with iomap: the kernel applies umasks and default ACLs and takes away set-user-ID by itself. It
 * gathers writes in any case; saying so includes the files that have no mappings.
 */
const IMPLEMENTED_FOR_IOMAP = InitFlag.BIG_WRITES | InitFlag.WRITEBACK_CACHE;

/** Pages of the largest READ: 1 MiB of 4 KiB pages, the kernel's default limit. */
const PAGES_MAX = 256;
const PAGE_BYTES = 4096;
const WRITE_BYTES_MAX = PAGES_MAX * PAGE_BYTES;

/** The longest READ. Kernels with larger pages have to be told with the mount option max_read. */
export const READ_BYTES_MAX: number = PAGES_MAX * PAGE_BYTES;

/** Buffers that a channel should have: the largest WRITE or READ and, in a page of their own, the headers. */
export const REQUEST_BUFFER_BYTES: number = WRITE_BYTES_MAX + PAGE_BYTES;
export const REPLY_BUFFER_BYTES: number = READ_BYTES_MAX + PAGE_BYTES;
/** The kernel reads no further ahead than this, nor than the mount helper allows, whose limit is the same. */
const READ_AHEAD_BYTES = 2 * 2 ** 20;
/** Readahead and asynchronous direct reads under way at once; the kernel's own default of 12 starves the device. */
const BACKGROUND_MAX = 64;
const CONGESTION_THRESHOLD = 48;

function implementedFlags(wishes: ConnectionWishes, iomap: boolean): number {
  let flags = wishes.posixAcl ? IMPLEMENTED | InitFlag.POSIX_ACL : IMPLEMENTED;
  // Opens are counted: what was allocated ahead of an append goes with the last.
  if (iomap) return (flags & ~InitFlag.NO_OPEN_SUPPORT) | IMPLEMENTED_FOR_IOMAP;
  if (wishes.writable) flags |= IMPLEMENTED_FOR_WRITING;
  return wishes.writable && wishes.writebackCache ? flags | InitFlag.WRITEBACK_CACHE : flags;
}

/** Answers INIT. */
export function negotiate(request: Request, reply: Reply, wishes: ConnectionWishes): InitOutcome {
  const major = request.u32(INIT_IN.major);
  const minor = request.u32(INIT_IN.minor);
  if (major > ProtocolVersion.MAJOR) {
    putVersion(reply, ProtocolVersion.MINOR_MAX);
    return { kind: 'ask-again' };
  }
  if (major < ProtocolVersion.MAJOR || minor < ProtocolVersion.MINOR_MIN) {
    return refused(`the kernel speaks FUSE ${major}.${minor}, at least 7.${ProtocolVersion.MINOR_MIN} is needed`);
  }
  if (request.bodyBytes < INIT_IN.SIZE) return refused(`INIT with a body of ${request.bodyBytes} bytes`);
  const iomap = offersIomap(request, minor) && (wishes.iomap ?? 'never') !== 'never';
  if (wishes.iomap === 'require' && !iomap) return refused('iomap is required, and the kernel does not offer it');
  const flags = request.u32(INIT_IN.flags) & implementedFlags(wishes, iomap);
  const agreedMinor = iomap ? IOMAP_MINOR : Math.min(minor, ProtocolVersion.MINOR_MAX);
  const at = putVersion(reply, agreedMinor);
  const view = reply.view;
  // The kernel takes the smaller of this and its own, which the mount helper may be raising right now.
  putU32ne(view, at + INIT_OUT.max_readahead, Math.max(request.u32(INIT_IN.max_readahead), READ_AHEAD_BYTES));
  putU32ne(view, at + INIT_OUT.flags, flags);
  putU16ne(view, at + INIT_OUT.max_background, BACKGROUND_MAX);
  putU16ne(view, at + INIT_OUT.congestion_threshold, CONGESTION_THRESHOLD);
  putU32ne(view, at + INIT_OUT.max_write, maxWriteBytes(request.bytes.length));
  putU32ne(view, at + INIT_OUT.time_gran, wishes.timeGranularityNs ?? 1);
  putU16ne(view, at + INIT_OUT.max_pages, (flags & InitFlag.MAX_PAGES) === 0 ? 0 : PAGES_MAX);
  if (iomap) putU32ne(view, at + INIT_OUT.flags2, INIT_FLAG2_IOMAP);
  return { kind: 'agreed', connection: { minor: agreedMinor, flags, iomap } };
}

/** The bit alone says nothing: released kernels use it for something else. */
function offersIomap(request: Request, minor: number): boolean {
  if (minor !== IOMAP_MINOR || request.bodyBytes < INIT_IN.EXT_SIZE) return false;
  const isExtended = (request.u32(INIT_IN.flags) & InitFlag.INIT_EXT) !== 0;
  return isExtended && (request.u32(INIT_IN.flags2) & INIT_FLAG2_IOMAP) !== 0;
}

function refused(reason: string): InitOutcome {
  return { kind: 'refused', reason };
}

function putVersion(reply: Reply, minor: number): number {
  const at = reply.zeroed(INIT_OUT.SIZE);
  putU32ne(reply.view, at + INIT_OUT.major, ProtocolVersion.MAJOR);
  putU32ne(reply.view, at + INIT_OUT.minor, minor);
  return at;
}

/**
 * The kernel insists on a read buffer that takes header and payload of the largest WRITE: whole pages, headers
 * in one of their own.
 */
function maxWriteBytes(requestBufferBytes: number): number {
  const pages = Math.floor(requestBufferBytes / PAGE_BYTES) - 1;
  return Math.min(WRITE_BYTES_MAX, Math.max(1, pages) * PAGE_BYTES);
}

/** Whether a request buffer is large enough for any kernel. */
export function requestBufferSuffices(requestBufferBytes: number): boolean {
  return requestBufferBytes >= Math.max(MIN_READ_BUFFER_BYTES, IN_HEADER.SIZE + PAGE_BYTES);
}
