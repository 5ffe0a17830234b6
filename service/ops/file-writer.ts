import { Errno } from '../../shared/errno.ts';
import type { Inode } from '../ext4/inode.ts';
import { InodeFlag } from '../ext4/layout/inode.ts';
import { AttributeChange } from '../ext4/namespace/set-attributes.ts';
import { WritePlan } from '../ext4/planned-write.ts';
import { IN_HEADER, WRITE_IN, WriteFlag } from '../fuse/abi.ts';
import type { LateReplies } from '../fuse/late-replies.ts';
import { DEFERRED } from '../fuse/operations.ts';
import type { Reply } from '../fuse/reply.ts';
import type { Request } from '../fuse/request.ts';
import type { DataWriter, WritableEngine } from './engine.ts';
import type { FailureHandler } from './failure.ts';
import { ROOT_UID } from './ioctl-write.ts';
import { inodeOf } from './nodes.ts';

/** Where the payload lies in a request buffer. */
const PAYLOAD_START = IN_HEADER.SIZE + WRITE_IN.SIZE;
/** Shorter writes from the kernel's page cache go through the device's: cheaper than waiting for the device. */
const DIRECT_BYTES_MIN = 128 * 1024;
const SET_ID_BITS = 0o6000;
/** Writes whose end one look collects. */
const COMPLETIONS_MAX = 64;
const UNDER_WAY = -1;

/** A write that a thread carries out, by the request buffer that holds its data. */
class WriteUnderWay {
  ino = 0;
  offset = 0;
  /** What the kernel asked for. */
  lengthBytes = 0;
  /** What goes to the device: up to the end of the last block. */
  end = 0;
  uniqueLow = 0;
  uniqueHigh = 0;
}

export interface FileWriterSettings {
  /** Mount option sync: as if each file had the attribute S. */
  readonly sync: boolean;
  /** O_DIRECT of open(2), as the kernel passes it on. */
  readonly directFlag: number;
  readonly onFailure: FailureHandler;
  /** The data of a kept request is written: its buffer is free. */
  readonly giveBack: (buffer: number) => void;
}

/**
 * WRITE. Short ones from the page cache are copied to the device's page cache at once; large ones, and those of
 * programs that use O_DIRECT, are written by threads while other requests go on, and answered when file and size
 * have changed.
 */
export class FileWriter {
  readonly #engine: WritableEngine;
  readonly #data: DataWriter;
  readonly #replies: LateReplies;
  readonly #settings: FileWriterSettings;
  readonly #plan = new WritePlan();
  readonly #change = new AttributeChange();
  /** By request buffer. */
  readonly #underWay: WriteUnderWay[] = [];
  #count = 0;
  readonly #completed = new Float64Array(2 * COMPLETIONS_MAX);

  constructor(engine: WritableEngine, data: DataWriter, replies: LateReplies, settings: FileWriterSettings) {
    this.#engine = engine;
    this.#data = data;
    this.#replies = replies;
    this.#settings = settings;
  }

  write(request: Request, reply: Reply): number {
    const inode = inodeOf(this.#engine, request.nodeId);
    if (!inode.isRegular) return inode.isDirectory ? Errno.EISDIR : Errno.EINVAL;
    const offset = request.u64(WRITE_IN.offset);
    const lengthBytes = request.u32(WRITE_IN.size);
    if (lengthBytes > request.bodyBytes - WRITE_IN.SIZE) return Errno.EINVAL;
    if (offset + lengthBytes > Number.MAX_SAFE_INTEGER) return Errno.EFBIG;
    if (this.#engine.isReadOnly) return Errno.EROFS;
    if (inode.hasFlag(InodeFlag.IMMUTABLE)) return Errno.EPERM;
    if ((request.u32(WRITE_IN.write_flags) & WriteFlag.KILL_SUIDGID) !== 0) this.#dropPrivileges(inode);
    if (lengthBytes === 0) {
      reply.written(0);
      return Errno.OK;
    }
    const end = this.#directEnd(inode, request, offset, lengthBytes);
    if (end === 0) return this.#writeSmall(inode, request, reply, offset, lengthBytes);
    return this.#writeDirect(inode, request, reply, offset, lengthBytes, end);
  }

  /** Waits until no data of the inode is on its way to the device. */
  waitFor(ino: number): void {
    while (this.#count > 0 && this.#underWay.some((write) => write.ino === ino)) this.waitForOne();
  }

  waitForAll(): void {
    while (this.#count > 0) this.waitForOne();
  }

  /** At least one write ends, if any are under way. */
  waitForOne(): void {
    if (this.#count === 0) return;
    this.#data.wait();
    this.finishCompleted();
  }

  /** Writes have ended: answers them. */
  finishCompleted(): void {
    const completed = this.#completed;
    for (let count = COMPLETIONS_MAX; count === COMPLETIONS_MAX; ) {
      count = this.#data.takeCompleted(completed);
      for (let index = 0; index < count; index++) this.#finish(completed[2 * index], completed[2 * index + 1]);
    }
  }

  /**
   * Where a write past the page cache would end, 0 when it can't be one: it must begin with a block, and end with one
   * or fill up the last block of the file with zeros.
   */
  #directEnd(inode: Inode, request: Request, offset: number, lengthBytes: number): number {
    const { blockSize } = this.#engine;
    const isDirect = (request.u32(WRITE_IN.flags) & this.#settings.directFlag) !== 0;
    if (!isDirect && lengthBytes < DIRECT_BYTES_MIN) return 0;
    // Writes to a file with the attribute S are answered after a commit, which takes them to be done.
    if (this.#settings.sync || inode.hasFlag(InodeFlag.SYNC)) return 0;
    if (offset % blockSize !== 0 || blockSize % this.#data.alignmentBytes !== 0) return 0;
    const end = Math.ceil((offset + lengthBytes) / blockSize) * blockSize;
    if (end === offset + lengthBytes) return end;
    const fits = PAYLOAD_START + (end - offset) <= request.bytes.length;
    return fits && offset + lengthBytes >= inode.sizeBytes ? end : 0;
  }

  #writeSmall(inode: Inode, request: Request, reply: Reply, offset: number, lengthBytes: number): number {
    this.#waitForOverlap(inode, offset, offset + lengthBytes);
    const start = request.bodyStart + WRITE_IN.SIZE;
    const bytes = request.bytes.subarray(start, start + lengthBytes);
    let written = this.#engine.writeSmall(inode, offset, bytes);
    // Of its page cache the kernel believes everything written that is not refused.
    const mustBeWhole = (request.u32(WRITE_IN.write_flags) & WriteFlag.CACHE) !== 0;
    // Where not even a beginning has room, space is looked for that deleted files still hold.
    if (written < lengthBytes && mustBeWhole) {
      written += this.#engine.writeSmall(inode, offset + written, bytes.subarray(written));
    }
    if (written < lengthBytes && mustBeWhole) return Errno.ENOSPC;
    reply.written(written);
    return Errno.OK;
  }

  #writeDirect(inode: Inode, request: Request, reply: Reply, offset: number, lengthBytes: number, end: number): number {
    const plan = this.#plan;
    this.#waitForOverlap(inode, offset, end);
    this.#engine.planWrite(inode, offset, end - offset, plan);
    // No space for all of it, or blocks that can't be planned.
    if (plan.lengthBytes < end - offset) return this.#writeSmall(inode, request, reply, offset, lengthBytes);
    request.bytes.fill(0, PAYLOAD_START + lengthBytes, PAYLOAD_START + (end - offset));
    const errno = this.#data.write(request.buffer, request.bytes, PAYLOAD_START, plan);
    if (errno === UNDER_WAY) {
      this.#remember(inode.ino, request, offset, lengthBytes, end);
      return DEFERRED;
    }
    if (errno !== Errno.OK) return errno;
    this.#engine.finishWrite(inode, offset, lengthBytes);
    reply.written(lengthBytes);
    return Errno.OK;
  }

  #remember(ino: number, request: Request, offset: number, lengthBytes: number, end: number): void {
    while (this.#underWay.length <= request.buffer) this.#underWay.push(new WriteUnderWay());
    const write = this.#underWay[request.buffer];
    write.ino = ino;
    write.offset = offset;
    write.lengthBytes = lengthBytes;
    write.end = end;
    write.uniqueLow = request.uniqueLow;
    write.uniqueHigh = request.uniqueHigh;
    request.isKept = true;
    this.#count++;
  }

  #finish(buffer: number, deviceErrno: number): void {
    const write = this.#underWay[buffer];
    const { ino, uniqueLow, uniqueHigh, lengthBytes } = write;
    write.ino = 0;
    this.#count--;
    this.#settings.giveBack(buffer);
    const errno = deviceErrno === Errno.OK ? this.#makePartOfFile(ino, write.offset, lengthBytes) : deviceErrno;
    if (errno === Errno.OK) this.#replies.written(uniqueLow, uniqueHigh, lengthBytes);
    else this.#replies.answer(uniqueLow, uniqueHigh, errno);
  }

  /** Another request may be waiting for this, and goes on on behalf of its own caller. */
  #makePartOfFile(ino: number, offset: number, lengthBytes: number): number {
    const { caller } = this.#engine;
    const { uid, gid } = caller;
    try {
      this.#engine.beginRequest(0, 0);
      this.#engine.finishWrite(this.#engine.inode(ino), offset, lengthBytes);
      return Errno.OK;
    } catch (error) {
      return this.#settings.onFailure(`WRITE on inode ${ino}`, error);
    } finally {
      caller.uid = uid;
      caller.gid = gid;
    }
  }

  /**
   * Two writes to one block must not be under way at once, and neither must one to the block of the file's end while
   * what lies behind the end becomes part of the file.
   */
  #waitForOverlap(inode: Inode, offset: number, end: number): void {
    if (this.#count === 0) return;
    const { blockSize } = this.#engine;
    const growsOverEnd = offset > inode.sizeBytes && inode.sizeBytes % blockSize !== 0;
    const start = offset - (offset % blockSize);
    const overlaps = (write: WriteUnderWay): boolean =>
      write.ino === inode.ino && (growsOverEnd || (write.offset < end && write.end > start));
    while (this.#underWay.some(overlaps)) this.waitForOne();
  }

  /** Data are about to change by a request that does not tell whether its caller may keep these bits: only root may. */
  changedBy(inode: Inode, uid: number): void {
    if (uid !== ROOT_UID && inode.isRegular) this.#dropPrivileges(inode);
  }

  #dropPrivileges(inode: Inode): void {
    if ((inode.mode & SET_ID_BITS) === 0) return;
    this.#change.clear();
    this.#change.dropsPrivileges = true;
    this.#engine.setAttributes(inode, this.#change);
  }
}
