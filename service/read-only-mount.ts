import { closeSync } from 'node:fs';
import { NativeBlockDevice } from '../native/block-device.ts';
import { openDataPump, openFuseChannel } from '../native/fuse-device.ts';
import { Errno } from '../shared/errno.ts';
import type { Log } from '../shared/log.ts';
import { encodeStatistics } from '../shared/mount-statistics.ts';
import type { BackingDevice } from './backing-device.ts';
import { Filesystem } from './ext4/filesystem.ts';
import { ROOT_NODE_ID } from './fuse/abi.ts';
import { READ_BYTES_MAX, REPLY_BUFFER_BYTES, REQUEST_BUFFER_BYTES } from './fuse/init.ts';
import { Session } from './fuse/session.ts';
import { DataPath } from './iomap/data-path.ts';
import { requireNoIomap } from './iomap-choice.ts';
import { ReadOnlyOperations } from './ops/read-only-operations.ts';
import type { Options } from './options.ts';
import { DATA_THREADS, openOptions, type ServedFilesystem, SPIN_MICROSECONDS } from './served-filesystem.ts';
import { StatisticsSource } from './statistics.ts';

/** All that can fail in setting up a mount that nobody writes fails here, before there is one. */
export function openReadOnly(fuseFd: number, backing: BackingDevice, options: Options, log: Log): ServedFilesystem {
  requireNoIomap(options, 'what is only read is not mapped');
  const device = new NativeBlockDevice(backing.metadataFd, options.offsetBytes);
  const filesystem = Filesystem.open(device, openOptions(options, log));
  const channel = openFuseChannel(fuseFd, REQUEST_BUFFER_BYTES, REPLY_BUFFER_BYTES, SPIN_MICROSECONDS);
  const pump = openDataPump(fuseFd, backing.dataFd, backing.dataAlignmentBytes, DATA_THREADS, READ_BYTES_MAX);
  const statistics = new StatisticsSource(options, filesystem, false);
  const operations = new ReadOnlyOperations(
    filesystem,
    new DataPath(filesystem, pump, options.offsetBytes, READ_BYTES_MAX),
    {
      posixAcl: options.acl,
      minixDf: options.minixStatfs,
      statistics: () => encodeStatistics(statistics.read()),
      warn: (text) => log.limitedError(text),
    },
  );
  const trace = options.debug || options.traceOperations;
  const wishes = { posixAcl: options.acl, writable: false, writebackCache: false };
  const fuse = new Session(channel, operations, { ...wishes, trace, log });
  statistics.session = fuse;
  const finish = (): number => {
    pump.close();
    channel.close();
    closeSync(backing.dataFd);
    device.close();
    return Errno.OK;
  };
  const rootNodeId = ROOT_NODE_ID;
  return { isWritable: false, filesystem, fuse, rootNodeId, statistics, settle: () => {}, finish };
}
