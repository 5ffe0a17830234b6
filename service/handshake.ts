import { closeSync } from 'node:fs';
import { closeQuietly, setCloseOnExec } from '../native/descriptor.ts';
import { readWholeFile } from '../native/memfd.ts';
import {
  AF_UNIX,
  disallowRights,
  type Packet,
  peerCredentials,
  receivePacket,
  SOCK_SEQPACKET,
  sendPacket,
  shutdownSocket,
  socketInfo,
} from '../native/seqpacket.ts';
import { Errno, SystemError } from '../shared/errno.ts';
import { pauseThread } from '../shared/pause.ts';
import { ARGUMENTS_BYTES_MAX, decodeArguments, type ServiceArguments } from '../shared/service-protocol/argv-memfd.ts';
import { type ByteString, fromByteString } from '../shared/service-protocol/byte-string.ts';
import { failureOption } from '../shared/service-protocol/failure-text.ts';
import { decodeHelperMessage } from '../shared/service-protocol/helper-messages.ts';
import type { HelloMessage, HelperMessage, ServiceMessage } from '../shared/service-protocol/packets.ts';
import {
  ARGUMENTS_PATH,
  ExpectedFormat,
  FILE,
  FUSE_DEVICE_PATH,
  HELLO,
  HelloFlag,
  NUMBER_MESSAGE,
  PROTOCOL_VERSION,
  RequestFlag,
} from '../shared/service-protocol/packets.ts';
import { ProtocolError } from '../shared/service-protocol/protocol-error.ts';
import { encodeServiceMessage } from '../shared/service-protocol/service-messages.ts';

/** Bytes: an OPEN command with the longest path that Linux knows must fit the send buffer. */
const SEND_BUFFER_BYTES_MIN = 4117;

/** fcntl.h, the same on all architectures. */
const O_ACCMODE = 3;
const O_RDONLY = 0;
const O_RDWR = 2;

/** A helper that does not take our last words gets the goodbye without them. */
const EXPLAIN_MS = 1_000;

export interface HandshakeLimits {
  /** Whoever may write to the socket can start a service and then say nothing. */
  readonly helloMs: number;
  /** For every other packet of the helper. */
  readonly replyMs: number;
  /** How long a busy device is asked for again: udev or blkid may be holding it. */
  readonly busyMs: number;
  readonly busyPauseMs: number;
}

export const HANDSHAKE_LIMITS: HandshakeLimits = Object.freeze({
  helloMs: 10_000,
  replyMs: 120_000,
  busyMs: 15_000,
  busyPauseMs: 100,
});

export interface HelperPermissions {
  readonly allowOther: boolean;
}

export interface HelperGift {
  readonly arguments: ServiceArguments;
  /** /dev/fuse, not mounted yet. The caller owns it. */
  readonly fuseFd: number;
}

export interface OpenedFile {
  /** The caller owns it. */
  readonly fd: number;
  /** Read-write was asked for and refused. */
  readonly forcedReadOnly: boolean;
}

export interface FileWishes {
  /** A regular file shall come as a loop device over it, where the helper can do that. */
  readonly tryLoop: boolean;
  /** The helper shall not complain to its user. */
  readonly quiet: boolean;
}

/** The helper did not do what we asked for. It tells its user why, in more words than it has for us. */
export class HelperRefusal extends SystemError {}

export interface MountRequest {
  readonly source: ByteString;
  /** As typed: the helper compares it with its own command line. */
  readonly mountPoint: ByteString;
  /** For the kernel's FUSE driver. */
  readonly options: readonly ByteString[];
  readonly mtab: readonly ByteString[];
  readonly msFlags: number;
}

/**
 * Accepts `socket` as the connection to a mount helper, or closes it and throws. `peerUids` are the
 * users whose processes may play the helper: everybody else who can reach the socket is turned away.
 */
export function openServiceSession(
  socket: number,
  peerUids: readonly number[],
  limits: HandshakeLimits = HANDSHAKE_LIMITS,
  nowMs: () => number = () => performance.now(),
): ServiceSession {
  try {
    validateActivation(socket);
    checkPeer(socket, peerUids);
  } catch (error) {
    closeQuietly(socket);
    throw error;
  }
  return new ServiceSession(socket, limits, nowMs);
}

export function validateActivation(socket: number): void {
  const info = socketInfo(socket);
  const target = `fd ${socket}`;
  if (info.family !== AF_UNIX) throw new SystemError(Errno.EAFNOSUPPORT, 'service socket', target);
  if (info.type !== SOCK_SEQPACKET) throw new SystemError(Errno.EPROTOTYPE, 'service socket', target);
  if (info.sendBufferBytes < SEND_BUFFER_BYTES_MIN) throw new SystemError(Errno.ENOBUFS, 'service socket', target);
  setCloseOnExec(socket, true);
}

function checkPeer(socket: number, peerUids: readonly number[]): void {
  const { uid, pid } = peerCredentials(socket);
  if (!peerUids.includes(uid))
    throw new SystemError(Errno.EPERM, 'service socket', '', `process ${pid} of user ${uid} is no mount helper`);
}

/**
 * The service's side of one mount attempt. Calls go in this order: receiveHello, receiveGift, openFile
 * as often as needed, finishFiles, mount, goodbye. Whatever throws leaves no descriptor open but those
 * already returned and the socket, which `goodbye` or `close` ends. A HelperRefusal's `syscall` is the
 * packet's name; a helper that breaks the protocol is a ProtocolError.
 */
export class ServiceSession {
  readonly #socket: number;
  readonly #limits: HandshakeLimits;
  readonly #nowMs: () => number;
  #open = true;
  /** Before the hello is answered there is no session that could be ended by a goodbye. */
  #agreed = false;

  constructor(socket: number, limits: HandshakeLimits, nowMs: () => number) {
    this.#socket = socket;
    this.#limits = limits;
    this.#nowMs = nowMs;
  }

  /** Agrees on the protocol version. There is no negative answer: a helper that doesn't fit sees the connection end. */
  receiveHello(): HelperPermissions {
    const hello = this.#receiveHello();
    if (hello.minVersion > hello.maxVersion)
      throw new ProtocolError('SAFT', HELLO.min_version, 'versions out of order');
    if (hello.minVersion > PROTOCOL_VERSION || hello.maxVersion < PROTOCOL_VERSION)
      throw new ProtocolError(
        'SAFT',
        HELLO.min_version,
        `versions ${hello.minVersion} to ${hello.maxVersion} offered, ${PROTOCOL_VERSION} needed`,
      );
    this.#send({ kind: 'hello-reply', version: PROTOCOL_VERSION });
    this.#agreed = true;
    return { allowOther: (hello.flags & HelloFlag.ALLOW_OTHER) !== 0 };
  }

  /** The command line and the FUSE device, which come unasked after the hello. */
  receiveGift(): HelperGift {
    const argumentsFd = this.#receiveFile(ARGUMENTS_PATH, 'FILE');
    let serviceArguments: ServiceArguments;
    try {
      serviceArguments = decodeArguments(readWholeFile(argumentsFd, ARGUMENTS_BYTES_MAX));
    } finally {
      closeSync(argumentsFd);
    }
    return { arguments: serviceArguments, fuseFd: this.#receiveFile(FUSE_DEVICE_PATH, 'FILE') };
  }

  /**
   * Asks the helper to open `path`, exactly as the user typed it, with these O_* flags. Gives up the loop
   * device for a helper that knows none, write access where it is refused, and waits for a busy device.
   */
  openFile(path: ByteString, openFlags: number, wishes: FileWishes): OpenedFile {
    const deadlineMs = this.#nowMs() + this.#limits.busyMs;
    let flags = openFlags;
    let tryLoop = wishes.tryLoop;
    for (;;) {
      const requestFlags = (wishes.quiet ? RequestFlag.QUIET : 0) | (tryLoop ? RequestFlag.TRYLOOP : 0);
      this.#send({ kind: 'open', openFlags: flags, createMode: 0, requestFlags, path });
      const answer = this.#receiveFileAnswer(path, 'OPEN');
      if (answer.errno === 0) return { fd: answer.fd, forcedReadOnly: flags !== openFlags };
      if (answer.errno === Errno.EINVAL && tryLoop) {
        tryLoop = false;
      } else if (isWriteRefusal(answer.errno) && (flags & O_ACCMODE) === O_RDWR) {
        flags = (flags & ~O_ACCMODE) | O_RDONLY;
      } else if (answer.errno === Errno.EBUSY && this.#nowMs() < deadlineMs) {
        pauseThread(this.#limits.busyPauseMs);
      } else {
        throw new HelperRefusal(answer.errno, 'OPEN', fromByteString(path));
      }
    }
  }

  /** From now on the helper cannot hand us anything any more. */
  finishFiles(): void {
    disallowRights(this.#socket);
  }

  /** Returns when the file system is mounted; the kernel's first request then waits on the FUSE device. */
  mount(request: MountRequest): void {
    this.#command('TYPE', { kind: 'type', flags: 0 });
    this.#command('NAME', { kind: 'source', source: request.source });
    const { mountPoint } = request;
    this.#command('MNTP', { kind: 'mount-point', expectedFormat: ExpectedFormat.DIRECTORY, path: mountPoint });
    if (request.options.length > 0) this.#command('OPTS', { kind: 'options', options: commaList(request.options) });
    if (request.mtab.length > 0) this.#command('MTAB', { kind: 'mtab', options: commaList(request.mtab) });
    this.#command('DOIT', { kind: 'mount', msFlags: request.msFlags });
  }

  /** Lets our helper show the user why there will be no mount; others keep it to themselves. */
  explain(text: string): void {
    try {
      if (!this.#agreed) return;
      this.#send({ kind: 'mtab', options: failureOption(text) });
      const { fd } = this.#receive('MTAB', NUMBER_MESSAGE.SIZE, EXPLAIN_MS);
      if (fd >= 0) closeQuietly(fd);
    } catch (error) {
      if (!(error instanceof SystemError || error instanceof ProtocolError)) throw error;
    }
  }

  /**
   * Tells the helper how it went and closes the socket. No other codes: mount.fuse3 takes 2 for "run
   * the file system outside of its container". A helper that is gone already needs no telling.
   */
  goodbye(exitCode: 0 | 1): void {
    try {
      if (!this.#agreed) return;
      this.#send({ kind: 'goodbye', exitCode });
      shutdownSocket(this.#socket);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
    } finally {
      this.close();
    }
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.#socket);
  }

  #command(packet: string, message: ServiceMessage): void {
    this.#send(message);
    const reply = this.#receive(packet, NUMBER_MESSAGE.SIZE, this.#limits.replyMs);
    if (reply.fd >= 0) closeQuietly(reply.fd);
    if (reply.message.kind !== 'reply' || reply.fd >= 0)
      throw new ProtocolError('REPL', 0, `expected to answer ${packet}`);
    if (reply.message.errno !== 0) throw new HelperRefusal(reply.message.errno, packet, '');
  }

  #receiveHello(): HelloMessage {
    const { message, fd } = this.#receive('SAFT', HELLO.SIZE, this.#limits.helloMs);
    if (fd >= 0) closeQuietly(fd);
    if (message.kind !== 'hello' || fd >= 0) throw new ProtocolError('SAFT', 0, 'expected first, without a descriptor');
    return message;
  }

  #receiveFile(path: ByteString, packet: string): number {
    const answer = this.#receiveFileAnswer(path, packet);
    if (answer.errno !== 0) throw new SystemError(answer.errno, packet, fromByteString(path));
    return answer.fd;
  }

  /** Errno 0 and a descriptor that the caller owns, or an errno and -1. */
  #receiveFileAnswer(path: ByteString, packet: string): { errno: number; fd: number } {
    const { message, fd } = this.#receive(packet, FILE.STRING + path.length + 1, this.#limits.replyMs);
    const fault = faultOfFile(message, fd, path);
    if (fault === null && message.kind === 'file') return { errno: message.errno, fd };
    if (fd >= 0) closeQuietly(fd);
    throw new ProtocolError('FILE', 0, `${fault} (expected ${fromByteString(path)})`);
  }

  #receivePacket(packet: string, maxBytes: number, timeoutMs: number): Packet | null {
    try {
      return receivePacket(this.#socket, maxBytes, timeoutMs);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      throw new SystemError(error.errno, packet, '', `no answer from the mount helper: ${error.message}`);
    }
  }

  #send(message: ServiceMessage): void {
    sendPacket(this.#socket, encodeServiceMessage(message));
  }

  /** The next packet, at most `maxBytes` long. `packet` is what we wait for, or wait to be answered. */
  #receive(packet: string, maxBytes: number, timeoutMs: number): { message: HelperMessage; fd: number } {
    const received = this.#receivePacket(packet, maxBytes, timeoutMs);
    if (received === null)
      throw new SystemError(Errno.ECONNRESET, packet, '', 'the mount helper closed the connection');
    try {
      return { message: decodeHelperMessage(received.bytes), fd: received.fd };
    } catch (error) {
      if (received.fd >= 0) closeQuietly(received.fd);
      throw error;
    }
  }
}

/** What is wrong with a packet that should bring `path`, or null. */
function faultOfFile(message: HelperMessage, fd: number, path: ByteString): string | null {
  if (message.kind !== 'file') return `another message (${message.kind})`;
  if (message.path !== path) return `another path, ${fromByteString(message.path)}`;
  if (message.errno === 0 && fd < 0) return 'success without a descriptor (a security module may have kept it)';
  if (message.errno !== 0 && fd >= 0) return 'an error with a descriptor';
  return null;
}

function isWriteRefusal(errno: number): boolean {
  return errno === Errno.EPERM || errno === Errno.EACCES || errno === Errno.EROFS;
}

/** The helper knows no escapes here: see MountSettings, which lets no stray comma through. */
function commaList(words: readonly ByteString[]): ByteString {
  return words.join(',') as ByteString;
}
