import { execFile } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { directIoAlignment, NativeBlockDevice } from '../../native/block-device.ts';
import { crc32c } from '../../native/crc32c.ts';
import { openDataPump, openFuseChannel } from '../../native/fuse-device.ts';
import { Filesystem } from '../../service/ext4/filesystem.ts';
import { READ_BYTES_MAX, REPLY_BUFFER_BYTES, REQUEST_BUFFER_BYTES } from '../../service/fuse/init.ts';
import { Session } from '../../service/fuse/session.ts';
import { DataPath } from '../../service/iomap/data-path.ts';
import { ReadOnlyOperations } from '../../service/ops/read-only-operations.ts';
import { attachFuse } from './fuse-attach.ts';
import { READ_ONLY_WISHES } from './fuse-client.ts';
import { RecordingLog } from './fuse-operations.ts';

const execute = promisify(execFile);

/**
 * An image mounted by the test process itself, which also serves it: nothing in this process may touch
 * the mount point synchronously, or it waits for itself. Look at it with `run`, through other processes.
 */
export class SessionMount {
  readonly mountPoint: string;
  readonly filesystem: Filesystem;
  readonly session: Session;
  readonly log = new RecordingLog();
  readonly #served: Promise<void>;
  readonly #release: () => void;

  constructor(image: string) {
    const device = new NativeBlockDevice(openSync(image, 'r'), 0);
    const dataFd = openSync(image, constants.O_RDONLY | constants.O_DIRECT);
    this.filesystem = Filesystem.open(device, {
      crc32c,
      cacheBytes: 32 * 2 ** 20,
      superblockKiB: 0,
      noRecovery: false,
      log: (text) => this.log.error(text),
    });
    this.mountPoint = mkdtempSync(join(tmpdir(), 'fuse4fs-session-'));
    const fuseFd = openSync('/dev/fuse', constants.O_RDWR);
    attachFuse(fuseFd, image, this.mountPoint, ['default_permissions', 'allow_other', 'ro']);
    const channel = openFuseChannel(fuseFd, REQUEST_BUFFER_BYTES, REPLY_BUFFER_BYTES, 0);
    const pump = openDataPump(fuseFd, dataFd, directIoAlignment(dataFd), 4, READ_BYTES_MAX);
    const data = new DataPath(this.filesystem, pump, 0, READ_BYTES_MAX);
    const operations = new ReadOnlyOperations(this.filesystem, data, {
      posixAcl: true,
      minixDf: false,
      statistics: () => new Uint8Array(0),
      warn: (text) => this.log.limitedError(text),
    });
    this.session = new Session(channel, operations, {
      ...READ_ONLY_WISHES,
      posixAcl: true,
      trace: false,
      log: this.log,
    });
    this.#served = this.session.serve();
    this.#release = () => {
      pump.close();
      channel.close();
      closeSync(dataFd);
      device.close();
      rmdirSync(this.mountPoint);
    };
  }

  /** Standard output of another program, run in the mount point. Rejects when it fails. */
  async run(program: string, ...args: string[]): Promise<string> {
    const options = { cwd: '/', encoding: 'latin1', maxBuffer: 2 ** 26 } as const;
    const { stdout } = await execute('env', ['-C', this.mountPoint, program, ...args], options);
    return stdout;
  }

  /** The same through a shell, whatever the exit status. */
  shell(script: string): Promise<string> {
    return this.run('sh', '-c', `{ ${script}\n} 2>&1 || true`);
  }

  /** Requests of one kind so far. */
  requests(name: string): number {
    return this.session.counts().find((count) => count.name === name)?.requests ?? 0;
  }

  async unmount(): Promise<void> {
    await execute('umount', [this.mountPoint]);
    await this.#served;
    this.#release();
  }
}
