import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';
import { Errno } from '../shared/errno.ts';
import type { MountAnswer, MountRequest } from './mount-requests.ts';

/** Asks mounts, one after the other, and gives up those that do not answer. */
export interface MountClient {
  ask(request: MountRequest): Promise<MountAnswer>;
  close(): void;
}

/** First argument of the program when it is to be the process that asks. */
export const AGENT_WORD = '--agent';

/** Asks through a process of its own, which is started when needed and left behind when it hangs. */
export class AgentProcess implements MountClient {
  readonly #command: readonly string[];
  readonly #timeoutMs: number;
  #child: ChildProcess | null = null;
  #lines: Interface | null = null;

  /** `command` runs the agent. */
  constructor(command: readonly string[], timeoutMs: number) {
    this.#command = command;
    this.#timeoutMs = timeoutMs;
  }

  async ask(request: MountRequest): Promise<MountAnswer> {
    const { input, lines, child } = this.#started();
    const answered = new Promise<MountAnswer>((resolve) => {
      lines.once('line', (line) => resolve(JSON.parse(line) as MountAnswer));
      lines.once('close', () => resolve(failure(Errno.EPIPE, 'the process that asks has ended')));
      child.once('error', (error) => resolve(failure(Errno.EPIPE, error.message)));
    });
    input.write(`${JSON.stringify(request)}\n`);
    const answer = await this.#inTime(answered);
    lines.removeAllListeners();
    if (!answer.ok && (answer.errno === Errno.ETIMEDOUT || answer.errno === Errno.EPIPE)) this.close();
    return answer;
  }

  async #inTime(answered: Promise<MountAnswer>): Promise<MountAnswer> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<MountAnswer>((resolve) => {
      const reason = `no answer within ${this.#timeoutMs / 1000} s`;
      timer = setTimeout(() => resolve(failure(Errno.ETIMEDOUT, reason)), this.#timeoutMs);
    });
    const answer = await Promise.race([answered, late]);
    clearTimeout(timer);
    return answer;
  }

  /** Lets go of the process. One that hangs ends when its server does. */
  close(): void {
    const child = this.#child;
    this.#lines?.close();
    this.#child = null;
    this.#lines = null;
    if (child === null) return;
    child.stdin?.destroy();
    child.stdout?.destroy();
    child.kill('SIGKILL');
    child.unref();
  }

  #started(): { input: NodeJS.WritableStream; lines: Interface; child: ChildProcess } {
    if (this.#child === null) {
      const [program, ...words] = this.#command;
      this.#child = spawn(program, [...words, AGENT_WORD], { stdio: ['pipe', 'pipe', 'inherit'] });
      // It may be gone before it has read what it is asked: that is seen by its not answering.
      this.#child.stdin?.on('error', () => {});
    }
    const { stdin, stdout } = this.#child;
    if (stdin === null || stdout === null) throw new Error('the process that asks has no pipes');
    this.#lines ??= createInterface({ input: stdout });
    return { input: stdin, lines: this.#lines, child: this.#child };
  }
}

function failure(errno: number, reason: string): MountAnswer {
  return { ok: false, errno, reason };
}
