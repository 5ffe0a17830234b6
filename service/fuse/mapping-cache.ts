import { putI32ne, putU32ne, putU64ne, viewOf } from '../../shared/bytes.ts';
import { Errno } from '../../shared/errno.ts';
import { OUT_HEADER } from './abi.ts';
import { NOTIFY_DEVICE_INVAL_OUT, NOTIFY_INVAL_OUT, NOTIFY_UPSERT_OUT } from './iomap-abi.ts';
import { IomapNotifyCode, type IomapProfile } from './iomap-profile.ts';
import { type IomapRecord, putEndlessLength, putPlainRecord, putRecord } from './iomap-records.ts';
import type { KernelDevice } from './kernel-device.ts';

/** A message that is used again and again. */
class Notification {
  readonly bytes: Uint8Array;
  readonly view: DataView;

  constructor(code: number, bodyBytes: number) {
    this.bytes = new Uint8Array(OUT_HEADER.SIZE + bodyBytes);
    this.view = viewOf(this.bytes);
    putU32ne(this.view, OUT_HEADER.len, this.bytes.length);
    // The code takes the place of the error, and there is no request that this belongs to.
    putI32ne(this.view, OUT_HEADER.error, code);
  }
}

const BODY = OUT_HEADER.SIZE;

/**
 * The mappings that the kernel remembers for each inode. It looks at them again when it has got the locks that it
 * needs, which it does not do with those in a plain answer; so nearly all go through here. The kernel may refuse any of
 * them, and takes them in without asking us anything, so that this works from within a request for the same inode.
 */
export class MappingCache {
  readonly #kernel: KernelDevice;
  readonly #profile: IomapProfile;
  readonly #upsert = new Notification(IomapNotifyCode.UPSERT, NOTIFY_UPSERT_OUT.SIZE);
  readonly #inval = new Notification(IomapNotifyCode.INVAL, NOTIFY_INVAL_OUT.SIZE);
  readonly #deviceInval = new Notification(IomapNotifyCode.DEVICE_INVAL, NOTIFY_DEVICE_INVAL_OUT.SIZE);

  constructor(kernel: KernelDevice, profile: IomapProfile) {
    this.#kernel = kernel;
    this.#profile = profile;
  }

  /** Replaces what the kernel remembers of the record's range. False when it would not have it. */
  upsert(nodeId: number, record: IomapRecord): boolean {
    const { view, bytes } = this.#upsert;
    putU64ne(view, BODY + NOTIFY_UPSERT_OUT.nodeid, nodeId);
    putU64ne(view, BODY + NOTIFY_UPSERT_OUT.attr_ino, nodeId);
    putRecord(view, BODY + NOTIFY_UPSERT_OUT.read, record);
    const { PURE_OVERWRITE } = this.#profile.type;
    putPlainRecord(view, BODY + NOTIFY_UPSERT_OUT.write, record.offset, record.length, PURE_OVERWRITE);
    return this.#kernel.notifyNow(bytes, bytes.length) === Errno.OK;
  }

  /** The kernel forgets the file's mappings from `offsetBytes`, the beginning of a block, on. */
  forgetFrom(nodeId: number, offsetBytes: number): void {
    const { view, bytes } = this.#inval;
    putU64ne(view, BODY + NOTIFY_INVAL_OUT.nodeid, nodeId);
    putU64ne(view, BODY + NOTIFY_INVAL_OUT.attr_ino, nodeId);
    putU64ne(view, BODY + NOTIFY_INVAL_OUT.read_offset, offsetBytes);
    putEndlessLength(view, BODY + NOTIFY_INVAL_OUT.read_length);
    putU64ne(view, BODY + NOTIFY_INVAL_OUT.write_offset, offsetBytes);
    putEndlessLength(view, BODY + NOTIFY_INVAL_OUT.write_length);
    // It fails when the kernel knows nothing of the inode, and so has no mappings either.
    this.#kernel.notifyNow(bytes, bytes.length);
  }

  /** Whole pages of the device, whose copies in its page cache are of no use any more. */
  forgetDevicePages(device: number, offsetBytes: number, lengthBytes: number): void {
    const { view, bytes } = this.#deviceInval;
    putU32ne(view, BODY + NOTIFY_DEVICE_INVAL_OUT.dev, device);
    putU64ne(view, BODY + NOTIFY_DEVICE_INVAL_OUT.offset, offsetBytes);
    putU64ne(view, BODY + NOTIFY_DEVICE_INVAL_OUT.length, lengthBytes);
    this.#kernel.notifyNow(bytes, bytes.length);
  }
}
