import { closeSync, fstatSync } from 'node:fs';
import { totalmem } from 'node:os';
import { basename } from 'node:path';
import { crc32c } from '../native/crc32c.ts';
import { openDataPump, openFuseChannel } from '../native/fuse-device.ts';
import { Errno, SystemError } from '../shared/errno.ts';
import { isJournal, LineLimiter, Log, standardStreams } from '../shared/log.ts';
import { fromByteString, toByteString } from '../shared/service-protocol/byte-string.ts';
import { MsBit } from '../shared/service-protocol/ms-flags.ts';
import { type BackingDevice, openBackingDevice } from './backing-device.ts';
import { containProcess } from './containment.ts';
import { CorruptionError } from './ext4/errors.ts';
import { Filesystem } from './ext4/filesystem.ts';
import { READ_BYTES_MAX, REPLY_BUFFER_BYTES, REQUEST_BUFFER_BYTES } from './fuse/init.ts';
import { Session } from './fuse/session.ts';
import { HelperRefusal, openServiceSession, type ServiceSession } from './handshake.ts';
import { DataPath } from './iomap/data-path.ts';
import { ReadOnlyOperations } from './ops/read-only-operations.ts';
import { type Options, parseCommandLine } from './options.ts';
import { UsageError } from './usage-error.ts';

const ROOT_UID = 0;
const STDERR = 2;
/** Character device 10:229, as stat(2) gives it. */
const FUSE_DEVICE_NUMBER = (10 << 8) | 229;
const CACHE_BYTES_MAX_DEFAULT = 32 * 2 ** 20;
/** Default share of the machine's memory for the metadata cache. */
const CACHE_MEMORY_SHARE = 20;
const DATA_THREADS = 4;
/** Longer than a client takes to come back with its next request, shorter than two wake-ups across CPUs. */
const SPIN_MICROSECONDS = 50;

/** Everything a mount needs, set up but not live yet. */
interface PreparedMount {
  readonly options: Options;
  readonly log: Log;
  readonly filesystem: Filesystem;
  readonly fuse: Session;
  close(): void;
}

/**
 * Serves one mount on behalf of the helper at the other end of `socket`, until it is unmounted.
 * `ownWords` are the service's own arguments; the user's come from the helper. Returns the exit code.
 */
export async function runService(socket: number, ownWords: readonly string[]): Promise<number> {
  const peerUids = [ROOT_UID, process.getuid?.() ?? ROOT_UID];
  containProcess();
  const session = openServiceSession(socket, peerUids);
  let mount: PreparedMount;
  try {
    mount = prepare(session, ownWords);
    session.mount({
      source: mount.options.source,
      mountPoint: mount.options.mountPoint,
      options: mount.options.kernelOptions,
      mtab: mount.options.mtabOptions,
      msFlags: mount.options.msFlags | MsBit.RDONLY,
    });
  } catch (error) {
    giveUp(session, error);
    return 1;
  }
  session.goodbye(0);
  return serve(mount);
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
  if (options.iomap === 'require')
    throw new UsageError('fuse4fs: could not enable iomap: this kernel does not offer it');
  const device = openBackingDevice(session, options);
  session.finishFiles();
  const filesystem = openFilesystem(device, options, log);
  process.title = `-${options.subtype} ${fromByteString(options.device)} ${fromByteString(options.mountPoint)}`;
  return { options, log, filesystem, ...fuseSession(gift.fuseFd, device, filesystem, options, log) };
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

function openFilesystem(device: BackingDevice, options: Options, log: Log): Filesystem {
  const filesystem = Filesystem.open(device.metadata, {
    crc32c,
    cacheBytes: options.cacheSizeBytes ?? Math.min(CACHE_BYTES_MAX_DEFAULT, totalmem() / CACHE_MEMORY_SHARE),
    superblockKiB: options.superblockKiB ?? 0,
    noRecovery: options.noRecovery,
    log: (text) => log.notice(text),
  });
  if (!options.readOnly) log.notice('mounting read-only: writing is not supported yet');
  for (const word of options.withoutEffect) log.notice(`option ${fromByteString(word)} has no effect`);
  return filesystem;
}

/** All that can fail in setting up the conversation with the kernel fails here, before there is a mount. */
function fuseSession(
  fuseFd: number,
  device: BackingDevice,
  filesystem: Filesystem,
  options: Options,
  log: Log,
): Pick<PreparedMount, 'fuse' | 'close'> {
  const channel = openFuseChannel(fuseFd, REQUEST_BUFFER_BYTES, REPLY_BUFFER_BYTES, SPIN_MICROSECONDS);
  const pump = openDataPump(fuseFd, device.dataFd, device.dataAlignmentBytes, DATA_THREADS, READ_BYTES_MAX);
  const dataPath = new DataPath(filesystem, pump, options.offsetBytes, READ_BYTES_MAX);
  const operations = new ReadOnlyOperations(filesystem, dataPath, {
    posixAcl: options.acl,
    minixDf: options.minixStatfs,
    warn: (text) => log.limitedError(text),
  });
  const trace = options.debug || options.traceOperations;
  const fuse = new Session(channel, operations, {
    posixAcl: options.acl,
    writable: false,
    writebackCache: false,
    trace,
    log,
  });
  const close = (): void => {
    pump.close();
    channel.close();
    closeSync(device.dataFd);
    device.metadata.close();
  };
  return { fuse, close };
}

/** Answers the kernel until the file system is unmounted. */
async function serve(mount: PreparedMount): Promise<number> {
  const { options, log, filesystem, fuse } = mount;
  const uuid = uuidText(filesystem.superblock.uuid);
  if (options.kernel) log.notice(`mounted filesystem ${uuid}.`);
  try {
    await fuse.serve();
  } finally {
    mount.close();
  }
  if (options.kernel) log.notice(`unmounted filesystem ${uuid}.`);
  if (options.debug) logCounts(log, fuse, filesystem);
  return 0;
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
