import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, fstatSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { e2fsprogs, FIXED_IDENTITY } from '../support/e2fsprogs.ts';
import { within } from '../support/supervised-process.ts';
import { DeviceLog } from './device-log.ts';
import { Ledger } from './ledger.ts';
import { attachLoop } from './loop.ts';
import { PeerDevice } from './peer-device.ts';
import { PeerKernel } from './peer-kernel.ts';
import type { Profile } from './profile.ts';
import { peerIo, recorderPath, serviceProgram } from './programs.ts';

/** In memory: flushes cost nothing there, and what is written is read by others at once. */
const SCRATCH = '/dev/shm';
const PATTERN_BLOCK_BYTES = 1024;
const END_LIMIT_MS = 30_000;

export interface MachineSettings {
  readonly profile: Profile;
  readonly sizeBytes: number;
  readonly mkfs: readonly string[];
  readonly blockBytes: number;
  readonly folioBytes?: number;
  /** Options of the mount. */
  readonly options?: string;
  /** Record what is written to the device. */
  readonly recordBytes?: number;
  /** A bug to run the server with; see seeded-bugs.ts. */
  readonly bug?: string;
}

/** Bytes that no file has ever had, and that say where they are from: nobody may ever see them (D-2). */
export function isPattern(bytes: Uint8Array, at: number): boolean {
  return bytes[at] === 0xf5 && bytes[at + 1] === 0xee && bytes[at + 2] === 0xb1 && bytes[at + 3] === 0x0c;
}

function fillWithPattern(fd: number, sizeBytes: number): void {
  const piece = new Uint8Array(2 ** 20);
  const words = new DataView(piece.buffer);
  for (let at = 0; at < sizeBytes; at += piece.length) {
    for (let within = 0; within < piece.length; within += 8) {
      words.setUint32(within, 0x0cb1eef5, true);
      words.setUint32(within + 4, Math.floor((at + within) / PATTERN_BLOCK_BYTES), true);
    }
    writeSync(fd, piece, 0, Math.min(piece.length, sizeBytes - at), at);
  }
}

/** A disk, and a service process that is started on it as often as is wanted. */
export class Machine {
  readonly settings: MachineSettings;
  readonly imagePath: string;
  readonly devicePath: string;
  readonly ledger: Ledger;
  readonly log: DeviceLog | null;
  readonly #directory: string;
  readonly #loopFd: number;
  readonly #peerDevice: PeerDevice;
  #process: ChildProcess | null = null;
  #exit: Promise<unknown> = Promise.resolve();
  kernel: PeerKernel | null = null;

  constructor(settings: MachineSettings) {
    this.settings = settings;
    this.#directory = mkdtempSync(join(SCRATCH, 'fuse4fs-peer-'));
    this.imagePath = join(this.#directory, 'disk');
    const image = openSync(this.imagePath, 'w+');
    fillWithPattern(image, settings.sizeBytes);
    closeSync(image);
    const mkfs = ['-q', '-F', '-E', 'nodiscard,lazy_itable_init=0,lazy_journal_init=0', ...settings.mkfs];
    e2fsprogs('mke2fs', [...mkfs, '-b', `${settings.blockBytes}`, ...FIXED_IDENTITY.slice(0, 2), this.imagePath]);
    const loop = attachLoop(this.imagePath);
    this.#loopFd = loop.fd;
    this.devicePath = loop.path;
    // A page cache of its own, if any: the kernel's file I/O passes by the one that the service's descriptors have.
    const other = attachLoop(this.imagePath);
    const fd = openSync(other.path, constants.O_RDWR | constants.O_DIRECT);
    closeSync(other.fd);
    this.#peerDevice = new PeerDevice(fd, settings.sizeBytes);
    this.ledger = new Ledger(settings.sizeBytes, settings.blockBytes);
    const { recordBytes } = settings;
    this.log = recordBytes === undefined ? null : new DeviceLog(join(this.#directory, 'log'), recordBytes);
  }

  get device(): PeerDevice {
    return this.#peerDevice;
  }

  /** Of the service that runs. */
  get pid(): number {
    const pid = this.#process?.pid;
    if (pid === undefined) throw new Error('no service runs');
    return pid;
  }

  get stderrPath(): string {
    return join(this.#directory, 'stderr');
  }

  get stderr(): string {
    return readFileSync(this.stderrPath, 'utf8');
  }

  /** Starts a service and makes the connection live. */
  start(): PeerKernel {
    const [channel, channelEnd] = peerIo.socketPair();
    const [control, controlEnd] = peerIo.socketPair();
    const [notify, notifyEnd] = peerIo.socketPair();
    const metadata = openSync(this.devicePath, constants.O_RDWR);
    const data = openSync(this.devicePath, constants.O_RDWR | constants.O_DIRECT);
    const stderr = openSync(this.stderrPath, 'a');
    const options = ['commit=1', ...(this.settings.options === undefined ? [] : [this.settings.options])];
    const words = [serviceProgram(), this.devicePath, '/nowhere', '-o', options.join(',')];
    const service = spawn(process.execPath, words, {
      stdio: ['ignore', stderr, stderr, channelEnd, controlEnd, notifyEnd, metadata, data],
      env: { ...process.env, ...this.#recorder(metadata), PEER_SEEDED_BUG: this.settings.bug ?? '' },
    });
    for (const fd of [channelEnd, controlEnd, notifyEnd, metadata, data, stderr]) closeSync(fd);
    this.#process = service;
    this.#exit = once(service, 'exit');
    const { profile, folioBytes = 4096 } = this.settings;
    const kernel = new PeerKernel({ channel, control, notify }, this.#peerDevice, this.ledger, {
      profile,
      folioBytes,
      rootNodeId: 2,
    });
    this.kernel = kernel;
    kernel.initialise();
    return kernel;
  }

  #recorder(deviceFd: number): Record<string, string> {
    if (this.log === null) return {};
    return {
      LD_PRELOAD: recorderPath(),
      PEER_DEVICE_LOG: this.log.path,
      PEER_DEVICE_NUMBER: `${fstatSync(deviceFd).rdev}`,
    };
  }

  /** After a proper unmount: hangs up and waits for the end of the service. Its exit code. */
  async stop(): Promise<number | null> {
    this.kernel?.connection.hangUp();
    this.kernel = null;
    await within(END_LIMIT_MS, () => `end of the service: ${this.stderr}`, this.#exit);
    const code = this.#process?.exitCode ?? null;
    this.#process = null;
    return code;
  }

  /** Ends the service and waits for that; the kernel has not noticed yet. */
  async end(): Promise<void> {
    this.#process?.kill('SIGKILL');
    await this.#exit;
  }

  /** Ends the service at once, as if it had crashed. */
  async kill(): Promise<void> {
    this.#process?.kill('SIGKILL');
    this.kernel?.control.closeBackings();
    this.kernel?.connection.hangUp();
    this.kernel = null;
    await this.#exit;
    this.#process = null;
    this.ledger.restart();
  }

  /** What e2fsck has to say about the disk; '' when it is in order. */
  fsck(path: string = this.imagePath): string {
    const PATH = `${process.env.PATH ?? ''}:/sbin:/usr/sbin`;
    const result = spawnSync('e2fsck', ['-fn', path], { encoding: 'latin1', env: { ...process.env, PATH } });
    return result.status === 0 ? '' : `exit ${result.status}: ${result.stdout}${result.stderr}`;
  }

  async remove(): Promise<void> {
    if (this.#process !== null) await this.kill();
    closeSync(this.#peerDevice.fd);
    closeSync(this.#loopFd);
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
