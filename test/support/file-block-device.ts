import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import type { DeviceStep, WritableBlockDevice } from '../../service/ext4/block-device.ts';

const EIO = 5;

/** An image file as a device: for sparse images that are too large for memory. Works at once. */
export class FileBlockDevice implements WritableBlockDevice {
  readonly sizeBytes: number;
  readonly #fd: number;

  constructor(path: string) {
    this.#fd = openSync(path, 'r+');
    this.sizeBytes = fstatSync(this.#fd).size;
  }

  read(offsetBytes: number, into: Uint8Array): number {
    return readSync(this.#fd, into, 0, into.length, offsetBytes) === into.length ? 0 : EIO;
  }

  readAhead(): void {}

  write(offsetBytes: number, from: Uint8Array): number {
    return writeSync(this.#fd, from, 0, from.length, offsetBytes) === from.length ? 0 : EIO;
  }

  flush(): number {
    return 0;
  }

  run(steps: readonly DeviceStep[], done: (errno: number) => void): number {
    let errno = 0;
    for (const step of steps) {
      if (errno === 0 && step.kind === 'write') errno = this.write(step.offsetBytes, step.bytes);
    }
    done(errno);
    return 0;
  }

  wait(): void {}

  discard(_offsetBytes: number, _lengthBytes: number, done: (errno: number) => void): number {
    done(0);
    return 0;
  }

  close(): void {
    closeSync(this.#fd);
  }
}
