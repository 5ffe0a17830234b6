import { Command, CommanderError } from 'commander';
import { joinMountOptions, splitMountOptions } from '../shared/mount-options.ts';
import { fromByteString, toByteString } from '../shared/service-protocol/byte-string.ts';

export interface CommandLine {
  /** "fuse.ext4", "ext4"... */
  readonly type: string;
  /** Arguments for the service: source if there is one, mount point, `-o`, list. */
  readonly words: readonly string[];
  /** Take away the mount on the only word there is. */
  readonly unmount: boolean;
  /** When it is busy, as soon as it is no longer. */
  readonly lazy: boolean;
  /** Only tell whether there is a service. */
  readonly check: boolean;
  /** Take away the mounts whose server is gone. */
  readonly reap: boolean;
  readonly fake: boolean;
  readonly verbose: boolean;
  readonly updateMtab: boolean;
}

/** The command line makes no sense; the message says why. */
export class UsageError extends Error {}

/** `text` was asked for. */
export class HelpRequest extends Error {}

interface Switches {
  readonly type?: string;
  readonly options: readonly string[];
  readonly check?: boolean;
  readonly reap?: boolean;
  readonly unmount?: boolean;
  readonly lazy?: boolean;
  readonly fake?: boolean;
  readonly sloppy?: boolean;
  readonly verbose?: boolean;
  readonly mtab: boolean;
  readonly namespace?: string;
}

/** What mount(8) does itself or leaves to init; a service would not know these words. */
const WORDS_OF_MOUNT = new Set(['user', 'users', 'nouser', 'nofail', 'auto', 'noauto', '_netdev']);

/** True for the names under which mount(8) runs its helpers: mount.fuse.ext4, mount.ext4. */
export function isMountHelperName(program: string): boolean {
  return program.startsWith('mount.');
}

/** `program` is the name we were called by, without directory. Throws UsageError and HelpRequest. */
export function parseCommandLine(program: string, args: readonly string[]): CommandLine {
  const command = definition(program);
  const { operands, unknown } = parse(command, args);
  const switches = command.opts<Switches>();
  if (unknown.some((word) => word === '--help' || word === '-h')) throw new HelpRequest(command.helpInformation());
  if (unknown.length > 0 && switches.sloppy !== true) throw new UsageError(`unknown option ${unknown[0]}`);
  if (switches.namespace !== undefined) throw new UsageError('mounting in another namespace (-N) is not supported');
  const unmount = switches.unmount === true;
  if (unmount && operands.length !== 1) throw new UsageError('-u takes a mount point and nothing else');
  const reap = switches.reap === true;
  if (reap && operands.length !== 0) throw new UsageError('--reap takes nothing else');
  const needsType = !unmount && !reap;
  const type = switches.type ?? (isMountHelperName(program) ? program.slice('mount.'.length) : '');
  if (needsType && (type === '' || type === 'fuse')) throw new UsageError('cannot determine filesystem type, use -t');
  const check = switches.check === true;
  if (needsType && (check ? operands.length !== 0 : operands.length < 1 || operands.length > 2))
    throw new UsageError(check ? '--check takes no source and no mount point' : 'give a source and a mount point');
  return {
    type,
    words: [...operands.filter((word) => word !== ''), ...optionWords(program, switches.options)],
    unmount,
    lazy: switches.lazy === true,
    check,
    reap,
    fake: switches.fake === true,
    verbose: switches.verbose === true,
    updateMtab: switches.mtab,
  };
}

const USAGES = ['SOURCE MOUNTPOINT -t TYPE [-fnsv] [-o OPTIONS]', '-u [-z] MOUNTPOINT', '-t TYPE --check', '--reap'];

function definition(program: string): Command {
  return new Command(program)
    .usage(USAGES.join(`\n       ${program} `))
    .option('-t, --type <type>', 'file system type, such as fuse.ext4')
    .option('-o, --options <list>', 'mount options, for the service', collect, [])
    .option('-f, --fake', 'do everything but the mount')
    .option('-n, --no-mtab', "don't record the mount")
    .option('-s, --sloppy', 'ignore switches that are not known')
    .option('-v, --verbose', 'say what is done')
    .option('-N, --namespace <namespace>', 'not supported')
    .option('-u, --unmount', 'unmount')
    .option('-z, --lazy', 'with -u: if the mount is busy, as soon as it is no longer')
    .option('--check', 'only tell whether there is a service for the type')
    .option('--reap', 'unmount what has lost its server')
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
}

function collect(list: string, before: readonly string[]): readonly string[] {
  return [...before, list];
}

function parse(command: Command, args: readonly string[]): { operands: string[]; unknown: string[] } {
  try {
    return command.parseOptions([...args]);
  } catch (error) {
    throw error instanceof CommanderError ? new UsageError(error.message.replace(/^error: /, '')) : error;
  }
}

/**
 * One list for the service. Under mount(8)'s naming the caller expects what mount(8) promises: suid and dev
 * unless told otherwise, while fuservicemount's mounts are without.
 */
function optionWords(program: string, lists: readonly string[]): readonly string[] {
  const list = lists.filter((part) => part !== '').join(',');
  if (!isMountHelperName(program)) return list === '' ? [] : ['-o', list];
  const words = splitMountOptions(toByteString(list)).map((option) => option.word);
  const kept = words.filter((word) => !WORDS_OF_MOUNT.has(word));
  const added = ['dev', 'suid'].filter((word) => !words.some((given) => given === word || given === `no${word}`));
  return ['-o', fromByteString(joinMountOptions([...kept, ...added.map(toByteString)]))];
}
