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
 * A mount that everybody sees at once, made by a process that outlives us: its guard, at the other end of `socket`.
 * When our end closes before the guard was told to keep the mount, even because we were killed, it takes it away.
 */
export class GuardedMount {
  readonly #socket: number;

  constructor(socket: number) {
    this.#socket = socket;
  }

  /** When this throws, the mount can still be abandoned. */
  keep(): void {
    this.#tell(KEEP);
    closeSync(this.#socket);
  }

  /** Waits until it is gone. */
  abandon(): void {
    try {
      this.#tell(ABANDON);
      receivePacket(this.#socket, ANSWER_BYTES_MAX, WAIT_MS);
    } catch (error) {
      if (!isHangup(error)) throw error;
    } finally {
      closeSync(this.#socket);
    }
  }

  /** A guard that was killed takes nothing away any more. */
  #tell(word: Uint8Array): void {
    try {
      sendPacket(this.#socket, word);
    } catch (error) {
      if (!isHangup(error)) throw error;
    }
  }
}

/** `start` starts the guard, with its end of the socket. The answer is the first thing that the guard sends. */
export function mountGuarded(
  program: string,
  path: string,
  start: (socket: number) => void,
): { mount: GuardedMount; answer: Packet } {
  const socket = startGuard(start);
  try {
    const answer = receivePacket(socket, ANSWER_BYTES_MAX, WAIT_MS);
    if (answer === null) throw new SystemError(Errno.EPERM, program, path, 'made no mount');
    return { mount: new GuardedMount(socket), answer };
  } catch (error) {
    closeQuietly(socket);
    throw error;
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
