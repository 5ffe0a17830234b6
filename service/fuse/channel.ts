/** The /dev/fuse end of a mount, as a session needs it. */
export interface Channel {
  /**
   * The next request is read into one of these, and replies are written from `reply`; all live as long as the channel.
   */
  readonly requests: readonly Uint8Array[];
  readonly reply: Uint8Array;
  /**
   * Writes `replyLength` bytes of `reply` (0: none), then reads into request buffer number `buffer`. Length of the
   * request, 0 for none waiting, or a negative errno.
   */
  exchange(replyLength: number, buffer: number): number;
  /** Writes a message that is no answer to the request read last. 0 or a negative errno. */
  send(bytes: Uint8Array, length: number): number;
  /** Calls back whenever requests wait, until `close`. `pollErrno` is 0 or a positive errno. */
  start(onReadable: (pollErrno: number) => void): void;
  close(): void;
}
