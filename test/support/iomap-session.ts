import { InitFlag, Opcode } from '../../service/fuse/abi.ts';
import { INIT_FLAG2_IOMAP, IOMAP_PROFILES, IomapOpcode, type IomapProfile } from '../../service/fuse/iomap-profile.ts';
import type { KernelDevice } from '../../service/fuse/kernel-device.ts';
import { Errno } from '../../shared/errno.ts';
import { body, type FuseReply, initBody, OFFERED_FLAGS, u32, u64, zeros } from './fuse-client.ts';
import { WritableSession } from './writable-session.ts';

/** A kernel that takes everything, or nothing, and remembers it. */
export class RecordingKernel implements KernelDevice {
  readonly calls: string[] = [];
  readonly messages: Uint8Array[] = [];
  readonly #profile: IomapProfile;
  /** What messages are refused with. */
  refusal: number = Errno.OK;

  constructor(profile: IomapProfile) {
    this.#profile = profile;
  }

  iomapSupport(): number {
    return 3;
  }

  backingOpen(fd: number): number {
    this.calls.push(`backingOpen ${fd}`);
    return 1;
  }

  backingClose(id: number): number {
    this.calls.push(`backingClose ${id}`);
    return 0;
  }

  setBlockSize(id: number, bytes: number): number {
    this.calls.push(`setBlockSize ${id} ${bytes}`);
    return 0;
  }

  setNofs(on: boolean): number {
    this.calls.push(`setNofs ${on}`);
    return 0;
  }

  probeStriping(): number {
    return this.#profile === IOMAP_PROFILES.V7 ? Errno.ENOTTY : Errno.EINVAL;
  }

  notifyNow(message: Uint8Array, lengthBytes: number): number {
    if (this.refusal === Errno.OK) this.messages.push(message.slice(0, lengthBytes));
    return this.refusal;
  }

  notify(message: Uint8Array, done: (errno: number) => void): void {
    done(this.notifyNow(message, message.length));
  }

  /** The messages of one kind. */
  notified(code: number): Uint8Array[] {
    return this.messages.filter((message) => new DataView(message.buffer).getInt32(4, true) === code);
  }
}

/** The number of the device's descriptor, for which there is none here. */
const DEVICE_FD = 7;

/** A session over a connection with iomap, configured. */
export class IomapSession extends WritableSession {
  readonly kernel: RecordingKernel;
  readonly profile: IomapProfile;
  /** The answer to IOMAP_CONFIG. */
  readonly configured: FuseReply;

  constructor(path: string, profile: IomapProfile) {
    const kernel = new RecordingKernel(profile);
    super(path, { iomap: { kernel, deviceFd: DEVICE_FD, startBytes: 0, notice: () => {} } });
    this.kernel = kernel;
    this.profile = profile;
    const flags = OFFERED_FLAGS | InitFlag.INIT_EXT;
    this.client.call(Opcode.INIT, 0, initBody(99, flags, INIT_FLAG2_IOMAP));
    const config = body(u64(0x7f), u64(Number.MAX_SAFE_INTEGER), u32(262_144), zeros(44));
    this.configured = this.client.call(IomapOpcode.IOMAP_CONFIG, 0, config);
  }
}
