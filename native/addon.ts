import { createRequire } from 'node:module';
import { join } from 'node:path';

/** Where the compiled addon lies: beside the bundle, or where the test runner says. Set at build time. */
declare const __ADDON_DIRECTORY__: string;

/** Runs programs for a device in threads; works on duplicates of its descriptors. */
export interface RawDevicePrograms {
  /**
   * `steps` are triples: kind (0 write, 1 durable write, 2 flush, 3 discard), offset and length; `bytes` has one array
   * for each write, which must stay as it is until the program has ended. Returns the program's number.
   */
  run(steps: Float64Array, bytes: readonly Uint8Array[]): number;
  /** Blocks until the program has ended and returns its errno; `ended` isn't called then. -1 when it was already. */
  wait(program: number): number;
  /** Ends the threads. No program may be under way. */
  close(): void;
}

/**
 * The raw functions of the addon, one group per C++ file in native/src. System calls return their
 * result, or a negative errno: the typed wrappers in this folder turn that into SystemError. Wrong
 * argument types throw TypeError.
 */
export interface Addon {
  // seqpacket.cc, socket.cc
  socketPair(): [number, number] | number;
  connectSeqpacket(path: string): number;
  connectDatagram(path: string): number;
  /** EAGAIN when the receiver's queue is full. */
  sendDatagram(socket: number, bytes: Uint8Array): number;
  /** 0 or a negative errno; ETIMEDOUT when the peer's queue stays full for 30 seconds. `fd` -1: none. */
  sendPacket(socket: number, bytes: Uint8Array, fd: number): number;
  /**
   * Length of the next packet (it stays queued), 0 at end of stream, or negative errno. Waits `timeoutMs` (-1:
   * for ever).
   */
  peekPacket(socket: number, timeoutMs: number): number;
  /**
   * Fills `into`. Returns [length, fd or -1]; a second descriptor or truncated control data closes all of
   * them: -EPROTO.
   */
  receivePacket(socket: number, into: Uint8Array): [number, number] | number;
  peerCredentials(socket: number): [pid: number, uid: number, gid: number] | number;
  socketInfo(fd: number): [family: number, type: number, sendBufferBytes: number] | number;
  disallowRights(socket: number): number;
  shutdownSocket(socket: number): number;

  // descriptor.cc
  descriptorFlags(fd: number): number;
  setNonBlocking(fd: number, on: boolean): number;
  setCloseOnExec(fd: number, on: boolean): number;
  lockWholeFile(fd: number, exclusive: boolean): number;
  flockExclusive(fd: number): number;

  // memfd.cc
  createSealedMemfd(name: string, content: Uint8Array): number;

  // block_io.cc, device_maintenance.cc
  blockDeviceSize(fd: number): number;
  /** EOPNOTSUPP where the file system has no direct I/O. */
  directIoAlignment(fd: number): number;
  setBlockSize(fd: number, bytes: number): number;
  /** Fills `into`. 0 or a negative errno; EIO when the device ends before. */
  readAt(fd: number, offsetBytes: number, into: Uint8Array): number;
  writeAt(fd: number, offsetBytes: number, from: Uint8Array): number;
  readAheadAt(fd: number, offsetBytes: number, lengthBytes: number): number;
  /**
   * Both run on a thread; `fd` may be closed meanwhile. `completion` gets 0 or a positive errno, on the main
   * thread.
   */
  flushDevice(fd: number, completion: (errno: number) => void): void;
  discardRange(fd: number, offsetBytes: number, lengthBytes: number, completion: (errno: number) => void): void;
  alignedBuffer(bytes: number): Uint8Array;

  // device_program.cc
  DevicePrograms: new (
    bufferedFd: number,
    directFd: number,
    alignment: number,
    threads: number,
    ended: (program: number, errno: number) => void,
  ) => RawDevicePrograms;

  // fuse_channel.cc, data_pump.cc, write_pump.cc, fuse_notify.cc, fuse_ioctl.cc
  FuseChannel: new (
    fd: number,
    requestBytes: number,
    replyBytes: number,
    spinMicroseconds: number,
    requestBuffers: number,
  ) => RawFuseChannel;
  DataPump: new (
    channelFd: number,
    deviceFd: number,
    alignment: number,
    threads: number,
    maxReadBytes: number,
  ) => RawDataPump;
  WritePump: new (
    channelFd: number,
    deviceFd: number,
    alignment: number,
    threads: number,
    onCompleted: () => void,
  ) => RawWritePump;
  /** Copies `message` and writes it on a thread. `completion` gets 0 or a positive errno, on the main thread. */
  fuseNotify(fd: number, message: Uint8Array, completion: (errno: number) => void): void;
  /** Writes the first `length` bytes of `message` here and now. 0 or a positive errno. */
  fuseNotifyNow(fd: number, message: Uint8Array, length: number): number;
  fuseIomapGrant(fd: number): number;
  fuseIomapSupport(fd: number): number;
  fuseCloneDevice(fd: number, sessionFd: number): number;
  fuseBackingOpen(fd: number, deviceFd: number): number;
  fuseBackingClose(fd: number, id: number): number;
  fuseSetBlockSize(fd: number, id: number, bytes: number): number;
  /** For the calling thread, and for the addon's threads from their next work on. */
  fuseSetNofs(fd: number, on: boolean): number;
  fuseProbeStriping(fd: number): number;

  // loop_device.cc
  loopGetFree(controlFd: number): number;
  loopConfigure(loopFd: number, fileFd: number, blockSizeBytes: number, flags: number, fileName: string): number;
  loopRemove(controlFd: number, index: number): number;

  // mount_api.cc
  fsopen(type: string): number;
  fsconfigFlag(context: number, key: string): number;
  fsconfigString(context: number, key: string, value: string): number;
  fsconfigCreate(context: number): number;
  fsmount(context: number, attributes: number): number;
  moveMount(mountFd: number, targetFd: number): number;
  contextMessages(context: number): string[];
  unmount(target: string, flags: number): number;
  openPathNoFollow(path: string): number;

  // mount_guard.cc
  /** 0 when the guard runs. It sends mount(2)'s errno through `socket`, as four bytes in host order. */
  forkMountGuard(
    socket: number,
    source: string,
    target: string,
    type: string,
    flags: number,
    data: string,
    path: string,
  ): number;

  // heap.cc
  shareArena(): boolean;
  trimHeap(): boolean;

  // mount_control.cc
  /** ioctl(2) with a pointer to `argument`, which must be as long as the number of the command says. */
  controlMount(fd: number, command: number, argument: Uint8Array): number;
  syncFilesystem(fd: number): number;

  // priority_watch.cc
  /**
   * Calls back on the main thread whenever `fd` has an exceptional condition (POLLPRI), until `close`. `pollErrno` is
   * 0 or a positive errno. `fd` must stay open until then.
   */
  PriorityWatch: new (
    fd: number,
    onEvent: (pollErrno: number) => void,
  ) => RawPriorityWatch;

  // hardening.cc
  dropCapabilities(): number;
  setNoNewPrivileges(): number;
  setDumpable(on: boolean): number;
  setIoFlusher(): number;
  becomeUser(uid: number, gid: number): number;

  // io_uring.cc
  /** Returns only when it failed. */
  executeWithoutRings(path: string, words: readonly string[], environment: readonly string[]): number;

  // landlock.cc, system_call_filter.cc
  /** The version of Landlock that now binds every thread. ENOSYS, EOPNOTSUPP: the kernel has none. */
  denyOutsideAccess(): number;
  restrictSystemCalls(): number;

  // clock.cc
  /** Fills in seconds and nanoseconds of CLOCK_REALTIME_COARSE. */
  readCoarseClock(into: Float64Array): void;

  // crc32c.cc
  crc32c(crc: number, bytes: Uint8Array, start: number, end: number): number;
  crc32cPortable(crc: number, bytes: Uint8Array, start: number, end: number): number;
}

export interface RawPriorityWatch {
  close(): void;
}

export interface RawFuseChannel {
  /**
   * Memory for requests; the payload of a WRITE (80 bytes in) is page aligned. Stays valid after `close`. Costs
   * nothing where it was never touched.
   */
  readonly requests: readonly Uint8Array[];
  /** Memory replies are written from, page aligned. Stays valid after `close`. */
  readonly reply: Uint8Array;
  /**
   * Writes the first `replyLength` bytes of `reply` (nothing when 0), then reads the next request into
   * `requests[buffer]`. Returns its length, 0 when none is waiting, or a negative errno of the write or the read
   * (ENODEV: unmounted, EINVAL: the kernel refused the reply, EBADF: closed). A reply the kernel no longer wants
   * (ENOENT) is dropped silently.
   */
  exchange(replyLength: number, buffer: number): number;
  /** Writes a message outside the request/reply exchange. 0 or negative errno. */
  send(bytes: Uint8Array, length: number): number;
  /**
   * Calls back on the main thread whenever requests wait, until `close`. `pollErrno` is 0 or a positive
   * errno: EBADF once when the mount is gone (or was not there yet); a poll that can't even begin is
   * reported before `start` returns.
   */
  start(onReadable: (pollErrno: number) => void): void;
  close(): void;
}

export interface RawDataPump {
  /**
   * Reads `count` (device offset, length) pairs from the device and answers the READ request `unique` itself, in a
   * pool thread unless it is quicker to do it here. An offset of -1 stands for zeros. A device error is answered with
   * its errno.
   */
  replyRead(uniqueLow: number, uniqueHigh: number, segments: Float64Array, count: number): void;
  readonly inFlight: number;
  /** Blocks until all requests under way have been answered. */
  waitUntilIdle(): void;
  /** Waits for the requests under way, then ends the threads. `replyRead` throws from then on. */
  close(): void;
}

export interface RawWritePump {
  /**
   * Writes `bytes` from `start` on to `count` (device offset, length) pairs. Returns 0 or a positive errno when it was
   * quicker to do it here, or -1: then a pool thread does it, `bytes` must stay as they are and be kept, and the end
   * is reported under `token` by `takeCompleted`.
   */
  write(token: number, bytes: Uint8Array, start: number, segments: Float64Array, count: number): number;
  /** Fills `into` with (token, errno) pairs of writes that have ended, and returns how many pairs. */
  takeCompleted(into: Float64Array): number;
  /** Blocks until a write has ended that was not taken yet; returns at once when none is under way. */
  wait(): void;
  /** Writes that `takeCompleted` has not reported yet. */
  readonly inFlight: number;
  /** Waits for the writes under way, then ends the threads. `write` throws from then on. */
  close(): void;
}

// Only a require call loads addons; the name that it starts from need not exist.
const load = createRequire(join(__ADDON_DIRECTORY__, 'x'));
export const addon: Addon = load(join(__ADDON_DIRECTORY__, 'fuse4fs.node')) as Addon;
