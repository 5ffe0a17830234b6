import { chmodSync, existsSync, rmSync } from 'node:fs';
import { BROKER_SOCKET } from '../../helper/broker/messages.ts';
import { program } from './fuse4fs-mount.ts';
import type { SupervisedProcess } from './supervised-process.ts';
import type { TestRoom } from './test-room.ts';

/** The capabilities that the unit leaves to it. */
const CAPABILITIES = ['setpriv', '--bounding-set=-all,+sys_admin,+dac_read_search', '--inh-caps=-all'];

/** The mount broker as a service manager runs it, without one. */
export class MountBroker {
  readonly activator: SupervisedProcess;

  private constructor(activator: SupervisedProcess) {
    this.activator = activator;
  }

  /** prefix: a command that runs the broker, and must become it in the same process. */
  static async start(room: TestRoom, prefix: readonly string[] = []): Promise<MountBroker> {
    if (existsSync(BROKER_SOCKET)) throw new Error(`${BROKER_SOCKET} exists: stop the broker that listens there`);
    const listen = ['systemd-socket-activate', '--accept', '--seqpacket', '-l', BROKER_SOCKET];
    const command = [...prefix, ...CAPABILITIES, process.execPath, '--jitless', program('fuservicemount-broker')];
    const activator = room.supervise([...listen, ...command]);
    const broker = new MountBroker(activator);
    try {
      await activator.waitForText('Listening on', 10_000);
      chmodSync(BROKER_SOCKET, 0o666);
    } catch (error) {
      await broker.stop();
      throw error;
    }
    return broker;
  }

  /** Waits for the broker of the one connection since `output` was emptied. */
  async waitForEnd(milliseconds: number): Promise<void> {
    await this.activator.waitForText(' died with ', milliseconds);
  }

  async stop(): Promise<void> {
    await this.activator.destroy();
    rmSync(BROKER_SOCKET, { force: true });
  }
}
