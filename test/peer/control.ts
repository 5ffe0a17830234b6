/**
 * Control calls: what goes by ioctl, or by a write that returns something, with a real /dev/fuse. Each is a packet of
 * a code and two numbers, perhaps a descriptor or a message, and is answered with one number of 32 bits.
 */
export const ControlCode = Object.freeze({
  IOMAP_SUPPORT: 1,
  BACKING_OPEN: 2,
  BACKING_CLOSE: 3,
  SET_BLOCK_SIZE: 4,
  SET_NOFS: 5,
  PROBE_STRIPING: 6,
  NOTIFY: 7,
});

/** Code and two numbers of 32 bits each; a message follows. */
export const CONTROL_HEADER_BYTES = 12;

/** Descriptors that the service under the peer is started with. */
export const ServiceFd = Object.freeze({ CHANNEL: 3, CONTROL: 4, NOTIFY: 5, METADATA: 6, DATA: 7 });
