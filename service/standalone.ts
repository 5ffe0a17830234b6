import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, realpathSync, writeFileSync } from 'node:fs';
import { FUSE_CONF_PATH, readFuseConf } from '../helper/fuse-conf.ts';
import { FusermountMounter } from '../helper/fusermount.ts';
import { runHelper } from '../helper/helper.ts';
import { RootMounter } from '../helper/mounter.ts';
import { failureText, type Report, stderrReport } from '../helper/report.ts';
import { trySetIoFlusher } from '../native/hardening.ts';
import { socketPair } from '../native/seqpacket.ts';
import { fromByteString, toByteString } from '../shared/service-protocol/byte-string.ts';
import { type Options, parseCommandLine, subtypeOfProgram } from './options.ts';
import { UsageError } from './usage-error.ts';

/** Exit codes of mount(8). */
const Exit = Object.freeze({ OK: 0, USAGE: 1, SYSTEM: 2, MOUNT_FAILURE: 32 });

const PROGRAM = 'fuse4fs';

/** Runs its arguments with LISTEN_PID set to the process that they become. */
const ACTIVATE = 'LISTEN_PID=$$ exec "$@"';

/** Runs its arguments but the first, a lock file, which goes when they have ended. */
const HOLD_LOCK = 'lock=$1; shift; "$@"; status=$?; rm -f -- "$lock"; exit "$status"';

/**
 * `fuse4fs DEVICE MOUNTPOINT`: this process plays the mount helper, and a child that keeps no privilege is
 * the service. Returns the exit code: when the mount is live, or in the foreground when it has ended.
 */
export async function runStandalone(programPath: string, words: readonly string[]): Promise<number> {
  const report = stderrReport(PROGRAM, false);
  let options: Options;
  try {
    options = parseCommandLine(subtypeOfProgram(programPath), words.map(toByteString), 'direct');
  } catch (error) {
    return usage(error);
  }
  const logFd = openLog(report);
  if (logFd === null) return Exit.SYSTEM;
  const lockFile = options.lockFile === null ? null : fromByteString(options.lockFile);
  if (lockFile !== null && !createLockFile(lockFile, report)) return Exit.MOUNT_FAILURE;
  return mountAndServe(programPath, words, options, logFd, report);
}

function usage(error: unknown): number {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`${error.message}\n`);
  return error.exitCode;
}

async function mountAndServe(
  programPath: string,
  words: readonly string[],
  options: Options,
  logFd: number,
  report: Report,
): Promise<number> {
  const mounter = process.getuid?.() === 0 ? new RootMounter(report) : new FusermountMounter();
  const [socket, childSocket] = socketPair();
  const child = startService(programPath, childSocket, options, logFd);
  closeSync(childSocket);
  const messages = relayMessages(child);
  const status = runHelper({
    socket,
    subtype: fromByteString(subtypeOfProgram(programPath)),
    words: withoutLockFile(words),
    mounter,
    fuseConf: readFuseConf(FUSE_CONF_PATH, report),
    report,
    logHint: '',
  });
  closeSync(socket);
  if (status !== 0) {
    await messages;
    report.error('mount failed while opening filesystem');
    return Exit.MOUNT_FAILURE;
  }
  if (options.foreground) await serveInForeground(child, options);
  else child.unref();
  return Exit.OK;
}

/** A process that gets a connected socket as descriptor 3 and, from now on, nothing else. */
function startService(programPath: string, socket: number, options: Options, logFd: number): ChildProcess {
  // Descendants inherit it: memory reclaim must not wait for what they serve.
  trySetIoFlusher();
  const output = options.foreground ? 'inherit' : logFd >= 0 ? logFd : 'pipe';
  const words = [...lockHolder(options), ...confinement(), 'sh', '-c', ACTIVATE, 'sh', process.execPath, programPath];
  adjustOomScore(options.oomScoreAdjust);
  return spawn(words[0], words.slice(1), {
    stdio: ['ignore', output, output, socket],
    env: { ...process.env, LISTEN_FDS: '1' },
    cwd: '/',
    detached: !options.foreground,
  });
}

function lockHolder(options: Options): readonly string[] {
  return options.lockFile === null ? [] : ['sh', '-c', HOLD_LOCK, 'sh', realpathSync(fromByteString(options.lockFile))];
}

/** Root's child may only still become somebody else: the service does that before it takes anything from the socket. */
function confinement(): readonly string[] {
  const boundingSet = process.getuid?.() === 0 ? ['--inh-caps=-all', '--bounding-set=-all,+setuid,+setgid'] : [];
  return ['setpriv', '--no-new-privs', ...boundingSet];
}

/** Children inherit it. Lowering it takes privilege; without, the kernel's choice stands. */
function adjustOomScore(score: number): void {
  try {
    writeFileSync('/proc/self/oom_score_adj', String(score));
  } catch {
    // As documented: a failure is silent.
  }
}

/** Passes on what the service says until its output ends; a service in the background goes on unheard. */
async function relayMessages(child: ChildProcess): Promise<void> {
  const closed = once(child, 'close');
  child.stdout?.pipe(process.stdout, { end: false });
  child.stderr?.pipe(process.stderr, { end: false });
  await closed;
}

/** Interrupted, it unmounts: the service then ends by itself, at the latest when the last file is closed. */
async function serveInForeground(child: ChildProcess, options: Options): Promise<void> {
  const mountPoint = fromByteString(options.mountPoint);
  const [program, ...flags] = process.getuid?.() === 0 ? ['umount', '-l'] : ['fusermount3', '-u', '-z'];
  const unmount = (): void => {
    spawn(program, [...flags, '--', mountPoint], { stdio: ['ignore', 'ignore', 'inherit'] });
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, unmount);
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
}

/** Descriptor of the file that FUSE4FS_LOGFILE names, -1 when it names none, null when it can't be opened. */
function openLog(report: Report): number | null {
  const path = process.env.FUSE4FS_LOGFILE;
  if (path === undefined || path === '') return -1;
  try {
    return openSync(path, 'a', 0o600);
  } catch (error) {
    report.error(failureText(error, path));
    return null;
  }
}

function createLockFile(path: string, report: Report): boolean {
  try {
    closeSync(openSync(path, 'wx', 0o400));
    return true;
  } catch (error) {
    report.error(failureText(error, path));
    return false;
  }
}

/** The service has no place for lock files: the one that the user wants is ours. */
function withoutLockFile(words: readonly string[]): string[] {
  return words.map((word) => word.replace(/(^|^-o|,)lockfile=[^,]*/g, '$1defaults'));
}
