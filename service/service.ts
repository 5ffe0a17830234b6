import { fstatSync } from 'node:fs';
import { basename } from 'node:path';
import { FuseDevice } from '../native/fuse-device.ts';
import { Errno, SystemError } from '../shared/errno.ts';
import { errnoText } from '../shared/errno-text.ts';
import { isJournal, LineLimiter, Log, standardStreams } from '../shared/log.ts';
import { type ByteString, fromByteString, toByteString } from '../shared/service-protocol/byte-string.ts';
import { MsBit } from '../shared/service-protocol/ms-flags.ts';
import { type BackingDevice, openBackingDevice } from './backing-device.ts';
import { containProcess, sealProcess } from './containment.ts';
import { CorruptionError, IncompatibleError } from './ext4/errors.ts';
import type { Filesystem } from './ext4/filesystem.ts';
import { ROOT_NODE_ID } from './fuse/abi.ts';
import type { KernelDevice } from './fuse/kernel-device.ts';
import type { Session } from './fuse/session.ts';
import { HelperRefusal, openServiceSession, type ServiceSession } from './handshake.ts';
import { isIomapOffered, requireNoIomap } from './iomap-choice.ts';
import { MemoryPressure, type Shrinkable } from './memory-pressure.ts';
import { tuneProcess } from './node-tuning.ts';
import { type Options, parseCommandLine } from './options.ts';
import { openReadOnly } from './read-only-mount.ts';
import type { ServedFilesystem } from './served-filesystem.ts';
import { StatusLine } from './status-line.ts';
import { openSystemFiles, type SystemFiles } from './system-files.ts';
import { UsageError } from './usage-error.ts';
import { openWritable } from './writable-mount.ts';

const ROOT_UID = 0;
const STDERR = 2;
/** What is unwritten goes to the device before the process ends. */
const STOP_SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;
/** Character device 10:229, as stat(2) gives it. */
const FUSE_DEVICE_NUMBER = (10 << 8) | 229;
/** Everything a mount needs, set up but not live yet. */
interface PreparedMount extends ServedFilesystem {
  readonly options: Options;
  readonly log: Log;
  readonly system: SystemFiles;
}

/**
 * Serves one mount on behalf of the helper at the other end of `socket`, until it is unmounted.
 * `ownWords` are the service's own arguments; the user's come from the helper. Returns the exit code.
 */
export async function runService(socket: number, ownWords: readonly string[]): Promise<number> {
  const peerUids = [ROOT_UID, process.getuid?.() ?? ROOT_UID];
  tuneProcess();
  containProcess();
  const session = openServiceSession(socket, peerUids);
  let mount: PreparedMount | null = null;
  try {
    mount = prepare(session, ownWords);
    session.mount({
      source: mount.options.source,
      mountPoint: mount.options.mountPoint,
      options: kernelOptionsOf(mount),
      mtab: mount.options.mtabOptions,
      msFlags: msFlagsOf(mount),
    });
  } catch (error) {
    // What was opened for a mount that does not come about is closed as after any other.
    mount?.finish();
    giveUp(session, error);
    return 1;
  }
  session.goodbye(0);
  return serve(mount);
}

function msFlagsOf({ options, isWritable, rootNodeId }: PreparedMount): number {
  const { msFlags } = options;
  if (!isWritable) return msFlags | MsBit.RDONLY;
  // With iomap the kernel keeps the times.
  if (rootNodeId === ROOT_NODE_ID) return msFlags;
  const isStrict = options.strictAccessTimes && (msFlags & MsBit.NOATIME) === 0;
  return msFlags | (isStrict ? MsBit.STRICTATIME : 0) | (options.lazyTimes ? MsBit.LAZYTIME : 0);
}

function kernelOptionsOf({ options, rootNodeId }: PreparedMount): readonly ByteString[] {
  if (rootNodeId === ROOT_NODE_ID) return options.kernelOptions;
  return [...options.kernelOptions, toByteString(`root_nodeid=${rootNodeId}`)];
}

/** What the helper refused it has told its user already; the administrator finds it in the journal all the same. */
function giveUp(session: ServiceSession, error: unknown): void {
  const text = failureText(error);
  const isTold = error instanceof HelperRefusal;
  if (!isTold || isJournal(STDERR, process.env.JOURNAL_STREAM)) process.stderr.write(`${text}\n`);
  if (!isTold) session.explain(text);
  session.goodbye(1);
}

function prepare(session: ServiceSession, ownWords: readonly string[]): PreparedMount {
  const permissions = session.receiveHello();
  const gift = session.receiveGift();
  checkFuseDevice(gift.fuseFd);
  const words = [...ownWords.map(toByteString), ...gift.arguments.words];
  const options = parseCommandLine(gift.arguments.subtype, words, 'service', permissions.allowOther);
  const log = logFor(options);
  const kernel = new FuseDevice(gift.fuseFd);
  const wantsIomap = options.iomap !== 'never' && isIomapOffered(kernel);
  if (!wantsIomap) requireNoIomap(options, 'this kernel does not offer it');
  const device = openBackingDevice(session, options, wantsIomap);
  const system = openSystemFiles(session, process.env);
  session.finishFiles();
  sealProcess();
  if (!device.isWritable && !options.readOnly) log.notice('source write-protected, mounted read-only');
  for (const word of options.withoutEffect) log.notice(`option ${fromByteString(word)} has no effect`);
  process.title = `-${options.subtype} ${fromByteString(options.device)} ${fromByteString(options.mountPoint)}`;
  return { options, log, system, ...openServedFilesystem(gift.fuseFd, kernel, device, options, log) };
}

/** Whatever answers reads and takes writes would be served, and be written to. */
function checkFuseDevice(fd: number): void {
  const status = fstatSync(fd);
  if (!status.isCharacterDevice() || status.rdev !== FUSE_DEVICE_NUMBER)
    throw new SystemError(Errno.EINVAL, 'FILE', 'fusedev', 'is not /dev/fuse');
}

function logFor(options: Options): Log {
  const [errors, notices] = standardStreams(process.env);
  const shortDevice = basename(fromByteString(options.device));
  return new Log(shortDevice, errors, notices, new LineLimiter(() => performance.now()));
}

/** For writing where that is possible, and otherwise for reading, with a line that says why. */
function openServedFilesystem(
  fuseFd: number,
  kernel: KernelDevice,
  device: BackingDevice,
  options: Options,
  log: Log,
): ServedFilesystem {
  if (!device.isWritable) return openReadOnly(fuseFd, device, options, log);
  try {
    return openWritable(fuseFd, kernel, device, options, log);
  } catch (error) {
    if (!(error instanceof IncompatibleError)) throw error;
    const readOnly = openReadOnly(fuseFd, device, options, log);
    log.notice(`mounted read-only: ${error.message}`);
    return readOnly;
  }
}

/** Answers the kernel until the file system is unmounted. */
async function serve(mount: PreparedMount): Promise<number> {
  const { options, log, filesystem, fuse, system } = mount;
  const uuid = uuidText(filesystem.superblock.uuid);
  if (options.kernel) log.notice(`mounted filesystem ${uuid}.`);
  const status = new StatusLine(system.notifySocket, () => mount.statistics.read());
  const pressure = new MemoryPressure(cachesOf(mount), log);
  let errno: number = Errno.OK;
  const stop = (signal: NodeJS.Signals): void => {
    log.notice(`ended by ${signal}; the mount is of no use any more, unmount it`);
    fuse.stop();
  };
  for (const signal of STOP_SIGNALS) process.once(signal, stop);
  pressure.watch(system.pressureFds);
  status.begin();
  try {
    await fuse.serve();
  } finally {
    pressure.close();
    status.end('unmounted, writing what is left');
    errno = mount.finish();
  }
  if (errno !== Errno.OK) log.error(`changes could not be written at the end: ${errnoText(errno)}`);
  if (options.kernel) log.notice(`unmounted filesystem ${uuid}.`);
  if (options.debug) logCounts(log, fuse, filesystem);
  return errno === Errno.OK ? 0 : 1;
}

/** Blocks that wait for their commit, or for being brought to their places, can't be given up before. */
function cachesOf({ filesystem, settle }: ServedFilesystem): Shrinkable {
  return {
    shrink: () => {
      settle();
      filesystem.shrink();
    },
    grow: () => filesystem.cache.grow(),
  };
}

function logCounts(log: Log, fuse: Session, filesystem: Filesystem): void {
  for (const count of fuse.counts()) log.debug(`${count.name}: ${count.requests} requests, ${count.errors} errors`);
  const { hits, misses } = filesystem.cache;
  const ratio = hits + misses === 0 ? 0 : (100 * hits) / (hits + misses);
  log.debug(`metadata cache: ${hits} hits, ${misses} misses, ${ratio.toFixed(1)} % hits`);
}

function failureText(error: unknown): string {
  if (error instanceof UsageError) return error.message;
  const text = error instanceof Error ? error.message : String(error);
  return error instanceof CorruptionError ? `fuse4fs: ${text}; please run e2fsck -fy` : `fuse4fs: ${text}`;
}

function uuidText(uuid: Uint8Array): string {
  const hex = Array.from(uuid, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
