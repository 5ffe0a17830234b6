import { closeSync } from 'node:fs';
import { closeQuietly } from '../native/descriptor.ts';
import { grantIomap } from '../native/fuse-device.ts';
import { createSealedMemfd } from '../native/memfd.ts';
import { disallowRights, isHangup, receivePacket, sendPacket } from '../native/seqpacket.ts';
import { Errno, errnoOf, SystemError } from '../shared/errno.ts';
import { encodeArguments } from '../shared/service-protocol/argv-memfd.ts';
import { fromByteString, toByteString } from '../shared/service-protocol/byte-string.ts';
import { failureIn, SOMEBODY_ELSE_HAS_IT } from '../shared/service-protocol/failure-text.ts';
import { encodeHelperMessage } from '../shared/service-protocol/helper-messages.ts';
import { MS_FLAGS_DEFAULT, MS_FLAGS_KNOWN } from '../shared/service-protocol/ms-flags.ts';
import {
  ARGUMENTS_PATH,
  FUSE_DEVICE_PATH,
  HelloFlag,
  type HelperMessage,
  IomapMode,
  type MountPointMessage,
  type OpenBlockDeviceMessage,
  type OpenMessage,
  PACKET_BYTES_MAX,
  PROTOCOL_VERSION,
  RequestFlag,
  type ServiceMessage,
  TypeFlag,
} from '../shared/service-protocol/packets.ts';
import { ProtocolError } from '../shared/service-protocol/protocol-error.ts';
import { decodeServiceMessage } from '../shared/service-protocol/service-messages.ts';
import type { CallerWords } from './caller-words.ts';
import { usersOf } from './device-users.ts';
import type { FuseConf } from './fuse-conf.ts';
import {
  checkedKernelOptions,
  checkedMtabOptions,
  checkedSource,
  type KernelOption,
  NO_MTAB,
} from './kernel-options.ts';
import { LoopDevices } from './loop.ts';
import { type MountPoint, pinMountPoint } from './mount-point.ts';
import type { MountRequest } from './mount-request.ts';
import { recordInMountTable } from './mount-table.ts';
import type { Mount, Mounter } from './mounter.ts';
import { FileOpener } from './open-file.ts';
import { failureText, type Report } from './report.ts';

/** How long to wait for the service, in milliseconds. */
export interface Timeouts {
  readonly helloMs: number;
  /** For each later packet: the service may be replaying a journal. */
  readonly commandMs: number;
  readonly totalMs: number;
}

export const DEFAULT_TIMEOUTS: Timeouts = Object.freeze({ helloMs: 30_000, commandMs: 60_000, totalMs: 600_000 });

export interface SessionSetup {
  /** Connected to the service; stays the caller's. */
  readonly socket: number;
  readonly subtype: string;
  readonly words: CallerWords;
  readonly mounter: Mounter;
  readonly fuseConf: FuseConf;
  readonly report: Report;
  readonly timeouts: Timeouts;
  /** Where the service's own messages go; '' when the user sees them anyway. */
  readonly logHint: string;
  /** The user sees the service's own explanations: that it gave up needs no other report. */
  readonly serviceIsHeard: boolean;
  /** Everything but the mount. */
  readonly fake: boolean;
  readonly updateMtab: boolean;
}

const Phase = Object.freeze({ HELLO_SENT: 'hello sent', READY: 'ready', MOUNTED: 'mounted', DONE: 'done' });
type Phase = (typeof Phase)[keyof typeof Phase];
type Command = ServiceMessage['kind'];
/** Commands that are answered by a bare errno. */
type SettingMessage = Exclude<ServiceMessage, { kind: 'hello-reply' | 'goodbye' | 'open' | 'open-block-device' }>;

/**
 * The session table: in which phases the service may send what, and whether more than once. A command out of
 * place is refused, but before the hello it ends the session. What is not in the table ends it always.
 */
const TABLE: Readonly<Record<Command, { readonly phases: readonly Phase[]; readonly once: boolean }>> = Object.freeze({
  'hello-reply': { phases: [Phase.HELLO_SENT], once: true },
  open: { phases: [Phase.READY], once: false },
  'open-block-device': { phases: [Phase.READY], once: false },
  'iomap-grant': { phases: [Phase.READY], once: false },
  type: { phases: [Phase.READY], once: true },
  source: { phases: [Phase.READY], once: true },
  'mount-point': { phases: [Phase.READY], once: true },
  options: { phases: [Phase.READY], once: true },
  mtab: { phases: [Phase.READY], once: true },
  mount: { phases: [Phase.READY], once: true },
  goodbye: { phases: [Phase.READY, Phase.MOUNTED], once: true },
});

/** A service that is refused so often will never mount, and should not fill the terminal. */
const COMMANDS_MAX = 1000;
const REFUSALS_SHOWN_MAX = 20;

/** The service did what no service may do, or nothing at all. */
class SessionEnd extends Error {}

/** The service ended the session itself, and said why. */
class ServiceGaveUp extends SessionEnd {}

/** One mount attempt. Holds nothing beyond `run`, except a mount that the service took over. */
export class Session {
  readonly #setup: SessionSetup;
  readonly #files: FileOpener;
  readonly #loops = new LoopDevices();
  readonly #deadlineMs: number;
  readonly #accepted = new Set<Command>();
  #phase: Phase = Phase.HELLO_SENT;
  #succeeded = false;
  #refusal = '';
  #refusals = 0;
  /** What the service asked for last, of what the caller has named. */
  #opened = '';
  #fuseFd = -1;
  #mount: { readonly request: MountRequest; readonly live: Mount } | null = null;
  // Buffered until the mount is wanted, so that their order does not matter.
  #blockDevice = false;
  #source = '';
  #mountPoint: MountPoint | null = null;
  #options: readonly KernelOption[] = [];
  #mtabOptions: readonly string[] = [];

  constructor(setup: SessionSetup) {
    this.#setup = setup;
    this.#deadlineMs = performance.now() + setup.timeouts.totalMs;
    const { words, fuseConf, subtype, mounter } = setup;
    this.#files = new FileOpener(words, fuseConf, subtype, mounter.isRoot ? this.#loops : null);
  }

  /** True when the service has taken over its mount (or, for a fake one, was ready for it). Reports all failures. */
  run(): boolean {
    try {
      this.#converse();
    } catch (error) {
      if (!(error instanceof SessionEnd || error instanceof SystemError || error instanceof ProtocolError)) throw error;
      if (error instanceof ServiceGaveUp && this.#setup.serviceIsHeard) this.#setup.report.detail(error.message);
      else this.#setup.report.error(error.message);
    } finally {
      this.#release();
    }
    return this.#succeeded;
  }

  #converse(): void {
    disallowRights(this.#setup.socket);
    const flags =
      (this.#mayAllowOther() ? HelloFlag.ALLOW_OTHER : 0) | (this.#setup.mounter.isRoot ? HelloFlag.FUSEBLK : 0);
    this.#send({ kind: 'hello', minVersion: PROTOCOL_VERSION, maxVersion: PROTOCOL_VERSION, flags });
    for (let commands = 0; this.#phase !== Phase.DONE; commands++) {
      if (commands === COMMANDS_MAX) throw new SessionEnd('service does not come to an end');
      this.#handle(this.#receive());
    }
  }

  #receive(): Uint8Array {
    const { helloMs, commandMs } = this.#setup.timeouts;
    const patienceMs = this.#phase === Phase.HELLO_SENT ? helloMs : commandMs;
    const waitMs = Math.max(0, Math.ceil(Math.min(patienceMs, this.#deadlineMs - performance.now())));
    const packet = this.#receiveWithin(waitMs);
    if (packet === null) throw this.#vanished();
    if (packet.fd >= 0) {
      closeQuietly(packet.fd);
      throw new SessionEnd('service sent a descriptor');
    }
    return packet.bytes;
  }

  #receiveWithin(waitMs: number): ReturnType<typeof receivePacket> {
    try {
      return receivePacket(this.#setup.socket, PACKET_BYTES_MAX, waitMs);
    } catch (error) {
      if (errnoOf(error) === Errno.ETIMEDOUT) throw new SessionEnd(`service did not answer in time (${this.#phase})`);
      throw isHangup(error) ? this.#vanished() : error;
    }
  }

  #send(message: HelperMessage, fd = -1): void {
    try {
      sendPacket(this.#setup.socket, encodeHelperMessage(message), fd);
    } catch (error) {
      throw isHangup(error) ? this.#vanished() : error;
    }
  }

  #vanished(): SessionEnd {
    return new SessionEnd(`service exited without saying goodbye${this.#afterRefusal()}`);
  }

  #handle(bytes: Uint8Array): void {
    let message: ServiceMessage;
    try {
      message = decodeServiceMessage(bytes);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      if (this.#phase === Phase.HELLO_SENT || error.refusal === null) throw error;
      this.#send(error.refusal);
      this.#noteRefusal(error.message, false);
      if (error.endsSession) throw error;
      return;
    }
    this.#dispatch(message);
  }

  #dispatch(message: ServiceMessage): void {
    const row = TABLE[message.kind];
    const isInPlace = row.phases.includes(this.#phase);
    if (!isInPlace && (this.#phase === Phase.HELLO_SENT || message.kind === 'hello-reply'))
      throw new SessionEnd(`service sent ${message.kind} out of place (${this.#phase})`);
    if (message.kind === 'hello-reply') this.#begin(message.version);
    else if (message.kind === 'goodbye') this.#end(message.exitCode);
    else if (message.kind === 'open' || message.kind === 'open-block-device') this.#answerOpen(message, isInPlace);
    else this.#answer(message, isInPlace && !(row.once && this.#accepted.has(message.kind)));
  }

  #begin(version: number): void {
    if (version !== PROTOCOL_VERSION) throw new SessionEnd(`unsupported protocol version ${version}`);
    const argv = encodeArguments(toByteString(this.#setup.subtype), this.#setup.words.words);
    const argvFd = createSealedMemfd('fuse service argv', argv);
    try {
      this.#fuseFd = this.#setup.mounter.openFuseDevice();
      this.#send({ kind: 'file', errno: Errno.OK, path: ARGUMENTS_PATH }, argvFd);
    } finally {
      closeSync(argvFd);
    }
    this.#send({ kind: 'file', errno: Errno.OK, path: FUSE_DEVICE_PATH }, this.#fuseFd);
    this.#phase = Phase.READY;
  }

  #answerOpen(message: OpenMessage | OpenBlockDeviceMessage, isInPlace: boolean): void {
    const name = fromByteString(message.path);
    let fd: number;
    try {
      if (this.#setup.words.mayOpen(message.path)) this.#opened = name;
      if (!isInPlace) throw new SystemError(Errno.EPERM, 'open', name, 'too late, the file system is mounted');
      fd = this.#files.open(message);
    } catch (error) {
      const errno = errnoOf(error);
      // The service tries again while a device is busy, and says itself which failures it can live with.
      const isQuiet = errno === Errno.EBUSY || (message.requestFlags & RequestFlag.QUIET) !== 0;
      this.#noteRefusal(failureText(error, name), isQuiet);
      this.#send({ kind: 'file', errno, path: message.path });
      return;
    }
    try {
      this.#setup.report.detail(`opened ${name}`);
      this.#send({ kind: 'file', errno: Errno.OK, path: message.path }, fd);
    } finally {
      closeSync(fd);
    }
  }

  #answer(message: SettingMessage, isInPlace: boolean): void {
    try {
      if (!isInPlace) throw new SystemError(Errno.EINVAL, 'service', message.kind, 'out of place');
      this.#apply(message);
      this.#accepted.add(message.kind);
      this.#setup.report.detail(`${message.kind} accepted`);
    } catch (error) {
      const errno = errnoOf(error);
      this.#noteRefusal(failureText(error, message.kind), errno === Errno.ECANCELED);
      this.#send({ kind: 'reply', errno });
      return;
    }
    this.#send({ kind: 'reply', errno: Errno.OK });
  }

  /** Throws what the service gets as its answer. */
  #apply(message: SettingMessage): void {
    switch (message.kind) {
      case 'iomap-grant':
        if (!this.#grantIomap() && message.mode === IomapMode.MANDATORY)
          throw new SystemError(Errno.EOPNOTSUPP, 'iomap', '', 'not available');
        break;
      case 'type':
        this.#blockDevice = this.#mayClaimDevice(message.flags);
        break;
      case 'source':
        this.#source = checkedSource(fromByteString(message.source));
        break;
      case 'mount-point':
        this.#mountPoint = this.#pin(message);
        break;
      case 'options':
        this.#options = checkedKernelOptions(fromByteString(message.options), this.#mayAllowOther());
        break;
      case 'mtab':
        this.#mtabOptions = checkedMtabOptions(fromByteString(message.options), this.#setup.words.options);
        break;
      case 'mount':
        this.#mountNow(message.msFlags);
        break;
    }
  }

  #mayClaimDevice(typeFlags: number): boolean {
    const isWanted = (typeFlags & TypeFlag.FUSEBLK) !== 0;
    if (isWanted && !this.#setup.mounter.isRoot)
      throw new SystemError(Errno.EPERM, 'mount', 'fuseblk', 'only root may');
    return isWanted;
  }

  #grantIomap(): boolean {
    return this.#setup.mounter.isRoot && grantIomap(this.#fuseFd);
  }

  #mayAllowOther(): boolean {
    return this.#setup.mounter.isRoot || this.#setup.fuseConf.userAllowOther;
  }

  #pin(message: MountPointMessage): MountPoint {
    const word = fromByteString(message.path);
    if (!this.#setup.words.isOperand(message.path))
      throw new SystemError(Errno.EINVAL, 'mount point', word, 'must be in the command line arguments');
    return pinMountPoint(word, message.expectedFormat);
  }

  #mountNow(msFlags: number): void {
    const request = this.#mountRequest(msFlags);
    if (this.#setup.fake) {
      this.#succeeded = true;
      this.#phase = Phase.DONE;
      throw new SystemError(Errno.ECANCELED, 'mount', request.target.path, 'left out, as asked');
    }
    const openSource = (): number => this.#files.openForReading(toByteString(request.source));
    this.#mount = { request, live: this.#setup.mounter.mount(this.#fuseFd, request, openSource) };
    this.#phase = Phase.MOUNTED;
  }

  #mountRequest(msFlags: number): MountRequest {
    const target = this.#mountPoint;
    const isRoot = this.#setup.mounter.isRoot;
    if (this.#source === '' || target === null)
      throw new SystemError(Errno.EINVAL, 'mount', '', 'source or mount point missing');
    if ((msFlags & ~MS_FLAGS_KNOWN) !== 0)
      throw new SystemError(Errno.EINVAL, 'mount', target.path, `flags 0x${msFlags.toString(16)} are not allowed`);
    if (this.#blockDevice && !this.#setup.words.mayOpen(toByteString(this.#source)))
      throw new SystemError(Errno.EPERM, 'mount', this.#source, 'not named on the command line');
    return {
      source: this.#source,
      subtype: this.#setup.subtype,
      blockDevice: this.#blockDevice,
      options: this.#options,
      msFlags: isRoot ? msFlags : msFlags | MS_FLAGS_DEFAULT,
      target,
    };
  }

  #end(exitCode: number): void {
    if (this.#mount === null || exitCode !== 0) {
      const explained = failureIn(this.#mtabOptions);
      if (explained?.includes(SOMEBODY_ELSE_HAS_IT)) this.#reportUsers();
      const own = this.#setup.logHint === '' ? null : explained;
      const reason = own ?? `exit code ${exitCode}${this.#afterRefusal()}`;
      throw new ServiceGaveUp(`service gave up: ${reason}`);
    }
    const { request, live } = this.#mount;
    live.keep();
    this.#mount = null;
    this.#phase = Phase.DONE;
    this.#succeeded = true;
    if (this.#setup.updateMtab && !this.#mtabOptions.includes(NO_MTAB)) recordInMountTable(request, this.#mtabOptions);
  }

  #reportUsers(): void {
    const users = usersOf(this.#opened);
    if (users.length > 0) this.#setup.report.error(`${this.#opened} is in use: ${users.join(', ')}`);
  }

  #noteRefusal(text: string, isQuiet: boolean): void {
    // What the service can live with is not why it ends.
    if (!isQuiet) this.#refusal = text;
    this.#refusals += 1;
    if (isQuiet || this.#refusals > REFUSALS_SHOWN_MAX) this.#setup.report.detail(text);
    else this.#setup.report.error(text);
  }

  /** What we refused last is often why the service ends. */
  #afterRefusal(): string {
    return this.#refusal === '' ? '' : `, last refusal: ${this.#refusal}`;
  }

  #release(): void {
    // Before the mount goes: while we hold it, the end of its service does not end the wait for an answer to DESTROY.
    if (this.#fuseFd >= 0) closeQuietly(this.#fuseFd);
    this.#abandonMount();
    if (this.#mountPoint !== null) closeQuietly(this.#mountPoint.fd);
    this.#loops.close();
  }

  /** Nobody would ever answer a mount whose service has not taken it over. */
  #abandonMount(): void {
    try {
      this.#mount?.live.abandon();
    } catch (error) {
      this.#setup.report.error(failureText(error, 'unmount'));
    }
  }
}
