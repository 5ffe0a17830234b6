import { putI32ne, putU32ne, putU64ne, putU64neHalves, viewOf } from '../../shared/bytes.ts';
import { Errno } from '../../shared/errno.ts';
import {
  ATTR_OUT,
  BMAP_OUT,
  COPY_FILE_RANGE_OUT,
  DIRENT,
  DIRENTPLUS,
  ENTRY_OUT,
  ERRNO_LIMIT,
  GETXATTR_OUT,
  IOCTL_OUT,
  LSEEK_OUT,
  OPEN_OUT,
  OUT_HEADER,
  ROOT_NODE_ID,
  STATFS_OUT,
  STATX_OUT,
  WRITE_OUT,
} from './abi.ts';
import { type Attributes, putAttr, putEntry, putStatx } from './attributes.ts';
import type { Request } from './request.ts';

/** statfs(2) numbers, sizes in blocks. */
export interface StatfsNumbers {
  readonly blockSize: number;
  readonly blocks: number;
  readonly blocksFree: number;
  readonly blocksAvailable: number;
  readonly files: number;
  readonly filesFree: number;
  readonly nameMax: number;
}

const noFlags = (): number => 0;

const align8 = (bytes: number): number => (bytes + 7) & ~7;

/**
 * The reply being built, in the channel's reply buffer: the 16-byte header, then the payload. A
 * handler calls one of the methods, or a sequence of `dirent...` calls after `beginDirectory`.
 */
export class Reply {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** How long the kernel may keep names (also absent ones) and attributes without asking. */
  readonly validSec: number;
  payloadBytes = 0;
  readonly #rootNodeId: number;
  readonly #attributeFlags: (node: Attributes) => number;
  #directoryEnd = 0;

  /** `rootNodeId`: what the kernel calls the root of this mount, which is ROOT_NODE_ID to everybody else here. */
  constructor(
    buffer: Uint8Array,
    validSec: number,
    rootNodeId: number = ROOT_NODE_ID,
    attributeFlags: (node: Attributes) => number = noFlags,
  ) {
    this.bytes = buffer;
    this.view = viewOf(buffer);
    this.validSec = validSec;
    this.#rootNodeId = rootNodeId;
    this.#attributeFlags = attributeFlags;
  }

  /** Largest payload that the buffer can take. */
  get capacityBytes(): number {
    return this.bytes.length - OUT_HEADER.SIZE;
  }

  begin(): void {
    this.payloadBytes = 0;
  }

  /** Writes the header of a success and returns the length of the whole message. */
  finish(request: Request): number {
    return this.#header(request, 0, this.payloadBytes);
  }

  /** Turns the message into a refusal, whatever was built before, and returns its length. */
  finishError(request: Request, errno: number): number {
    return this.#header(request, errno > 0 && errno < ERRNO_LIMIT ? errno : Errno.EIO, 0);
  }

  #header(request: Request, errno: number, payloadBytes: number): number {
    const length = OUT_HEADER.SIZE + payloadBytes;
    putU32ne(this.view, OUT_HEADER.len, length);
    putI32ne(this.view, OUT_HEADER.error, -errno);
    putU64neHalves(this.view, OUT_HEADER.unique, request.uniqueHigh, request.uniqueLow);
    return length;
  }

  /** Reserves a zeroed payload of `lengthBytes` and returns where it starts. */
  zeroed(lengthBytes: number): number {
    this.bytes.fill(0, OUT_HEADER.SIZE, OUT_HEADER.SIZE + lengthBytes);
    this.payloadBytes = lengthBytes;
    return OUT_HEADER.SIZE;
  }

  entry(nodeId: number, node: Attributes, blockSizeBytes: number): void {
    this.#putEntry(OUT_HEADER.SIZE, nodeId, node, blockSizeBytes);
    this.payloadBytes = ENTRY_OUT.SIZE;
  }

  /** "No such name", which the kernel remembers; a plain ENOENT it would not. */
  absentEntry(): void {
    const at = this.zeroed(ENTRY_OUT.SIZE);
    putU64ne(this.view, at + ENTRY_OUT.entry_valid, this.validSec);
  }

  attributes(node: Attributes, blockSizeBytes: number): void {
    const at = this.zeroed(ATTR_OUT.attr);
    putU64ne(this.view, at + ATTR_OUT.attr_valid, this.validSec);
    putAttr(this.view, at + ATTR_OUT.attr, node, blockSizeBytes, this.#attributeFlags(node));
    this.payloadBytes = ATTR_OUT.SIZE;
  }

  /** `attributes` and `attributesMask` are STATX_ATTR_* bits. */
  statx(node: Attributes, blockSizeBytes: number, attributes: number, attributesMask: number): void {
    const at = this.zeroed(STATX_OUT.SIZE);
    putU64ne(this.view, at + STATX_OUT.attr_valid, this.validSec);
    putStatx(this.view, at + STATX_OUT.stat, node, blockSizeBytes, attributes, attributesMask);
  }

  /** `openFlags` are OpenFlag bits. There are no file handles: a node id says everything. */
  open(openFlags: number): void {
    const at = this.zeroed(OPEN_OUT.SIZE);
    putU32ne(this.view, at + OPEN_OUT.open_flags, openFlags);
  }

  statfs(numbers: StatfsNumbers): void {
    const at = this.zeroed(STATFS_OUT.SIZE);
    putU64ne(this.view, at + STATFS_OUT.blocks, numbers.blocks);
    putU64ne(this.view, at + STATFS_OUT.bfree, numbers.blocksFree);
    putU64ne(this.view, at + STATFS_OUT.bavail, numbers.blocksAvailable);
    putU64ne(this.view, at + STATFS_OUT.files, numbers.files);
    putU64ne(this.view, at + STATFS_OUT.ffree, numbers.filesFree);
    putU32ne(this.view, at + STATFS_OUT.bsize, numbers.blockSize);
    putU32ne(this.view, at + STATFS_OUT.namelen, numbers.nameMax);
    putU32ne(this.view, at + STATFS_OUT.frsize, numbers.blockSize);
  }

  /** A value as it is. The caller has checked it against `capacityBytes`. */
  data(value: Uint8Array): void {
    this.bytes.set(value, OUT_HEADER.SIZE);
    this.payloadBytes = value.length;
  }

  /** Part of the buffer for the caller to fill; `payloadBytes` is what was really put there. */
  dataArea(lengthBytes: number): Uint8Array {
    return this.bytes.subarray(OUT_HEADER.SIZE, OUT_HEADER.SIZE + lengthBytes);
  }

  /** Answer to a GETXATTR or LISTXATTR that asked for the size only. */
  xattrSize(sizeBytes: number): void {
    const at = this.zeroed(GETXATTR_OUT.SIZE);
    putU32ne(this.view, at + GETXATTR_OUT.size, sizeBytes);
  }

  /** Answer to CREATE and TMPFILE: entry, and what OPEN answers. */
  entryAndOpen(nodeId: number, node: Attributes, blockSizeBytes: number, openFlags: number): void {
    const at = this.zeroed(ENTRY_OUT.SIZE + OPEN_OUT.SIZE);
    this.#putEntry(at, nodeId, node, blockSizeBytes);
    putU32ne(this.view, at + ENTRY_OUT.SIZE + OPEN_OUT.open_flags, openFlags);
  }

  /** How much of a WRITE or COPY_FILE_RANGE was done. */
  written(sizeBytes: number): void {
    putU32ne(this.view, this.zeroed(WRITE_OUT.SIZE) + WRITE_OUT.size, sizeBytes);
  }

  copied(sizeBytes: number): void {
    putU64ne(this.view, this.zeroed(COPY_FILE_RANGE_OUT.SIZE) + COPY_FILE_RANGE_OUT.bytes_copied, sizeBytes);
  }

  seekPosition(offsetBytes: number): void {
    putU64ne(this.view, OUT_HEADER.SIZE + LSEEK_OUT.offset, offsetBytes);
    this.payloadBytes = LSEEK_OUT.SIZE;
  }

  mappedBlock(blockNr: number): void {
    putU64ne(this.view, OUT_HEADER.SIZE + BMAP_OUT.block, blockNr);
    this.payloadBytes = BMAP_OUT.SIZE;
  }

  /** Result 0 and `outBytes` zeroed bytes of argument, which the caller fills from the returned position on. */
  ioctl(outBytes: number): number {
    return this.zeroed(IOCTL_OUT.SIZE + outBytes) + IOCTL_OUT.SIZE;
  }

  /** Starts a list of directory entries of at most `limitBytes`. */
  beginDirectory(limitBytes: number): void {
    this.#directoryEnd = OUT_HEADER.SIZE + Math.min(limitBytes, this.capacityBytes);
    this.payloadBytes = 0;
  }

  /** True when a READDIRPLUS entry with a name of `nameBytes` still fits. */
  hasRoomForDirentPlus(nameBytes: number): boolean {
    return OUT_HEADER.SIZE + this.payloadBytes + align8(DIRENTPLUS.name + nameBytes) <= this.#directoryEnd;
  }

  /** Adds a READDIR entry; false when it doesn't fit any more. `type` is a DirentType. */
  dirent(
    ino: number,
    type: number,
    name: Uint8Array,
    nameStart: number,
    nameEnd: number,
    nextHigh: number,
    nextLow: number,
  ): boolean {
    const at = OUT_HEADER.SIZE + this.payloadBytes;
    const bytes = align8(DIRENT.name + nameEnd - nameStart);
    if (at + bytes > this.#directoryEnd) return false;
    this.#putDirent(at, ino, type, name, nameStart, nameEnd, nextHigh, nextLow);
    this.payloadBytes += bytes;
    return true;
  }

  /**
   * Adds a READDIRPLUS entry, after `hasRoomForDirentPlus`. Without a `node` the kernel takes the name
   * only and looks the rest up when somebody asks.
   */
  direntPlus(
    nodeId: number,
    node: Attributes | null,
    blockSizeBytes: number,
    ino: number,
    type: number,
    name: Uint8Array,
    nameStart: number,
    nameEnd: number,
    nextHigh: number,
    nextLow: number,
  ): void {
    const at = OUT_HEADER.SIZE + this.payloadBytes;
    if (node === null) this.bytes.fill(0, at, at + ENTRY_OUT.SIZE);
    else this.#putEntry(at, nodeId, node, blockSizeBytes);
    this.#putDirent(at + DIRENTPLUS.dirent, ino, type, name, nameStart, nameEnd, nextHigh, nextLow);
    this.payloadBytes += align8(DIRENTPLUS.name + nameEnd - nameStart);
  }

  #putEntry(at: number, nodeId: number, node: Attributes, blockSizeBytes: number): void {
    const shownId = nodeId === ROOT_NODE_ID ? this.#rootNodeId : nodeId;
    putEntry(this.view, at, shownId, node, blockSizeBytes, this.validSec, this.#attributeFlags(node));
  }

  #putDirent(
    at: number,
    ino: number,
    type: number,
    name: Uint8Array,
    nameStart: number,
    nameEnd: number,
    nextHigh: number,
    nextLow: number,
  ): void {
    const view = this.view;
    const bytes = this.bytes;
    putU64ne(view, at + DIRENT.ino, ino);
    putU64neHalves(view, at + DIRENT.off, nextHigh, nextLow);
    putU32ne(view, at + DIRENT.namelen, nameEnd - nameStart);
    putU32ne(view, at + DIRENT.type, type);
    let to = at + DIRENT.name;
    for (let from = nameStart; from < nameEnd; from++) bytes[to++] = name[from];
    while ((to & 7) !== 0) bytes[to++] = 0;
  }
}
