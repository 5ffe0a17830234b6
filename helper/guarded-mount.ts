import { closeSync } from 'node:fs';
import { closeQuietly } from '../native/descriptor.ts';
import { isHangup, type Packet, receivePacket, sendPacket, socketPair } from '../native/seqpacket.ts';
import { Errno, SystemError } from '../shared/errno.ts';

/** For each thing that a guard does. */
const WAIT_MS = 30_000;
const ANSWER_BYTES_MAX = 4;

/** A guard reads one byte, or a line; an empty packet reads like the end. */
const KEEP = new Uint8Array([0x0a]);
const ABANDON = new Uint8Array(0);

/**
 * A mount that everybody sees at once, made by a process that outlives us: its guard, at the other end of a socket.
 * When our end closes before the guard was told to keep the mount, even because we were killed, it takes it away.
 */
export class GuardedMount {
  readonly #program: string;
  readonly #path: string;
  readonly #socket: number;

  /** `start` starts the guard, with its end of the socket; `program` is what mounts on `path`, for messages. */
  constructor(program: string, path: string, start: (socket: number) => void) {
    this.#program = program;
    this.#path = path;
    this.#socket = startGuard(start);
  }

  /** The next thing that the guard sends. All of it must have been received before the mount is kept. */
  answer(): Packet {
    const packet = this.#receive();
    if (packet === null) throw new SystemError(Errno.EPERM, this.#program, this.#path, 'made no mount');
    return packet;
  }

  /** When this throws, the mount can still be abandoned. */
  keep(): void {
    this.#tell(KEEP);
    closeSync(this.#socket);
  }

  /** Waits until the mount is gone. */
  abandon(): void {
    try {
      this.#tell(ABANDON);
      this.#waitForEnd();
    } finally {
      closeSync(this.#socket);
    }
  }

  #receive(): Packet | null {
    return receivePacket(this.#socket, ANSWER_BYTES_MAX, WAIT_MS);
  }

  /** A guard that was killed takes nothing away any more. */
  #tell(word: Uint8Array): void {
    try {
      sendPacket(this.#socket, word);
    } catch (error) {
      if (!isHangup(error)) throw error;
    }
  }

  #waitForEnd(): void {
    try {
      for (let packet = this.#receive(); packet !== null; packet = this.#receive())
        if (packet.fd >= 0) closeQuietly(packet.fd);
    } catch (error) {
      if (!isHangup(error)) throw error;
    }
  }
}

function startGuard(start: (socket: number) => void): number {
  const [ours, theirs] = socketPair();
  try {
    start(theirs);
    return ours;
  } catch (error) {
    closeSync(ours);
    throw error;
  } finally {
    closeSync(theirs);
  }
}
