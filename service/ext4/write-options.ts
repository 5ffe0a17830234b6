import type { CorruptionError, DeviceError } from './errors.ts';
import type { OpenOptions } from './filesystem.ts';
import type { AccessTimePolicy } from './namespace/access-time.ts';
import type { Timestamp } from './write-context.ts';

export interface WriteOptions extends OpenOptions {
  /** The mount's options, as far as the engine has to do with them. */
  readonly posixAcl: boolean;
  readonly accessTimes: AccessTimePolicy;
  /** Changes of times alone stay in memory for a while. */
  readonly lazyTimes: boolean;
  /** New inodes get their directory's group. Null in this and other switches: as the superblock says. */
  readonly groupOfParent: boolean | null;
  /** Who may use the reserved blocks besides root; null: as the superblock says. */
  readonly reservedUid: number | null;
  readonly reservedGid: number | null;
  /** The right to write that the mmp feature asks for is held (see mmp.ts). */
  readonly isMultiMountProtected: boolean;
  readonly barrier: boolean | null;
  /** Transactions in the journal are summed even where nothing else is. */
  readonly journalChecksum: boolean;
  /** Discard freed blocks once it is certain that they are free. */
  readonly discard: boolean | null;
  /** Path of the mount point for the superblock's record, null when unknown. */
  readonly mountPoint: Uint8Array | null;
  /** What has been written to the device since it was opened, file data included. */
  readonly writtenBytes: () => number;
  /** Tells the time. */
  readonly readClock: (into: Timestamp) => void;
  /** Numbers in [0, 1). */
  readonly random: () => number;
  /** Memory aligned as direct I/O wants it. */
  readonly allocate: (bytes: number) => Uint8Array;
  /** Broken metadata that costs less than an operation: a group that is not used, an orphan that is left alone. */
  readonly report: (error: CorruptionError | DeviceError) => void;
  /** One of `ErrorBehaviour`; null: as the superblock says. */
  readonly errorBehaviour: number | null;
  /** errors=panic: ends the process. */
  readonly panic: () => void;
  /** The journal was aborted: nothing is written any more. */
  readonly onAbort: (errno: number, during: string) => void;
}
