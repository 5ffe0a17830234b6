// The program fuse4fsctl: what an administrator sees of mounts, and does to them.
import { VERSION } from '../shared/version.ts';
import { AGENT_WORD, AgentProcess } from './agent-process.ts';
import { definition, HelpRequest, type Order, parseCommandLine, UsageError } from './command-line.ts';
import { carryOut, Failure, readMountTable } from './commands.ts';
import { completionScript } from './completion.ts';
import { runAgent } from './mount-agent.ts';
import { openSystemBus } from './system-bus.ts';
import { printable } from './table.ts';
import { Units } from './units.ts';

const Exit = Object.freeze({ OK: 0, FAILURE: 1, USAGE: 2 });

async function main(words: readonly string[]): Promise<number> {
  try {
    const order = parseCommandLine(words, `fuse4fsctl ${VERSION}`);
    if (order.command === 'completion') process.stdout.write(completionScript(definition(VERSION, () => {})));
    else await work(order);
    return Exit.OK;
  } catch (error) {
    if (error instanceof HelpRequest) {
      process.stdout.write(error.message);
      return Exit.OK;
    }
    if (!(error instanceof UsageError || error instanceof Failure)) throw error;
    complain(error.message);
    return error instanceof UsageError ? Exit.USAGE : Exit.FAILURE;
  }
}

async function work(order: Order): Promise<void> {
  const client = new AgentProcess([process.execPath, process.argv[1]], order.timeoutSeconds * 1000);
  const units = new Units(openSystemBus);
  try {
    await carryOut(order, {
      mountTable: readMountTable,
      client,
      units,
      out: (text) => process.stdout.write(text),
      note: complain,
      isTerminal: process.stdout.isTTY === true,
    });
  } finally {
    client.close();
    units.close();
  }
}

function complain(text: string): void {
  process.stderr.write(`fuse4fsctl: ${printable(text)}\n`);
}

// A reader that has seen enough, such as head(1), is no failure.
process.stdout.on('error', () => process.exit(Exit.OK));

const words = process.argv.slice(2);
(words[0] === AGENT_WORD ? runAgent() : main(words)).then(
  (exitCode) => {
    process.exitCode = exitCode;
  },
  (error: unknown) => {
    complain(`bug: ${error instanceof Error ? error.stack : error}`);
    process.exitCode = Exit.FAILURE;
  },
);
