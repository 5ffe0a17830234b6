import { closeSync, constants } from 'node:fs';
import { readCoarseClock } from '../native/clock.ts';
import { openDataPump, openFuseChannel } from '../native/fuse-device.ts';
import { alignedBuffer, NativeWritableBlockDevice } from '../native/writable-block-device.ts';
import { errnoText } from '../shared/errno-text.ts';
import type { Log } from '../shared/log.ts';
import { encodeStatistics } from '../shared/mount-statistics.ts';
import { bytesOf } from '../shared/service-protocol/byte-string.ts';
import { MsBit } from '../shared/service-protocol/ms-flags.ts';
import type { BackingDevice } from './backing-device.ts';
import { DeviceWriter } from './device-writer.ts';
import { ErrorBehaviour } from './ext4/error-handling.ts';
import { INODE, SpecialInode } from './ext4/layout/inode.ts';
import { AccessTimes } from './ext4/namespace/access-time.ts';
import { WritableFilesystem } from './ext4/writable-filesystem.ts';
import type { WriteOptions } from './ext4/write-options.ts';
import { ROOT_NODE_ID } from './fuse/abi.ts';
import { READ_BYTES_MAX, REPLY_BUFFER_BYTES, REQUEST_BUFFER_BYTES } from './fuse/init.ts';
import { KernelCache } from './fuse/kernel-cache.ts';
import type { KernelDevice } from './fuse/kernel-device.ts';
import { LateReplies } from './fuse/late-replies.ts';
import { Session } from './fuse/session.ts';
import { DataPath } from './iomap/data-path.ts';
import { decideAboutIomap } from './iomap-choice.ts';
import { MultiMount } from './multi-mount.ts';
import { WritableOperations } from './ops/writable-operations.ts';
import type { Options } from './options.ts';
import { DATA_THREADS, openOptions, type ServedFilesystem, SPIN_MICROSECONDS } from './served-filesystem.ts';
import { StatisticsSource } from './statistics.ts';

/** Writes that may be under way at once, and one buffer for the request that is read meanwhile. */
const REQUEST_BUFFERS = 8 + 1;

/** The values of errors= as the superblock numbers them. */
const ERROR_BEHAVIOURS = Object.freeze({
  continue: ErrorBehaviour.CONTINUE,
  'remount-ro': ErrorBehaviour.REMOUNT_READ_ONLY,
  panic: ErrorBehaviour.PANIC,
});

const SECOND_NS = 1e9;

/** All that can fail in setting up a mount that is written fails here, before there is one. */
export function openWritable(
  fuseFd: number,
  kernel: KernelDevice,
  backing: BackingDevice,
  options: Options,
  log: Log,
): ServedFilesystem {
  const isDirect = backing.dataAlignmentBytes > 1;
  const device = new NativeWritableBlockDevice(backing.metadataFd, options.offsetBytes, isDirect ? backing.dataFd : -1);
  const multiMount = MultiMount.acquire(device, options, log);
  let writtenByThreads = (): number => 0;
  const writtenBytes = () => device.writtenBytes + writtenByThreads();
  const filesystem = openFilesystem(device, multiMount, options, log, writtenBytes);
  const usesIomap = closingOnFailure(filesystem, multiMount, log, () =>
    decideAboutIomap(kernel, filesystem, backing, options),
  );
  multiMount?.keep(filesystem, log);
  const channel = openFuseChannel(fuseFd, REQUEST_BUFFER_BYTES, REPLY_BUFFER_BYTES, SPIN_MICROSECONDS, REQUEST_BUFFERS);
  const statistics = new StatisticsSource(options, filesystem, true);
  const reader = openDataPump(fuseFd, backing.dataFd, backing.dataAlignmentBytes, DATA_THREADS, READ_BYTES_MAX);
  const writer = new DeviceWriter(fuseFd, backing, options.offsetBytes, DATA_THREADS, () => operations.finishWrites());
  writtenByThreads = () => writer.writtenBytes;
  const timer = commitRegularly(filesystem, options.commitSeconds);
  let finalErrno = -1;
  const endAll = (): number => {
    if (finalErrno !== -1) return finalErrno;
    clearInterval(timer);
    operations.finish();
    finalErrno = filesystem.close();
    multiMount?.release(log);
    reader.close();
    writer.close();
    device.close();
    closeSync(backing.dataFd);
    return finalErrno;
  };
  const operations: WritableOperations = new WritableOperations(
    filesystem,
    new DataPath(filesystem, reader, options.offsetBytes, READ_BYTES_MAX),
    writer,
    new LateReplies(channel),
    new KernelCache((message, done) => kernel.notify(message, done)),
    {
      posixAcl: options.acl,
      minixDf: options.minixStatfs,
      statistics: () => encodeStatistics(statistics.read()),
      warn: (text) => log.limitedError(text),
      sync: (options.msFlags & MsBit.SYNCHRONOUS) !== 0,
      dirsync: (options.msFlags & MsBit.DIRSYNC) !== 0,
      directFlag: constants.O_DIRECT,
      appendFlag: constants.O_APPEND,
      log,
      giveBack: (buffer) => fuse.giveBack(buffer),
      discard: (offsetBytes, lengthBytes, done) => device.discard(offsetBytes, lengthBytes, done),
      flushDevice: (done) => device.run([{ kind: 'flush' }], done),
      iomap: usesIomap
        ? {
            kernel,
            deviceFd: backing.metadataFd,
            startBytes: options.offsetBytes,
            notice: (text) => log.notice(text),
          }
        : null,
      endAll,
    },
  );
  const trace = options.debug || options.traceOperations;
  const rootNodeId = usesIomap ? SpecialInode.ROOT : ROOT_NODE_ID;
  const fuse: Session = new Session(channel, operations, {
    posixAcl: options.acl,
    writable: true,
    writebackCache: options.writebackCache,
    timeGranularityNs: filesystem.superblock.inodeSizeBytes > INODE.BASE_SIZE ? 1 : SECOND_NS,
    iomap: usesIomap ? options.iomap : 'never',
    rootNodeId,
    attributeFlags: (node) => operations.attributeFlags(node),
    trace,
    log,
  });
  statistics.session = fuse;
  const finish = (): number => {
    const errno = endAll();
    channel.close();
    return errno;
  };
  return { isWritable: true, filesystem, fuse, rootNodeId, statistics, settle: () => settleAll(filesystem), finish };
}

function openFilesystem(
  device: NativeWritableBlockDevice,
  multiMount: MultiMount | null,
  options: Options,
  log: Log,
  writtenBytes: () => number,
): WritableFilesystem {
  try {
    return WritableFilesystem.openForWriting(device, {
      ...writeOptions(options, multiMount !== null, log),
      writtenBytes,
    });
  } catch (error) {
    multiMount?.release(log);
    throw error;
  }
}

function closingOnFailure<T>(
  filesystem: WritableFilesystem,
  multiMount: MultiMount | null,
  log: Log,
  action: () => T,
): T {
  try {
    return action();
  } catch (error) {
    filesystem.close();
    multiMount?.release(log);
    throw error;
  }
}

function writeOptions(options: Options, isMultiMountProtected: boolean, log: Log): Omit<WriteOptions, 'writtenBytes'> {
  return {
    ...openOptions(options, log),
    isMultiMountProtected,
    posixAcl: options.acl,
    accessTimes: accessTimesOf(options),
    lazyTimes: options.lazyTimes,
    groupOfParent: options.groupOfParent,
    reservedUid: options.reservedUid,
    reservedGid: options.reservedGid,
    barrier: options.barrier,
    journalChecksum: options.journalChecksum,
    discard: options.discard,
    mountPoint: bytesOf(options.mountPoint),
    readClock: readCoarseClock,
    random: Math.random,
    allocate: alignedBuffer,
    report: (error) => log.limitedError(error.message),
    errorBehaviour: options.errors === null ? null : ERROR_BEHAVIOURS[options.errors],
    panic: () => process.abort(),
    onAbort: (errno, during) => {
      log.error(`journal aborted, nothing is written any more: ${during}: ${errnoText(errno)}`);
    },
  };
}

function accessTimesOf(options: Options): { files: number; directories: number } {
  const files =
    (options.msFlags & MsBit.NOATIME) !== 0
      ? AccessTimes.NEVER
      : options.strictAccessTimes
        ? AccessTimes.STRICT
        : AccessTimes.RELATIVE;
  return { files, directories: (options.msFlags & MsBit.NODIRATIME) !== 0 ? AccessTimes.NEVER : files };
}

/** A failed commit aborts the journal, which is reported there. */
function commitRegularly(filesystem: WritableFilesystem, seconds: number): NodeJS.Timeout | undefined {
  if (seconds === 0) return undefined;
  return setInterval(() => settle(filesystem), seconds * 1000);
}

/** Memory is short: inodes, too, that have nothing new but their times are to go. */
function settleAll(filesystem: WritableFilesystem): void {
  filesystem.lazyTimes.writeAll();
  settle(filesystem);
}

/** Errors and old times are seen to at the beginning of a request, but there may be none. */
function settle(filesystem: WritableFilesystem): void {
  filesystem.beginRequest(0, 0);
  if (filesystem.isReadOnly) return;
  if (filesystem.hasChanges) filesystem.commit(() => {});
  else filesystem.checkpointSome();
}
