import { closeSync, constants, openSync } from 'node:fs';
import { configureLoop, findFreeLoop, LoopFlag } from '../../native/loop-device.ts';
import { Errno, errnoOf } from '../../shared/errno.ts';

const ATTEMPTS = 16;

/** Attaches an image to a loop device that is gone with its last descriptor, such as the one returned. */
export function attachLoop(image: string): { fd: number; path: string } {
  const file = openSync(image, constants.O_RDWR);
  const control = openSync('/dev/loop-control', constants.O_RDWR);
  try {
    for (let attempt = 0; ; attempt++) {
      const path = `/dev/loop${findFreeLoop(control)}`;
      const fd = openSync(path, constants.O_RDWR);
      try {
        configureLoop(fd, file, 0, LoopFlag.AUTOCLEAR, image);
        return { fd, path };
      } catch (error) {
        closeSync(fd);
        // Somebody else was faster.
        if (errnoOf(error) !== Errno.EBUSY || attempt === ATTEMPTS) throw error;
      }
    }
  } finally {
    closeSync(control);
    closeSync(file);
  }
}
