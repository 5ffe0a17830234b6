import { fstatSync } from 'node:fs';
import { Errno } from '../shared/errno.ts';
import type { BackingDevice } from './backing-device.ts';
import type { Filesystem } from './ext4/filesystem.ts';
import { IomapSupport, type KernelDevice } from './fuse/kernel-device.ts';
import { iomapObstacle } from './ops/iomap-config.ts';
import type { Options } from './options.ts';
import { UsageError } from './usage-error.ts';

/** Whether the kernel can do file I/O by itself over this descriptor, as far as it says before anything is mounted. */
export function isIomapOffered(kernel: KernelDevice): boolean {
  if ((kernel.iomapSupport() & IomapSupport.FILE_IO) === 0) return false;
  // The first versions of iomap, which had another protocol, don't know this at all; others refuse it before the mount.
  return kernel.setNofs(true) !== -Errno.ENOTTY;
}

/** What the mount option iomap= means for this mount. Throws UsageError when it requires what can't be had. */
export function decideAboutIomap(
  kernel: KernelDevice,
  filesystem: Filesystem,
  backing: BackingDevice,
  options: Options,
): boolean {
  if (options.iomap === 'never') return false;
  const obstacle = isIomapOffered(kernel)
    ? iomapObstacle(filesystem, isDirectBlockDevice(backing), options.offsetBytes)
    : 'this kernel does not offer it';
  if (obstacle !== null) requireNoIomap(options, obstacle);
  return obstacle === null;
}

/** For mounts without iomap. */
export function requireNoIomap(options: Options, why: string): void {
  if (options.iomap === 'require') throw new UsageError(`fuse4fs: could not enable iomap: ${why}`);
}

const isDirectBlockDevice = (backing: BackingDevice): boolean =>
  backing.dataAlignmentBytes > 1 && fstatSync(backing.metadataFd).isBlockDevice();
