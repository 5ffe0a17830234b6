/**
 * Mount flags that a service may ask for, in every form they take: option word, bit of mount(2), flag
 * parameter of fsconfig(2), attribute of fsmount(2) (linux/mount.h). Nothing outside this table is ever mounted.
 */
export interface MsFlag {
  /** Option that sets the bit. */
  readonly set: string;
  /** Option that clears it; dirsync has none. */
  readonly clear: string | null;
  readonly ms: number;
  readonly fsconfigFlag: string | null;
  /** MOUNT_ATTR_* bits, 0 where the flag belongs to the superblock alone. */
  readonly mountAttribute: number;
}

export const MsBit = Object.freeze({
  RDONLY: 0x1,
  NOSUID: 0x2,
  NODEV: 0x4,
  NOEXEC: 0x8,
  SYNCHRONOUS: 0x10,
  DIRSYNC: 0x80,
  NOSYMFOLLOW: 0x100,
  NOATIME: 0x400,
  NODIRATIME: 0x800,
  STRICTATIME: 0x1000000,
  LAZYTIME: 0x2000000,
});

export const MS_FLAGS: readonly MsFlag[] = Object.freeze([
  { set: 'ro', clear: 'rw', ms: MsBit.RDONLY, fsconfigFlag: 'ro', mountAttribute: 0x1 },
  { set: 'nosuid', clear: 'suid', ms: MsBit.NOSUID, fsconfigFlag: null, mountAttribute: 0x2 },
  { set: 'nodev', clear: 'dev', ms: MsBit.NODEV, fsconfigFlag: null, mountAttribute: 0x4 },
  { set: 'noexec', clear: 'exec', ms: MsBit.NOEXEC, fsconfigFlag: null, mountAttribute: 0x8 },
  { set: 'sync', clear: 'async', ms: MsBit.SYNCHRONOUS, fsconfigFlag: 'sync', mountAttribute: 0 },
  { set: 'dirsync', clear: null, ms: MsBit.DIRSYNC, fsconfigFlag: 'dirsync', mountAttribute: 0 },
  { set: 'nosymfollow', clear: 'symfollow', ms: MsBit.NOSYMFOLLOW, fsconfigFlag: null, mountAttribute: 0x200000 },
  { set: 'noatime', clear: 'atime', ms: MsBit.NOATIME, fsconfigFlag: null, mountAttribute: 0x10 },
  { set: 'nodiratime', clear: 'diratime', ms: MsBit.NODIRATIME, fsconfigFlag: null, mountAttribute: 0x80 },
]);

/** For mounts whose times the kernel keeps by itself. No option sets these bits: the service knows when it is so. */
export const TIME_FLAGS: readonly MsFlag[] = Object.freeze([
  { set: 'strictatime', clear: null, ms: MsBit.STRICTATIME, fsconfigFlag: null, mountAttribute: 0x20 },
  { set: 'lazytime', clear: null, ms: MsBit.LAZYTIME, fsconfigFlag: 'lazytime', mountAttribute: 0 },
]);

/** All bits of the tables. */
export const MS_FLAGS_KNOWN = [...MS_FLAGS, ...TIME_FLAGS].reduce((bits, flag) => bits | flag.ms, 0);

/** What a mount starts from before its options are applied in order. */
export const MS_FLAGS_DEFAULT = MsBit.NOSUID | MsBit.NODEV;

/** `msFlags` after option `word`, or null when the word is no flag option. */
export function applyFlagOption(msFlags: number, word: string): number | null {
  for (const flag of MS_FLAGS) {
    if (word === flag.set) return msFlags | flag.ms;
    if (word === flag.clear) return msFlags & ~flag.ms;
  }
  return null;
}
