import { addon } from './addon.ts';
import { check } from './check.ts';

/** lo_flags of the kernel's loop driver (linux/loop.h). */
export const LoopFlag = Object.freeze({ READ_ONLY: 1, AUTOCLEAR: 4, DIRECT_IO: 16 });

/** Number of a loop device that is free now; nothing reserves it. */
export function findFreeLoop(controlFd: number): number {
  return check(addon.loopGetFree(controlFd), 'ioctl LOOP_CTL_GET_FREE', '/dev/loop-control');
}

/**
 * Backs loop device `loopFd` with `fileFd`. `blockSizeBytes` 0 keeps the default; `fileName` is what losetup
 * shows. Throws SystemError EBUSY when somebody was faster.
 */
export function configureLoop(
  loopFd: number,
  fileFd: number,
  blockSizeBytes: number,
  flags: number,
  fileName: string,
): void {
  check(addon.loopConfigure(loopFd, fileFd, blockSizeBytes, flags, fileName), 'ioctl LOOP_CONFIGURE', fileName);
}

/** Removes an unused loop device again. */
export function removeLoop(controlFd: number, index: number): void {
  check(addon.loopRemove(controlFd, index), 'ioctl LOOP_CTL_REMOVE', `/dev/loop${index}`);
}
