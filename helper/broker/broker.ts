import { setCloseOnExec } from '../../native/descriptor.ts';
import { AF_UNIX, peerCredentials, SOCK_SEQPACKET, socketInfo } from '../../native/seqpacket.ts';
import { activatedSocket } from '../../shared/listen-fds.ts';
import { FUSE_CONF_PATH, readFuseConf } from '../fuse-conf.ts';
import { stderrReport } from '../report.ts';
import { BROKER_PATIENCE, BrokerSession } from './session.ts';

const Exit = Object.freeze({ OK: 0, USAGE: 1, BUG: 4 });

const PROGRAM = 'fuservicemount-broker';

/** One process per connection of a user's helper, started by the service manager as root. */
function main(): number {
  const report = stderrReport(PROGRAM, false);
  const socket = activatedSocket(process.env, process.pid);
  if (socket === null) {
    report.error('is started by the service manager, for a connection to its socket');
    return Exit.USAGE;
  }
  const { family, type } = socketInfo(socket);
  if (family !== AF_UNIX || type !== SOCK_SEQPACKET) {
    report.error('descriptor 3 is no SEQPACKET socket');
    return Exit.USAGE;
  }
  setCloseOnExec(socket, true);
  const peer = peerCredentials(socket);
  const fuseConf = readFuseConf(FUSE_CONF_PATH, report);
  new BrokerSession({ socket, peer, fuseConf, report, patience: BROKER_PATIENCE }).run();
  return Exit.OK;
}

try {
  process.exitCode = main();
} catch (error) {
  process.stderr.write(`${PROGRAM}: bug: ${error instanceof Error ? error.stack : error}\n`);
  process.exitCode = Exit.BUG;
}
