import { Errno, SystemError } from '../shared/errno.ts';
import { BrokerMounter } from './broker/broker-mounter.ts';
import { BrokerConnection } from './broker/connection.ts';
import { BROKER_SOCKET } from './broker/messages.ts';
import { brokerIsPresent } from './connect.ts';
import { FusermountMounter } from './fusermount.ts';
import { type Mounter, RootMounter } from './mounter.ts';
import type { Report } from './report.ts';

/** Root mounts by himself, others by the mount broker, and where there is none by fusermount3. */
export function mounterForCaller(report: Report, broker: BrokerConnection | null = null): Mounter {
  if (process.getuid?.() === 0) return new RootMounter(report);
  if (broker !== null) return new BrokerMounter(() => broker);
  return brokerIsPresent() ? new BrokerMounter(openBroker) : new FusermountMounter();
}

function openBroker(): BrokerConnection {
  const broker = BrokerConnection.open();
  if (broker === null) throw new SystemError(Errno.ECONNREFUSED, 'connect', BROKER_SOCKET);
  return broker;
}
