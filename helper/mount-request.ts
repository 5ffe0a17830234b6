import type { KernelOption } from './kernel-options.ts';
import type { MountPoint } from './mount-point.ts';

/** Every field has been checked. */
export interface MountRequest {
  readonly source: string;
  readonly subtype: string;
  /** A fuseblk mount: the kernel claims the block device `source`. */
  readonly blockDevice: boolean;
  readonly options: readonly KernelOption[];
  /** Bits of ms-flags.ts. */
  readonly msFlags: number;
  readonly target: MountPoint;
}
