import { closeSync, fstatSync } from 'node:fs';
import { deviceSizeBytes, setDeviceBlockSize } from '../../native/block-device.ts';
import { Errno, errnoOf } from '../../shared/errno.ts';
import type { ControlHandler } from './connection.ts';
import { ControlCode } from './control.ts';
import type { Ledger } from './ledger.ts';
import { decodeRecord, type MappingLimits, RECORD, roleOf, u64 } from './mapping.ts';
import { MappingCache } from './mapping-cache.ts';
import type { PeerInode } from './peer-inode.ts';
import type { Profile } from './profile.ts';
import { Violation } from './violation.ts';
import { ALL_ONES } from './wire.ts';

const NotifyCode = Object.freeze({ INVAL_INODE: 2, DEVICE_INVAL: 99, UPSERT: 100, INVAL: 101 });
const UPSERT_BYTES = 80;
const INVAL_BYTES = 48;
const DEVICE_INVAL_BYTES = 24;
const INVAL_INODE_BYTES = 24;
const SUPPORTS_FILE_IO = 1;
const BACKINGS_MAX = 1024;

interface Backing {
  readonly fd: number;
  readonly sizeBytes: number;
}

/** What the server asks for and says beside its replies: devices, mappings for the cache. */
export class KernelControl implements ControlHandler {
  readonly #profile: Profile;
  readonly #ledger: Ledger;
  readonly #inodes: ReadonlyMap<number, PeerInode>;
  readonly #backings = new Map<number, Backing>();
  /** How far the conversation has come: nothing may be asked before its time (P-8). */
  stage: 'new' | 'configuring' | 'live' = 'new';
  limits: MappingLimits | null = null;
  cacheBytes = 256 * 1024;
  /** Refuse mappings with this errno, as a kernel without memory would. */
  refuseUpserts: () => number = () => 0;
  nofsCalls = 0;
  upserts = 0;
  upsertsRefused = 0;
  invalidations = 0;
  deviceInvalidations = 0;

  constructor(profile: Profile, ledger: Ledger, inodes: ReadonlyMap<number, PeerInode>) {
    this.#profile = profile;
    this.#ledger = ledger;
    this.#inodes = inodes;
  }

  deviceBytes(id: number): number {
    return this.#backings.get(id)?.sizeBytes ?? -1;
  }

  get backings(): number {
    return this.#backings.size;
  }

  /** As when the mount goes. */
  closeBackings(): void {
    for (const { fd } of this.#backings.values()) closeSync(fd);
    this.#backings.clear();
  }

  control(code: number, first: number, second: number, fd: number): number {
    const { iomap } = this.#profile;
    if (iomap === null) {
      if (fd >= 0) closeSync(fd);
      return code === ControlCode.IOMAP_SUPPORT ? 0 : -Errno.ENOTTY;
    }
    switch (code) {
      case ControlCode.IOMAP_SUPPORT:
        return SUPPORTS_FILE_IO;
      case ControlCode.BACKING_OPEN:
        return this.#open(fd);
      case ControlCode.BACKING_CLOSE:
        return this.#close(first, iomap.closesDevices);
      case ControlCode.SET_BLOCK_SIZE:
        return this.#setBlockSize(first, second);
      case ControlCode.SET_NOFS:
        if (this.stage === 'new') return -Errno.EPERM;
        this.nofsCalls++;
        return first > 1 ? -Errno.EINVAL : 0;
      case ControlCode.PROBE_STRIPING:
        return iomap.stripeErrno;
      default:
        throw new Violation('P-8', `control call ${code}`);
    }
  }

  notify(code: number, body: Uint8Array): number {
    const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
    if (code === NotifyCode.INVAL_INODE) return body.length === INVAL_INODE_BYTES ? 0 : Errno.EINVAL;
    if (this.#profile.iomap === null) throw new Violation('P-8', `notification ${code} to a kernel without iomap`);
    const { limits } = this;
    if (this.stage === 'new' || limits === null) throw new Violation('P-8', `notification ${code} before CONFIG`);
    switch (code) {
      case NotifyCode.UPSERT:
        return this.#upsert(view, limits);
      case NotifyCode.INVAL:
        return this.#invalidate(view, limits);
      case NotifyCode.DEVICE_INVAL:
        return this.#invalidateDevice(view);
      default:
        throw new Violation('P-8', `notification ${code}, which no kernel knows`);
    }
  }

  #open(fd: number): number {
    if (fd < 0) return -Errno.EBADF;
    if (this.stage === 'new') {
      closeSync(fd);
      return -Errno.EPERM;
    }
    if (!fstatSync(fd).isBlockDevice()) {
      closeSync(fd);
      return -Errno.ENODEV;
    }
    for (let id = 1; id <= BACKINGS_MAX; id++) {
      if (this.#backings.has(id)) continue;
      this.#backings.set(id, { fd, sizeBytes: deviceSizeBytes(fd) });
      return id;
    }
    closeSync(fd);
    return -Errno.ENOSPC;
  }

  #close(id: number, mayClose: boolean): number {
    const backing = this.#backings.get(id);
    if (backing === undefined) return -Errno.ENOENT;
    if (!mayClose || [...this.#inodes.values()].some((inode) => inode.usesIomap)) return -Errno.EBUSY;
    closeSync(backing.fd);
    this.#backings.delete(id);
    return 0;
  }

  #setBlockSize(id: number, bytes: number): number {
    const backing = this.#backings.get(id);
    if (backing === undefined) return -Errno.ENOENT;
    try {
      setDeviceBlockSize(backing.fd, bytes);
      return 0;
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === null) throw error;
      return -errno;
    }
  }

  #find(view: DataView): PeerInode | number {
    const nodeId = u64(view, 0);
    const inode = this.#inodes.get(nodeId);
    if (inode === undefined) return Errno.ESTALE;
    if (!inode.usesIomap || u64(view, 8) !== inode.attrIno) {
      throw new Violation('P-2', `a notification of inode ${nodeId} that says it is ${u64(view, 8)}`);
    }
    return inode;
  }

  #upsert(view: DataView, limits: MappingLimits): number {
    if (view.byteLength !== UPSERT_BYTES) throw new Violation('P-1', `an upsert of ${view.byteLength} bytes`);
    const inode = this.#find(view);
    const refused = typeof inode === 'number' ? inode : this.refuseUpserts();
    if (typeof inode === 'number' || refused !== 0) {
      this.upsertsRefused++;
      return refused;
    }
    const { numbers } = limits;
    const read = decodeRecord(view, 16, limits);
    decodeRecord(view, 16 + RECORD.SIZE, limits);
    const readRole = roleOf(view, 16, numbers);
    const writeRole = roleOf(view, 16 + RECORD.SIZE, numbers);
    if (readRole !== 'mapping') throw new Violation('P-2', `the upsert's read record is a ${readRole}`);
    if (writeRole !== 'pure overwrite' && writeRole !== 'no cache') {
      throw new Violation('P-2', `the upsert's write record is a ${writeRole}`);
    }
    this.#ledger.note(inode.nodeId, read);
    inode.cache ??= new MappingCache(this.cacheBytes);
    inode.cache.upsert(read);
    this.upserts++;
    return 0;
  }

  #invalidate(view: DataView, limits: MappingLimits): number {
    if (view.byteLength !== INVAL_BYTES) throw new Violation('P-1', `an invalidation of ${view.byteLength} bytes`);
    const inode = this.#find(view);
    if (typeof inode === 'number') return inode;
    const offset = u64(view, 16);
    const isToEnd = view.getUint32(24, true) === ALL_ONES && view.getUint32(28, true) === ALL_ONES;
    const length = isToEnd ? Number.MAX_SAFE_INTEGER - offset : u64(view, 24);
    if (offset % limits.blockBytes !== 0 || (!isToEnd && length % limits.blockBytes !== 0)) {
      throw new Violation('P-2', `an invalidation of ${offset}+${length}`);
    }
    if (length > 0) inode.cache?.drop(offset, length);
    this.invalidations++;
    return 0;
  }

  #invalidateDevice(view: DataView): number {
    if (view.byteLength !== DEVICE_INVAL_BYTES) {
      throw new Violation('P-1', `a device invalidation of ${view.byteLength} bytes`);
    }
    const deviceBytes = this.deviceBytes(view.getUint32(0, true));
    if (deviceBytes < 0) return Errno.ENODEV;
    const offset = u64(view, 8);
    const length = u64(view, 16);
    if (offset >= deviceBytes || length === 0 || offset + length > deviceBytes) {
      throw new Violation('P-2', `a device invalidation of ${offset}+${length}`);
    }
    this.deviceInvalidations++;
    return 0;
  }
}
