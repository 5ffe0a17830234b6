import { Command, CommanderError, InvalidArgumentError } from 'commander';

/** What the user wants. */
export interface Order {
  readonly command: 'list' | 'status' | 'top' | 'sync' | 'trim' | 'shutdown' | 'completion';
  /** Mount point or device; null for all mounts. */
  readonly target: string | null;
  readonly json: boolean;
  /** How long one server may take for its answer. */
  readonly timeoutSeconds: number;
  readonly delaySeconds: number;
  /** Rounds of `top`; 0: without end. */
  readonly rounds: number;
  readonly leastBytes: number;
}

/** The command line makes no sense; the message says why. */
export class UsageError extends Error {}

/** A text was asked for, and is the message. */
export class HelpRequest extends Error {}

interface Switches {
  readonly json?: boolean;
  readonly timeout?: number;
  readonly delay?: number;
  readonly count?: number;
  readonly minimum?: number;
}

/** A healthy server answers questions within milliseconds; writing and trimming may take their time. */
const QUESTION_SECONDS = 10;
const ACTION_SECONDS = 600;
const SECONDS_MAX = 86_400;
const DELAY_SECONDS = 2;

const TARGET = 'mount point or device';

/** `version` is printed by --version. Throws UsageError and HelpRequest. */
export function parseCommandLine(words: readonly string[], version: string): Order {
  let order: Order | null = null;
  const command = definition(version, (given) => {
    order = given;
  });
  let said = '';
  const outputs = { writeOut: (text: string) => (said += text), writeErr: () => {} };
  for (const part of [command, ...command.commands]) part.configureOutput(outputs).exitOverride();
  try {
    command.parse([...words], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) throw new HelpRequest(said);
    throw new UsageError(words.length === 0 ? 'which command? See --help' : error.message.replace(/^error: /, ''));
  }
  if (order === null) throw new UsageError('which command? See --help');
  return order;
}

/** All commands and options; each command's end is to call `take`. */
export function definition(version: string, take: (order: Order) => void): Command {
  const program = new Command('fuse4fsctl')
    .description('Shows and controls file systems that fuse4fs serves.')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand(false)
    .configureHelp({ showGlobalOptions: true });
  const order = (command: Order['command'], target: string | null, switches: Switches, seconds: number): void =>
    take({
      command,
      target,
      json: switches.json === true,
      timeoutSeconds: switches.timeout ?? seconds,
      delaySeconds: switches.delay ?? DELAY_SECONDS,
      rounds: switches.count ?? 0,
      leastBytes: switches.minimum ?? 0,
    });
  const add = (name: string, description: string): Command =>
    program
      .command(name)
      .description(description)
      .helpOption('-h, --help', 'print help')
      .option('-t, --timeout <seconds>', 'give up on a server that takes longer', secondsOf)
      .option('-j, --json', 'print JSON, for programs');
  add('list', 'show all mounts, a line for each').action((switches: Switches) =>
    order('list', null, switches, QUESTION_SECONDS),
  );
  add('status', 'show all about one mount, or about each')
    .argument('[mount]', TARGET)
    .action((target: string | undefined, switches: Switches) =>
      order('status', target ?? null, switches, QUESTION_SECONDS),
    );
  add('top', 'show what the mounts do, again and again')
    .option('-d, --delay <seconds>', 'time between two looks', secondsOf)
    .option('-n, --count <number>', 'looks before the end', countOf)
    .action((switches: Switches) => order('top', null, switches, QUESTION_SECONDS));
  add('sync', 'bring all changes of a mount to stable storage')
    .argument('<mount>', TARGET)
    .action((target: string, switches: Switches) => order('sync', target, switches, ACTION_SECONDS));
  add('trim', 'tell the device of a mount what is free (root only)')
    .option('-m, --minimum <bytes>', 'leave free ranges alone that are shorter', countOf)
    .argument('<mount>', TARGET)
    .action((target: string, switches: Switches) => order('trim', target, switches, ACTION_SECONDS));
  add('shutdown', 'write what has changed, then refuse everything (root only)')
    .argument('<mount>', TARGET)
    .action((target: string, switches: Switches) => order('shutdown', target, switches, ACTION_SECONDS));
  program
    .command('completion')
    .description('print completion rules for bash')
    .helpOption('-h, --help', 'print help')
    .action((switches: Switches) => order('completion', null, switches, QUESTION_SECONDS));
  return program;
}

function secondsOf(text: string): number {
  const seconds = Number(text);
  if (/^[0-9.]+$/.test(text) && seconds > 0 && seconds <= SECONDS_MAX) return seconds;
  throw new InvalidArgumentError(`It must be a number of seconds, at most ${SECONDS_MAX}.`);
}

function countOf(text: string): number {
  const count = Number(text);
  if (/^[0-9]+$/.test(text) && Number.isSafeInteger(count)) return count;
  throw new InvalidArgumentError('It must be a whole number.');
}
