import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, rmdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { build } from 'esbuild';
import { SOCKET_DIRECTORY } from '../../helper/connect.ts';

/** What a scripted service does, in this order. Packets are hexadecimal. `receive` counts packets. */
export type Step =
  | { readonly send: string }
  | { readonly receive: number }
  | { readonly say: string }
  | { readonly end: 'serve' | 'die' };

export const send = (bytes: Buffer): Step => ({ send: bytes.toString('hex') });
/** Sends a command and waits for its answer. */
export const ask = (bytes: Buffer): readonly Step[] => [send(bytes), { receive: 1 }];

const root = join(import.meta.dirname, '../..');

/**
 * One executable file from a program of ours, beside it the addon that this test run uses: so an ordinary user can run
 * it wherever the checkout is.
 */
export async function bundleProgram(entry: string, output: string): Promise<void> {
  await build({
    absWorkingDir: root,
    entryPoints: [entry],
    outfile: output,
    bundle: true,
    platform: 'node',
    target: 'node20.19',
    format: 'cjs',
    banner: { js: `#!${process.execPath}` },
    define: { __ADDON_DIRECTORY__: '__dirname' },
    logLevel: 'warning',
  });
  const addon = join(process.env.FUSE4FS_ADDON_DIR ?? join(root, 'bin'), 'fuse4fs.node');
  copyFileSync(addon, join(dirname(output), 'fuse4fs.node'));
  chmodSync(output, 0o755);
}

/** A process whose standard error can be waited for. */
export class WatchedProcess {
  readonly child: ChildProcess;
  readonly ended: Promise<{ readonly status: number | null; readonly signal: NodeJS.Signals | null }>;
  stdout = '';
  stderr = '';
  #hasEnded = false;
  readonly #waiters = new Set<() => void>();

  /** `inherited` becomes its descriptor 3. */
  constructor(command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env, inherited = -1) {
    const more = inherited < 0 ? [] : [inherited];
    this.child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe', ...more], env });
    this.child.stdout?.on('data', (text: Buffer) => {
      this.stdout += text;
    });
    this.child.stderr?.on('data', (text: Buffer) => {
      this.stderr += text;
      for (const waiter of this.#waiters) waiter();
    });
    this.ended = new Promise((resolve, reject) => {
      this.child.on('error', reject);
      this.child.on('close', (status, signal) => {
        this.#hasEnded = true;
        resolve({ status, signal });
        for (const waiter of this.#waiters) waiter();
      });
    });
  }

  /** Resolves with the match once standard error has it; rejects when the process ended without it. */
  printed(pattern: RegExp): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const match = pattern.exec(this.stderr);
        if (match === null && !this.#hasEnded) return;
        this.#waiters.delete(look);
        if (match === null) reject(new Error(`${pattern} was not printed, but: ${this.stderr}`));
        else resolve(match);
      };
      this.#waiters.add(look);
      look();
    });
  }
}

/** Listens for one subtype and starts a scripted service for each connection, as systemd does with Accept=yes. */
export class ScriptedService {
  readonly socketPath: string;
  readonly #process: WatchedProcess;
  readonly #madeDirectory: boolean;

  private constructor(process: WatchedProcess, socketPath: string, madeDirectory: boolean) {
    this.#process = process;
    this.socketPath = socketPath;
    this.#madeDirectory = madeDirectory;
  }

  static async listen(program: string, subtype: string, script: readonly Step[]): Promise<ScriptedService> {
    const madeDirectory = !existsSync(SOCKET_DIRECTORY);
    mkdirSync(SOCKET_DIRECTORY, { recursive: true });
    const path = join(SOCKET_DIRECTORY, subtype);
    const options = ['--seqpacket', '-a', '-l', path, '-E', `SCRIPT=${JSON.stringify(script)}`];
    const activator = new WatchedProcess('systemd-socket-activate', [...options, program]);
    await activator.printed(/Listening on/);
    chmodSync(path, 0o666);
    return new ScriptedService(activator, path, madeDirectory);
  }

  printed(pattern: RegExp): Promise<RegExpExecArray> {
    return this.#process.printed(pattern);
  }

  /** Resolves when the service of the first connection is gone. */
  async serviceEnded(): Promise<void> {
    await this.printed(/died with|killed by/);
  }

  get output(): string {
    return this.#process.stderr;
  }

  async close(): Promise<void> {
    this.#process.child.kill('SIGTERM');
    await this.#process.ended;
    rmSync(this.socketPath, { force: true });
    try {
      if (this.#madeDirectory) rmdirSync(SOCKET_DIRECTORY);
    } catch {
      // Somebody else listens there by now.
    }
  }
}
