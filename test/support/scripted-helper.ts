import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import { join } from 'node:path';
import { socketPair } from '../../native/seqpacket.ts';
import { compiledTool } from './compiled-tool.ts';

declare const __ADDON_DIRECTORY__: string;

/**
 * What comes with a packet: a sealed file with this content (hexadecimal) or of so many zeros, or descriptors
 * of /dev/null.
 */
export type Attachment = { readonly memfd: string } | { readonly zeros: number } | { readonly descriptors: number };

/** One thing for the helper to do. Bytes are hexadecimal, blanks allowed. */
export type HelperStep =
  | { readonly send: string; readonly attach?: Attachment }
  | { readonly expect: string }
  | { readonly close: true };

export interface HelperTranscript {
  /** Packets received, hexadecimal, in order. */
  readonly received: readonly string[];
  /** Null when the script ran to its end and the service then closed the connection. */
  readonly failure: string | null;
}

/**
 * Plays a mount helper by a script, in a process of its own: both ends of a handshake block. It knows
 * nothing of our codec, only bytes. After the last step it waits until the service closes the connection.
 */
export class ScriptedHelper {
  /** The service's end of the connection. Whoever uses it closes it. */
  readonly socket: number;
  readonly #child: ChildProcess;
  readonly #output: Promise<string>;

  constructor(steps: readonly HelperStep[]) {
    const [ours, theirs] = socketPair();
    this.socket = ours;
    const script = {
      steps,
      addon: join(__ADDON_DIRECTORY__, 'fuse4fs.node'),
      sendDescriptors: steps.some(sendsDescriptors) ? compiledTool('send-descriptors') : '',
    };
    this.#child = spawn(
      process.execPath,
      [join(import.meta.dirname, 'scripted-helper-process.mjs'), JSON.stringify(script)],
      { stdio: ['ignore', 'pipe', 'inherit', theirs] },
    );
    closeSync(theirs);
    this.#output = new Promise((resolve, reject) => {
      let output = '';
      this.#child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
        output += chunk;
      });
      this.#child.on('error', reject).on('close', () => resolve(output));
    });
  }

  /** Waits until the helper has ended. */
  async transcript(): Promise<HelperTranscript> {
    const output = await this.#output;
    if (output === '')
      throw new Error(`the scripted helper ended with status ${this.#child.exitCode} and said nothing`);
    return JSON.parse(output) as HelperTranscript;
  }
}

function sendsDescriptors(step: HelperStep): boolean {
  return 'send' in step && step.attach !== undefined && 'descriptors' in step.attach;
}
