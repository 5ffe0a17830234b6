import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';
import { compiledTool } from './compiled-tool.ts';

/** Who works where: one directory, made by root, and one process in it. */
export interface Setting {
  readonly uid: number;
  readonly umask: number;
  /** Permissions and group of the directory. */
  readonly mode: number;
  readonly gid: number;
  /** Its default ACL in hexadecimal, "-" for none. */
  readonly defaultAcl: string;
}

export interface Performance {
  /** One line per step (sequence-performer.c). */
  readonly results: readonly string[];
  /** What tree-snapshot.c prints of the directory afterwards. */
  readonly snapshot: string;
}

/** Performs sequences of system calls on a mounted file system. */
export class SequencePerformer {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #lines: Interface;
  readonly #ended: Promise<number | null>;
  #answer: string[] = [];
  #onAnswer: (lines: readonly string[]) => void = () => {};
  #errors = '';

  constructor(root: string) {
    this.#process = spawn(compiledTool('sequence-performer'), [root, compiledTool('tree-snapshot')]);
    this.#process.stderr.on('data', (part: Buffer) => {
      this.#errors += part.toString();
    });
    this.#ended = new Promise((resolve) => this.#process.on('close', (code) => resolve(code)));
    this.#lines = createInterface(this.#process.stdout);
    this.#lines.on('line', (line) => this.#add(line));
  }

  async perform(name: string, setting: Setting, steps: readonly string[]): Promise<Performance> {
    const { uid, umask, mode, gid, defaultAcl } = setting;
    const begin = `begin ${name} ${uid} ${umask} ${mode} ${gid} ${defaultAcl}`;
    const answer = new Promise<readonly string[]>((resolve) => {
      this.#onAnswer = resolve;
    });
    this.#process.stdin.write(`${[begin, ...steps, 'end'].join('\n')}\n`);
    const early = this.#ended.then((code) => {
      throw new Error(`the performer ended with ${code}: ${this.#errors}`);
    });
    const lines = await Promise.race([answer, early]);
    // What is printed of a tree has tabs, the result of a step has none.
    const firstOfTree = lines.findIndex((line) => line.includes('\t'));
    const end = firstOfTree < 0 ? lines.length : firstOfTree;
    return { results: lines.slice(0, end), snapshot: lines.slice(end).join('\n') };
  }

  async close(): Promise<void> {
    this.#process.stdin.end();
    await this.#ended;
    this.#lines.close();
  }

  #add(line: string): void {
    if (line !== '.') {
      this.#answer.push(line);
      return;
    }
    const answer = this.#answer;
    this.#answer = [];
    this.#onAnswer(answer);
  }
}
