import { existsSync, mkdirSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { program } from './fuse4fs-mount.ts';
import type { SupervisedProcess } from './supervised-process.ts';
import type { TestRoom } from './test-room.ts';

const SOCKET_DIRECTORY = '/run/filesystems';
const SOCKET = `${SOCKET_DIRECTORY}/ext4`;

/**
 * The service as a service manager runs it, without one: systemd-socket-activate listens on the socket that
 * fuservicemount knows, and starts a fuse4fs for each connection.
 */
export class Ext4Service {
  readonly activator: SupervisedProcess;

  private constructor(activator: SupervisedProcess) {
    this.activator = activator;
  }

  /** prefix: a command that runs the service (the program fuse4fs), and must become it in the same process. */
  static async start(
    room: TestRoom,
    prefix: readonly string[] = [],
    fuse4fs = program('fuse4fs'),
  ): Promise<Ext4Service> {
    if (existsSync(SOCKET)) throw new Error(`${SOCKET} exists: stop the service that listens there`);
    mkdirSync(SOCKET_DIRECTORY, { recursive: true });
    const listen = ['systemd-socket-activate', '--accept', '--seqpacket', '-l', SOCKET];
    const activator = room.supervise([...listen, ...prefix, fuse4fs, '-o', 'kernel']);
    const service = new Ext4Service(activator);
    try {
      await activator.waitForText('Listening on', 10_000);
    } catch (error) {
      await service.stop();
      throw error;
    }
    return service;
  }

  /** Services that have ended so far are counted by what the activator says about its children. */
  async waitForServiceEnd(milliseconds: number): Promise<void> {
    await this.activator.waitForText(' died with ', milliseconds);
  }

  /** Processes beside the activator. */
  servicePids(): number[] {
    return this.activator.pids().slice(1);
  }

  async stop(): Promise<void> {
    await this.activator.destroy();
    rmSync(SOCKET, { force: true });
    if (readdirSync(SOCKET_DIRECTORY).length === 0) rmdirSync(SOCKET_DIRECTORY);
  }
}
