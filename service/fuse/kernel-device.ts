/**
 * What a server asks of the kernel beside answering its requests: ioctls of the descriptor that is mounted, and
 * messages that are no answers. All of it but `notify` is synchronous and quick: the kernel never asks us for anything
 * meanwhile. Results are positive numbers where something is returned, and a negative errno otherwise, unless they say
 * something else.
 */
export interface KernelDevice {
  /** IomapSupport flags; 0 when the kernel has no iomap or does not grant it to this descriptor. */
  iomapSupport(): number;
  /** Registers the block device `fd` for iomap. Its number for mappings, 1 or more. */
  backingOpen(fd: number): number;
  backingClose(id: number): number;
  /** Sets the block size of a registered device, which its own descriptor may not. */
  setBlockSize(id: number, bytes: number): number;
  /** The calling thread, and all that move data for it, allocate memory without waiting for file systems. */
  setNofs(on: boolean): number;
  /** The positive errno that a request for stripes of nothing gets. It tells versions of the interface apart. */
  probeStriping(): number;
  /** Sends the first `lengthBytes` of a message about mappings. 0 or a positive errno. */
  notifyNow(message: Uint8Array, lengthBytes: number): number;
  /** Sends a message that the kernel may want requests answered for. `done` gets 0 or a positive errno, later. */
  notify(message: Uint8Array, done: (errno: number) => void): void;
}

/** Bits of what `iomapSupport` returns. */
export const IomapSupport = Object.freeze({ FILE_IO: 1, ATOMIC: 2 });
