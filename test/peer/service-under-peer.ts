/**
 * The service as the product wires it, with a socket in place of /dev/fuse. Usage: service-under-peer WORD..., which
 * are the words of a command line; descriptors as in ServiceFd. Ends when the peer hangs up.
 */
import { constants } from 'node:fs';
import { directIoAlignment } from '../../native/block-device.ts';
import { descriptorFlags } from '../../native/descriptor.ts';
import { parseCommandLine } from '../../service/options.ts';
import { openWritable } from '../../service/writable-mount.ts';
import { LineLimiter, Log } from '../../shared/log.ts';
import { toByteString } from '../../shared/service-protocol/byte-string.ts';
import { ServiceFd } from './control.ts';
import { PeerKernelDevice } from './peer-kernel-device.ts';
import { plantBug } from './seeded-bugs.ts';

const STDERR = { fd: 2, journal: false };

async function serve(): Promise<number> {
  const options = parseCommandLine(toByteString('ext4'), process.argv.slice(2).map(toByteString), 'direct', true);
  const stream = { journal: STDERR.journal, write: (text: string) => process.stderr.write(text) };
  const log = new Log('peer', stream, stream, new LineLimiter(() => performance.now()));
  const isDirect = (descriptorFlags(ServiceFd.DATA) & constants.O_DIRECT) !== 0;
  const backing = {
    isWritable: true,
    metadataFd: ServiceFd.METADATA,
    dataFd: ServiceFd.DATA,
    dataAlignmentBytes: isDirect ? directIoAlignment(ServiceFd.DATA) : 1,
  };
  const kernel = new PeerKernelDevice(ServiceFd.CONTROL, ServiceFd.NOTIFY);
  const mount = openWritable(ServiceFd.CHANNEL, kernel, backing, options, log);
  try {
    await mount.fuse.serve();
  } finally {
    const errno = mount.finish();
    if (errno !== 0) process.stderr.write(`finish: errno ${errno}\n`);
  }
  return 0;
}

plantBug(process.env.PEER_SEEDED_BUG ?? '');
serve().then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exitCode = 1;
  },
);
