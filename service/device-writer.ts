import { directWriteAlignment } from '../native/block-device.ts';
import { openWritePump, type WritePump } from '../native/fuse-device.ts';
import type { BackingDevice } from './backing-device.ts';
import type { WritePlan } from './ext4/planned-write.ts';
import type { DataWriter } from './ops/engine.ts';

/** Writes file data to the device by threads, past its page cache where it can. */
export class DeviceWriter implements DataWriter {
  readonly alignmentBytes: number;
  readonly #pump: WritePump;
  readonly #startBytes: number;
  /** By all writes that were begun. */
  writtenBytes = 0;

  /** The file system begins at `startBytes` of the device. `onCompleted`: writes have ended. */
  constructor(channelFd: number, backing: BackingDevice, startBytes: number, threads: number, onCompleted: () => void) {
    const alignment = backing.dataAlignmentBytes > 1 ? directWriteAlignment(backing.dataFd) : 1;
    // A file system that begins inside a page can only be written through the page cache.
    const isAligned = startBytes % alignment === 0;
    this.alignmentBytes = isAligned ? alignment : 1;
    const fd = isAligned ? backing.dataFd : backing.metadataFd;
    this.#pump = openWritePump(channelFd, fd, this.alignmentBytes, threads, onCompleted);
    this.#startBytes = startBytes;
  }

  write(token: number, bytes: Uint8Array, start: number, plan: WritePlan): number {
    const { segments, segmentCount } = plan;
    if (this.#startBytes !== 0) {
      for (let index = 0; index < segmentCount; index++) segments[2 * index] += this.#startBytes;
    }
    for (let index = 0; index < segmentCount; index++) this.writtenBytes += segments[2 * index + 1];
    return this.#pump.write(token, bytes, start, segments, segmentCount);
  }

  wait(): void {
    this.#pump.wait();
  }

  takeCompleted(into: Float64Array): number {
    return this.#pump.takeCompleted(into);
  }

  close(): void {
    this.#pump.close();
  }
}
