import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync, realpathSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { mounterForCaller } from '../helper/caller-mounter.ts';
import { FUSE_CONF_PATH, readFuseConf } from '../helper/fuse-conf.ts';
import { runHelper } from '../helper/helper.ts';
import { failureText, type Report, stderrReport } from '../helper/report.ts';
import { setCloseOnExec } from '../native/descriptor.ts';
import { trySetIoFlusher } from '../native/hardening.ts';
import { socketPair } from '../native/seqpacket.ts';
import { joinMountOptions, splitMountOptions } from '../shared/mount-options.ts';
import { fromByteString, toByteString } from '../shared/service-protocol/byte-string.ts';
import { NODE_WORDS } from './node-tuning.ts';
import { type Options, parseCommandLine, subtypeOfProgram } from './options.ts';
import { UsageError } from './usage-error.ts';

/** Exit codes of mount(8). */
const Exit = Object.freeze({ OK: 0, USAGE: 1, SYSTEM: 2, MOUNT_FAILURE: 32, UNWRITTEN: 1 });

const PROGRAM = 'fuse4fs';

const STDOUT = 1;
const STDERR = 2;

/** How long a service may take to end after its session has. */
const END_MS = 5_000;

const CONTROL_CHARACTER = /(?![\n\t])\p{Cc}/gu;

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
  const mounter = mounterForCaller(report);
  const [socket, childSocket] = socketPair();
  const child = await startService(programPath, childSocket, options, logFd, report);
  closeSync(childSocket);
  if (child === null) {
    removeLockFile(options);
    return Exit.SYSTEM;
  }
  const ended = relayMessages(child);
  const status = runHelper({
    socket,
    subtype: fromByteString(options.subtype),
    words: options.lockFile === null ? words : withoutLockFile(words),
    mounter,
    fuseConf: readFuseConf(FUSE_CONF_PATH, report),
    report,
    logHint: '',
    serviceIsHeard: true,
  });
  closeSync(socket);
  if (status !== 0) {
    await endService(child, ended, options);
    report.error(`mount failed while opening filesystem${logFd < 0 ? '' : `, check ${process.env.FUSE4FS_LOGFILE}`}`);
    return Exit.MOUNT_FAILURE;
  }
  if (options.foreground) return serveInForeground(child, ended, options);
  await relayWhatWasSaid(child);
  return Exit.OK;
}

/**
 * A process that gets a connected socket as descriptor 3 and, from now on, nothing else. It never sees our
 * terminal, where what it types would be taken for the user's words. Null, and a report, when there can't be one.
 */
async function startService(
  programPath: string,
  socket: number,
  options: Options,
  logFd: number,
  report: Report,
): Promise<ChildProcess | null> {
  // Descendants inherit it: memory reclaim must not wait for what they serve.
  trySetIoFlusher();
  adjustOomScore(options.oomScoreAdjust);
  const output = logFd >= 0 ? logFd : 'pipe';
  keepDescriptors();
  try {
    const program = [process.execPath, ...NODE_WORDS, programPath];
    const words = [...lockHolder(options), ...confinement(), 'sh', '-c', ACTIVATE, 'sh', ...program];
    const child = spawn(words[0], words.slice(1), {
      stdio: ['ignore', output, output, socket],
      // Nothing of the caller's: the service needs none of it and must not learn secrets from it.
      env: { PATH: process.env.PATH, LISTEN_FDS: '1' },
      cwd: '/',
      detached: true,
    });
    await once(child, 'spawn');
    return child;
  } catch (error) {
    report.error(failureText(error, 'starting the service'));
    return null;
  }
}

/** Whoever started us may have left descriptors open that are none of the service's business. */
function keepDescriptors(): void {
  for (const name of readdirSync('/proc/self/fd')) {
    try {
      if (Number(name) > STDERR) setCloseOnExec(Number(name), true);
    } catch {
      // The one that listed the others is closed again.
    }
  }
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
  child.stdout?.setEncoding('utf8').on('data', (text: string) => writeLines(STDOUT, text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => writeLines(STDERR, text));
  await closed;
}

/** Of a process that parses hostile images, only text may reach the terminal. */
function writeLines(fd: number, text: string): void {
  try {
    writeSync(fd, text.replace(CONTROL_CHARACTER, '?'));
  } catch {
    // Nobody listens any more.
  }
}

/** Whatever it said before the mount came up is in the pipe already: one turn starts reading, the next one reads. */
async function relayWhatWasSaid(child: ChildProcess): Promise<void> {
  for (let turn = 0; turn < 2; turn++) await nextTurn();
  child.unref();
}

/** A service without a mount ends by itself, unless something holds it up. */
async function endService(child: ChildProcess, ended: Promise<void>, options: Options): Promise<void> {
  const timer = setTimeout(() => killService(child, options), END_MS);
  await ended;
  clearTimeout(timer);
}

/** With everything that stands between it and us. */
function killService(child: ChildProcess, options: Options): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  } catch {
    // It has ended meanwhile.
  }
  removeLockFile(options);
}

/**
 * Interrupted, it unmounts: the service then ends by itself, at the latest when the last file is closed.
 * Interrupted again, it does not wait for that.
 */
async function serveInForeground(child: ChildProcess, ended: Promise<void>, options: Options): Promise<number> {
  const mountPoint = fromByteString(options.mountPoint);
  const [program, ...flags] = process.getuid?.() === 0 ? ['umount', '-l'] : ['fusermount3', '-u', '-z'];
  let interrupted = false;
  const interrupt = (): void => {
    if (interrupted) killService(child, options);
    else spawnSync(program, [...flags, '--', mountPoint], { stdio: ['ignore', 'ignore', 'inherit'] });
    interrupted = true;
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupt);
  await ended;
  return child.exitCode === 0 ? Exit.OK : Exit.UNWRITTEN;
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

function removeLockFile(options: Options): void {
  if (options.lockFile !== null) rmSync(fromByteString(options.lockFile), { force: true });
}

/** The service has no place for lock files: the one that the user wants is ours. */
function withoutLockFile(words: readonly string[]): string[] {
  return words.map((word, index) => {
    if (/^-[^-o]*o$/.test(words[index - 1] ?? '')) return listWithoutLockFile(word);
    return word.startsWith('-o') && word !== '-o' ? `-o${listWithoutLockFile(word.slice(2))}` : word;
  });
}

function listWithoutLockFile(list: string): string {
  const kept = splitMountOptions(toByteString(list)).filter((option) => option.name !== 'lockfile');
  return kept.length === 0 ? 'defaults' : fromByteString(joinMountOptions(kept.map((option) => option.word)));
}
