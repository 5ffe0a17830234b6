import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { compiledTool } from './compiled-tool.ts';

/** How the command itself ended; what it left behind may still run. */
export interface CommandEnd {
  readonly code: number | null;
  readonly signal: number | null;
}

/** Waits for an event of the outside world; a failure names what did not happen. */
export async function within<T>(milliseconds: number, what: () => string, event: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${milliseconds} ms: ${what()}`)), milliseconds);
  });
  try {
    return await Promise.race([event, tooLate]);
  } finally {
    clearTimeout(timer);
  }
}

function childrenOf(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1');
    return text.split(' ').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

function descendantsOf(pid: number): number[] {
  return childrenOf(pid).flatMap((child) => [child, ...descendantsOf(child)]);
}

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ').trim();
  } catch {
    return '';
  }
}

/**
 * A command together with all that it starts. The supervisor is the subreaper of the command's descendants, so a
 * daemon that the command leaves behind is still a descendant, and its end is an event.
 */
export class SupervisedProcess {
  readonly ended: Promise<CommandEnd>;
  /** Everything has ended, and all that it wrote is in `output`. */
  readonly allEnded: Promise<void>;
  output = '';
  readonly #supervisor: ChildProcess;
  readonly #textWaiters = new Set<() => void>();

  constructor(command: readonly string[]) {
    this.#supervisor = spawn(compiledTool('supervise'), command, {
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    });
    for (const stream of [this.#supervisor.stdout, this.#supervisor.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => this.#addOutput(text));
    }
    this.ended = this.#watchReports(this.#supervisor.stdio[3] as Readable);
    this.allEnded = new Promise((resolve) => {
      this.#supervisor.on('close', () => resolve());
    });
  }

  /** Process ids of everything that runs, parents before children. */
  pids(): number[] {
    return this.#supervisor.pid === undefined ? [] : descendantsOf(this.#supervisor.pid);
  }

  describe(): string {
    const running = this.pids().map((pid) => `${pid}: ${commandLine(pid)}`);
    return `running: ${running.join('; ') || 'nothing'}; output: ${this.output || 'none'}`;
  }

  async waitForText(text: string, milliseconds: number): Promise<void> {
    const seen = new Promise<void>((resolve) => {
      const check = () => {
        if (!this.output.includes(text)) return;
        this.#textWaiters.delete(check);
        resolve();
      };
      this.#textWaiters.add(check);
      check();
    });
    await within(milliseconds, () => `"${text}" in the output; ${this.describe()}`, seen);
  }

  async waitForEnd(milliseconds: number): Promise<CommandEnd> {
    return within(milliseconds, () => `end of the command; ${this.describe()}`, this.ended);
  }

  async waitForAll(milliseconds: number): Promise<void> {
    await within(milliseconds, () => `end of all processes; ${this.describe()}`, this.allEnded);
  }

  /** Kills whatever still runs. Safe to call at any time, also after the end. */
  async destroy(): Promise<void> {
    this.#supervisor.kill('SIGTERM');
    await this.waitForAll(20_000);
  }

  #addOutput(text: string): void {
    this.output += text;
    for (const check of [...this.#textWaiters]) check();
  }

  #watchReports(reports: Readable): Promise<CommandEnd> {
    let text = '';
    return new Promise((resolve) => {
      reports.setEncoding('latin1').on('data', (part: string) => {
        text += part;
        const end = /^(exit|signal) (\d+)$/m.exec(text);
        if (end === null) return;
        const value = Number(end[2]);
        resolve(end[1] === 'exit' ? { code: value, signal: null } : { code: null, signal: value });
      });
      reports.on('close', () => resolve({ code: null, signal: null }));
    });
  }
}
