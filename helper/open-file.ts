import { closeSync, constants, fstatSync, openSync, readlinkSync, realpathSync } from 'node:fs';
import { setDeviceBlockSize } from '../native/block-device.ts';
import { closeQuietly, setNonBlocking } from '../native/descriptor.ts';
import { Errno, SystemError } from '../shared/errno.ts';
import { type ByteString, fromByteString } from '../shared/service-protocol/byte-string.ts';
import { type OpenBlockDeviceMessage, type OpenMessage, RequestFlag } from '../shared/service-protocol/packets.ts';
import type { CallerWords } from './caller-words.ts';
import { type FuseConf, isConfiguredPath } from './fuse-conf.ts';
import { type LoopDevices, loopDevicesOver } from './loop.ts';
import { openSystemFile } from './system-file.ts';

const { O_DIRECT, O_EXCL, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_RDWR, O_WRONLY } = constants;

/** O_RDONLY is 0; both bits together have no meaning. */
const ACCESS_MODE = O_WRONLY | O_RDWR;
/** Nothing that creates, truncates or only names a file. */
const FLAGS_ALLOWED = ACCESS_MODE | O_EXCL | O_DIRECT | O_NOFOLLOW | O_NONBLOCK;

/** Opens files for one service: only what the caller named or the administrator permits. */
export class FileOpener {
  readonly #words: CallerWords;
  readonly #conf: FuseConf;
  readonly #subtype: string;
  /** Null when the caller can't have loop devices. */
  readonly #loops: LoopDevices | null;

  constructor(words: CallerWords, conf: FuseConf, subtype: string, loops: LoopDevices | null) {
    this.#words = words;
    this.#conf = conf;
    this.#subtype = subtype;
    this.#loops = loops;
  }

  /** The caller owns the descriptor. Throws SystemError when the request is refused or fails. */
  open(request: OpenMessage | OpenBlockDeviceMessage): number {
    const path = fromByteString(request.path);
    const flags = request.openFlags;
    if ((flags & ~FLAGS_ALLOWED) !== 0 || (flags & ACCESS_MODE) === ACCESS_MODE)
      throw new SystemError(Errno.EINVAL, 'open', path, `flags 0x${flags.toString(16)} are not allowed`);
    const systemFd = openSystemFile(path);
    if (systemFd !== null) return systemFd;
    // Services take this for a write-protected source, and ask again.
    if ((flags & ACCESS_MODE) !== 0 && this.#words.wantReadOnly)
      throw new SystemError(Errno.EROFS, 'open', path, 'the caller wants it read-only');
    let fd = this.#words.mayOpen(request.path) ? openRegularOrBlock(path, flags) : this.#openConfigured(path, flags);
    try {
      if ((flags & O_EXCL) !== 0 && (flags & ACCESS_MODE) !== 0) refuseWhatLoops(fd, path);
      if ((request.requestFlags & RequestFlag.TRYLOOP) !== 0) fd = this.#preferLoop(fd, path, flags);
      if (request.kind === 'open-block-device') prepareBlockDevice(fd, path, request.blockSizeBytes);
      return fd;
    } catch (error) {
      closeQuietly(fd);
      throw error;
    }
  }

  openForReading(path: ByteString): number {
    return this.open({ kind: 'open', openFlags: 0, createMode: 0, requestFlags: 0, path });
  }

  #openConfigured(path: string, flags: number): number {
    const resolved = this.#configuredPath(path);
    const fd = openRegularOrBlock(resolved, flags | O_NOFOLLOW);
    // A directory on the way may have become a link in the meantime.
    if (readlinkSync(`/proc/self/fd/${fd}`) === resolved) return fd;
    closeQuietly(fd);
    throw new SystemError(Errno.ESTALE, 'open', path, 'was replaced');
  }

  /** The service thought this path up, so it must also be permitted behind its symbolic links. */
  #configuredPath(path: string): string {
    if (isConfiguredPath(this.#conf, this.#subtype, path)) {
      const resolved = realpathSync(path);
      if (isConfiguredPath(this.#conf, this.#subtype, resolved)) return resolved;
    }
    throw new SystemError(Errno.EPERM, 'open', path, 'not named on the command line');
  }

  #preferLoop(fd: number, path: string, flags: number): number {
    const loopFd = this.#loops?.open(fd, path, flags & ~O_NOFOLLOW) ?? null;
    if (loopFd === null) return fd;
    closeSync(fd);
    return loopFd;
  }
}

/** O_NONBLOCK keeps a FIFO or a terminal from holding us up before we know what it is. */
function openRegularOrBlock(path: string, flags: number): number {
  const fd = openSync(path, flags | O_NONBLOCK | O_NOCTTY);
  try {
    const status = fstatSync(fd);
    if (!status.isFile() && !status.isBlockDevice())
      throw new SystemError(Errno.EACCES, 'open', path, 'neither a regular file nor a block device');
    if ((flags & O_NONBLOCK) === 0) setNonBlocking(fd, false);
    return fd;
  } catch (error) {
    closeQuietly(fd);
    throw error;
  }
}

/** Who mounts a loop device doesn't see what is written to the file behind it, and the other way round. */
function refuseWhatLoops(fd: number, path: string): void {
  const file = fstatSync(fd);
  if (file.isFile() && loopDevicesOver(file).length > 0)
    throw new SystemError(Errno.EBUSY, 'open', path, 'backs a loop device');
}

/** Sets the block size that the service could not set itself. */
function prepareBlockDevice(fd: number, path: string, blockSizeBytes: number): void {
  if (!fstatSync(fd).isBlockDevice()) throw new SystemError(Errno.ENOTBLK, 'open', path, 'not a block device');
  if (blockSizeBytes !== 0) setDeviceBlockSize(fd, blockSizeBytes);
}
