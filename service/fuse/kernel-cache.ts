import { putI32ne, putU32ne, putU64ne, viewOf } from '../../shared/bytes.ts';
import { NOTIFY_INVAL_INODE_OUT, NotifyCode, OUT_HEADER } from './abi.ts';

/** Sends a message that the kernel takes its time for, and calls back with an errno when it has. */
export type SendNotification = (message: Uint8Array, done: (errno: number) => void) => void;

/** What the kernel keeps of files on our behalf. */
export class KernelCache {
  readonly #send: SendNotification;

  constructor(send: SendNotification) {
    this.#send = send;
  }

  /**
   * Has the kernel write what it has gathered for a range of the file, and forget its copy; a length of 0 means up to
   * the end. It does so by WRITE requests, which must be answered meanwhile. Calls back when that is done.
   */
  writeBack(nodeId: number, offsetBytes: number, lengthBytes: number, done: () => void): void {
    const message = new Uint8Array(OUT_HEADER.SIZE + NOTIFY_INVAL_INODE_OUT.SIZE);
    const view = viewOf(message);
    putU32ne(view, OUT_HEADER.len, message.length);
    // The code takes the place of the error, and there is no request that this belongs to.
    putI32ne(view, OUT_HEADER.error, NotifyCode.INVAL_INODE);
    putU64ne(view, OUT_HEADER.SIZE + NOTIFY_INVAL_INODE_OUT.ino, nodeId);
    putU64ne(view, OUT_HEADER.SIZE + NOTIFY_INVAL_INODE_OUT.off, offsetBytes);
    putU64ne(view, OUT_HEADER.SIZE + NOTIFY_INVAL_INODE_OUT.len, lengthBytes);
    // A failure means that the kernel doesn't know the file, and then it has nothing of it.
    this.#send(message, () => done());
  }
}
