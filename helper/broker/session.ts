import { closeSync } from 'node:fs';
import { closeQuietly } from '../../native/descriptor.ts';
import { attachMount, UnmountFlag, unmount } from '../../native/mount-api.ts';
import {
  isHangup,
  type Packet,
  type PeerCredentials,
  receivePacket,
  sendPacket,
  shutdownSocket,
} from '../../native/seqpacket.ts';
import { Errno, errnoOf, SystemError } from '../../shared/errno.ts';
import { MS_FLAGS_DEFAULT, MS_FLAGS_KNOWN } from '../../shared/service-protocol/ms-flags.ts';
import { ProtocolError } from '../../shared/service-protocol/protocol-error.ts';
import { connectToService } from '../connect.ts';
import { detachedFuseMount } from '../detached-mount.ts';
import type { FuseConf } from '../fuse-conf.ts';
import type { KernelOption } from '../kernel-options.ts';
import { belongsTo, mountIdOf, mountOf, readMountTable } from '../mount-info.ts';
import type { MountPoint } from '../mount-point.ts';
import { openFuseDevice } from '../mounter.ts';
import { raiseReadAhead } from '../read-ahead.ts';
import { failureText, type Report } from '../report.ts';
import {
  BROKER_PACKET_BYTES_MAX,
  type BrokerRequest,
  decodeRequest,
  encodeAnswer,
  MOUNT_OPTIONS_KNOWN,
  type MountCommand,
  MountOption,
} from './messages.ts';
import { checkedMountPoint } from './place.ts';
import { sourceName } from './source-name.ts';
import { unmountOwn } from './unmount-own.ts';

/** The services that users may reach through us, and the mounts that they may unmount. */
const SUBTYPES: ReadonlySet<string> = new Set(['ext2', 'ext3', 'ext4']);
const MOUNT_TYPES: ReadonlySet<string> = new Set([...SUBTYPES].map((subtype) => `fuse.${subtype}`));

/** How long the user's helper may be silent, in milliseconds. */
export interface BrokerPatience {
  readonly firstMs: number;
  /** When it has asked for a service, which may be replaying a journal: no shorter than a helper's own patience. */
  readonly serviceMs: number;
  /** After a mount or a refusal. */
  readonly lastMs: number;
}

export const BROKER_PATIENCE: BrokerPatience = Object.freeze({ firstMs: 10_000, serviceMs: 600_000, lastMs: 60_000 });

const Phase = Object.freeze({ START: 'start', MOUNTING: 'mounting', MOUNTED: 'mounted', DONE: 'done' });
type Phase = (typeof Phase)[keyof typeof Phase];

/** In which phases a request is in order, each once. Anything else ends the session. */
const TABLE: Readonly<Record<BrokerRequest['kind'], { readonly phases: readonly Phase[]; readonly brings: boolean }>> =
  Object.freeze({
    connect: { phases: [Phase.START], brings: false },
    source: { phases: [Phase.START, Phase.MOUNTING], brings: true },
    mount: { phases: [Phase.MOUNTING], brings: true },
    keep: { phases: [Phase.MOUNTED], brings: false },
    unmount: { phases: [Phase.START], brings: true },
  });

export interface BrokerSetup {
  /** Connected to the user's helper; stays the caller's. */
  readonly socket: number;
  /** Who that is, from the kernel. */
  readonly peer: PeerCredentials;
  readonly fuseConf: FuseConf;
  readonly report: Report;
  readonly patience: BrokerPatience;
}

interface DetachedMount {
  readonly mountFd: number;
  readonly target: MountPoint;
}

/**
 * What one user may have done with root's rights, over one connection: be connected to a service, and mount on a
 * directory of his own what he serves or has served; or unmount that. He is taken for hostile. All that he gets hangs
 * on the connection until he asks for the mount to be kept: when he or we go before that, the kernel clears the mount
 * away, and the service is cut off.
 */
export class BrokerSession {
  readonly #setup: BrokerSetup;
  readonly #seen = new Set<BrokerRequest['kind']>();
  /** One for each request at the most. */
  readonly #received: number[] = [];
  #phase: Phase = Phase.START;
  #source = '';
  /** Our own copy of the connection to the service. */
  #serviceSocket = -1;
  #mount: DetachedMount | null = null;

  constructor(setup: BrokerSetup) {
    this.#setup = setup;
  }

  /** Until the user's helper hangs up, or breaks the rules. */
  run(): void {
    try {
      for (let packet = this.#receive(); packet !== null; packet = this.#receive()) this.#handle(packet);
    } catch (error) {
      if (!(error instanceof SystemError || error instanceof ProtocolError)) throw error;
      if (!isHangup(error)) this.#note(`session ended: ${error.message}`);
    } finally {
      this.#release();
    }
  }

  #receive(): Packet | null {
    const { firstMs, serviceMs, lastMs } = this.#setup.patience;
    const before = this.#phase === Phase.START ? firstMs : serviceMs;
    const isDecided = this.#phase === Phase.MOUNTED || this.#phase === Phase.DONE;
    return receivePacket(this.#setup.socket, BROKER_PACKET_BYTES_MAX, isDecided ? lastMs : before);
  }

  #handle(packet: Packet): void {
    if (packet.fd >= 0) this.#received.push(packet.fd);
    const request = decodeRequest(packet.bytes);
    const row = TABLE[request.kind];
    if (!row.phases.includes(this.#phase) || this.#seen.has(request.kind) || (packet.fd >= 0 && !row.brings))
      throw new SystemError(Errno.EPROTO, 'request', request.kind, `out of place (${this.#phase})`);
    this.#seen.add(request.kind);
    this.#answer(request, packet.fd);
  }

  /** After a refusal the user's helper may still want to talk to the service, but to us no more. */
  #answer(request: BrokerRequest, fd: number): void {
    let given = -1;
    try {
      given = this.#carryOut(request, fd);
    } catch (error) {
      const text = failureText(error, request.kind);
      this.#note(`refused: ${text}`);
      this.#phase = Phase.DONE;
      this.#send(errnoOf(error), text, -1);
      return;
    }
    try {
      this.#send(Errno.OK, '', given);
    } finally {
      // The service's connection is cut off at the end; of a mounted device no copy may keep a dead mount alive.
      if (given >= 0 && given !== this.#serviceSocket) closeSync(given);
    }
  }

  #send(errno: number, text: string, fd: number): void {
    sendPacket(this.#setup.socket, encodeAnswer({ errno, text }), fd);
  }

  /** The descriptor that goes with the answer, or -1. Throws what the user gets as his answer. */
  #carryOut(request: BrokerRequest, fd: number): number {
    switch (request.kind) {
      case 'connect':
        this.#serviceSocket = connectFor(request.subtype);
        this.#phase = Phase.MOUNTING;
        return this.#serviceSocket;
      case 'source':
        this.#source = sourceName(request.name, fd, readMountTable());
        this.#phase = Phase.MOUNTING;
        return -1;
      case 'mount':
        return this.#mountOn(request, fd);
      case 'keep':
        this.#keep();
        return -1;
      case 'unmount':
        unmountOwn(fd, request.name, request.lazy, this.#setup.peer.uid, MOUNT_TYPES);
        this.#phase = Phase.DONE;
        this.#note(`unmounted ${request.name}`);
        return -1;
    }
  }

  /** The mounted /dev/fuse descriptor, which the user's helper never had before. Nobody sees the mount yet. */
  #mountOn(command: MountCommand, fd: number): number {
    const { peer, report } = this.#setup;
    if (this.#source === '' || fd < 0)
      throw new SystemError(Errno.EINVAL, 'mount', '', 'source or mount point missing');
    checkSubtype(command.subtype);
    if ((command.msFlags & ~MS_FLAGS_KNOWN) !== 0)
      throw new SystemError(Errno.EINVAL, 'mount', '', `flags 0x${command.msFlags.toString(16)} are not allowed`);
    const request = {
      source: this.#source,
      subtype: command.subtype,
      blockDevice: false,
      options: this.#kernelOptions(command),
      msFlags: command.msFlags | MS_FLAGS_DEFAULT,
      target: this.#mountPoint(fd),
    };
    const fuseFd = openFuseDevice();
    try {
      const mountFd = detachedFuseMount(fuseFd, request, peer, report);
      if (mountFd === null) throw new SystemError(Errno.ENOSYS, 'mount', '', 'needs Linux 5.8');
      this.#mount = { mountFd, target: request.target };
    } catch (error) {
      closeQuietly(fuseFd);
      throw error;
    }
    this.#phase = Phase.MOUNTED;
    return fuseFd;
  }

  #mountPoint(fd: number): MountPoint {
    const { uid } = this.#setup.peer;
    const table = readMountTable();
    const target = checkedMountPoint(fd, uid, table);
    const { mountMax } = this.#setup.fuseConf;
    if (mountMax >= 0 && table.filter((entry) => belongsTo(entry, uid)).length >= mountMax)
      throw new SystemError(Errno.EUSERS, 'mount', target.path, `you have ${mountMax} FUSE mounts, which is the limit`);
    return target;
  }

  #kernelOptions({ options, maxRead }: MountCommand): readonly KernelOption[] {
    if ((options & ~MOUNT_OPTIONS_KNOWN) !== 0) throw new SystemError(Errno.EINVAL, 'mount', '', 'unknown option bits');
    const words: KernelOption[] = [];
    if ((options & MountOption.ALLOW_OTHER) !== 0) {
      if (!this.#setup.fuseConf.userAllowOther)
        throw new SystemError(
          Errno.EPERM,
          'mount',
          'allow_other',
          "only if 'user_allow_other' is set in /etc/fuse.conf",
        );
      words.push({ key: 'allow_other', value: null });
    }
    if ((options & MountOption.DEFAULT_PERMISSIONS) !== 0) words.push({ key: 'default_permissions', value: null });
    if (maxRead !== 0) words.push({ key: 'max_read', value: String(maxRead) });
    return words;
  }

  /**
   * Where something was mounted over the user's directory since he opened it, the kernel puts a mount on top of that,
   * which may be nothing of his.
   */
  #keep(): void {
    const mount = this.#mount;
    if (mount === null) throw new SystemError(Errno.EINVAL, 'keep', '', 'nothing is mounted');
    const { mountFd, target } = mount;
    attachMount(mountFd, target.fd);
    if (mountOf(mountFd, readMountTable())?.parentId !== mountIdOf(target.fd)) {
      unmount(`/proc/self/fd/${mountFd}`, UnmountFlag.DETACH);
      throw new SystemError(Errno.EBUSY, 'mount', target.path, 'something is mounted there');
    }
    raiseReadAhead(mountFd, this.#setup.report);
    this.#phase = Phase.DONE;
    this.#note(`mounted ${this.#source} on ${target.path}`);
  }

  #note(text: string): void {
    const { uid, pid } = this.#setup.peer;
    this.#setup.report.error(`uid ${uid}, pid ${pid}: ${text}`);
  }

  #release(): void {
    if (this.#mount !== null) closeQuietly(this.#mount.mountFd);
    for (const fd of this.#received) closeQuietly(fd);
    if (this.#serviceSocket >= 0) cutOff(this.#serviceSocket);
  }
}

function connectFor(subtype: string): number {
  checkSubtype(subtype);
  const socket = connectToService(subtype);
  if (socket === null) throw new SystemError(Errno.ENOENT, 'connect', subtype, 'there is no service');
  return socket;
}

function checkSubtype(subtype: string): void {
  if (!SUBTYPES.has(subtype)) throw new SystemError(Errno.EPERM, 'service', subtype, 'is not for users');
}

/**
 * Whoever holds copies of it. A service that has its mount needs it no more, and one that has none must not be kept
 * alive by a user without end.
 */
function cutOff(socket: number): void {
  try {
    shutdownSocket(socket);
  } catch {
    // The service was faster.
  }
  closeQuietly(socket);
}
