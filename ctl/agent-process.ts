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

interface Agent {
  readonly child: ChildProcess;
  readonly input: NodeJS.WritableStream;
  readonly lines: Interface;
}

/** Asks through a process of its own, which is started when needed and left behind when it hangs. */
export class AgentProcess implements MountClient {
  readonly #command: readonly string[];
  readonly #timeoutMs: number;
  #agent: Agent | null = null;

  /** `command` runs the agent. */
  constructor(command: readonly string[], timeoutMs: number) {
    this.#command = command;
    this.#timeoutMs = timeoutMs;
  }

  async ask(request: MountRequest): Promise<MountAnswer> {
    const agent = this.#agent ?? (await this.#start());
    const answer = agent === null ? ENDED : await this.#answerOf(agent, request);
    agent?.lines.removeAllListeners();
    if (!answer.ok && (answer.errno === Errno.ETIMEDOUT || answer.errno === Errno.EPIPE)) this.close();
    return answer;
  }

  #answerOf({ input, lines }: Agent, request: MountRequest): Promise<MountAnswer> {
    const answered = new Promise<MountAnswer>((resolve) => {
      lines.once('line', (line) => resolve(JSON.parse(line) as MountAnswer));
      lines.once('close', () => resolve(ENDED));
    });
    input.write(`${JSON.stringify(request)}\n`);
    return this.#inTime(answered);
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
    const agent = this.#agent;
    this.#agent = null;
    if (agent === null) return;
    agent.lines.close();
    agent.child.stdin?.destroy();
    agent.child.stdout?.destroy();
    agent.child.kill('SIGKILL');
    agent.child.unref();
  }

  /**
   * Starting may take a slow machine longer than a server may take to answer: the time for answers begins when it is
   * done. Null when the process ends before.
   */
  async #start(): Promise<Agent | null> {
    const [program, ...words] = this.#command;
    const child = spawn(program, [...words, AGENT_WORD], { stdio: ['pipe', 'pipe', 'inherit'] });
    const { stdin, stdout } = child;
    const lines = createInterface({ input: stdout });
    child.once('error', () => lines.close());
    // It may be gone before it has read what it is asked: that is seen by its not answering.
    stdin.on('error', () => {});
    this.#agent = { child, input: stdin, lines };
    const ready = await new Promise<boolean>((resolve) => {
      lines.once('line', () => resolve(true));
      lines.once('close', () => resolve(false));
    });
    lines.removeAllListeners();
    return ready ? this.#agent : null;
  }
}

const ENDED: MountAnswer = Object.freeze(failure(Errno.EPIPE, 'the process that asks has ended'));

function failure(errno: number, reason: string): MountAnswer {
  return { ok: false, errno, reason };
}
