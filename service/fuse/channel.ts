/** The /dev/fuse end of a mount, as a session needs it. */
export interface Channel {
  /** The next request is read into this, and replies are written from `reply`; both live as long as the channel. */
  readonly request: Uint8Array;
  readonly reply: Uint8Array;
  /**
   * Writes `replyLength` bytes of `reply` (0: none), then reads. Length of the request, 0 for none waiting, or
   * a negative errno.
   */
  exchange(replyLength: number): number;
  /** Calls back whenever requests wait, until `close`. `pollErrno` is 0 or a positive errno. */
  start(onReadable: (pollErrno: number) => void): void;
  close(): void;
}
