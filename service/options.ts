import { Command, CommanderError } from 'commander';
import { type MountOption, mountOption, splitMountOptions } from '../shared/mount-options.ts';
import { type ByteString, fromByteString, toByteString } from '../shared/service-protocol/byte-string.ts';
import { MsBit } from '../shared/service-protocol/ms-flags.ts';
import { type ErrorsBehavior, type IomapChoice, MountSettings, type StartMode } from './mount-settings.ts';
import { UsageError } from './usage-error.ts';
import { programVersion } from './version.ts';

/** Everything that the command line decides. Names are byte strings, as they go to the mount helper and the kernel. */
export interface Options {
  /** What follows "fuse." in mount tables. */
  readonly subtype: ByteString;
  /** As typed: the mount helper compares it with its own command line. */
  readonly device: ByteString;
  readonly mountPoint: ByteString;
  /** First column of mount tables. */
  readonly source: ByteString;
  readonly foreground: boolean;
  readonly debug: boolean;
  readonly readOnly: boolean;
  readonly kernel: boolean;
  readonly acl: boolean;
  /** statfs counts the file system's own blocks as part of its size. */
  readonly minixStatfs: boolean;
  readonly noRecovery: boolean;
  /** Where the file system begins on the device. */
  readonly offsetBytes: number;
  readonly oomScoreAdjust: number;
  readonly lockFile: ByteString | null;
  /** Null: choose by the machine's memory. */
  readonly cacheSizeBytes: number | null;
  readonly traceOperations: boolean;
  readonly iomap: IomapChoice;
  /** Where the superblock to use lies, in units of 1 KiB; null for the primary. */
  readonly superblockKiB: number | null;
  /** Null: as the superblock says. */
  readonly errors: ErrorsBehavior | null;
  /** Between commits; 0 for commits on demand only. */
  readonly commitSeconds: number;
  /** Null in these: as the superblock's default mount options say. */
  readonly barrier: boolean | null;
  readonly journalChecksum: boolean;
  readonly discard: boolean | null;
  readonly strictAccessTimes: boolean;
  /** The kernel brings times that it keeps late; without iomap it has none that matter. */
  readonly lazyTimes: boolean;
  /** New files belong to the group of their directory. */
  readonly groupOfParent: boolean | null;
  /** Who may use the reserved blocks; null: as the superblock says. */
  readonly reservedUid: number | null;
  readonly reservedGid: number | null;
  /** The kernel gathers writes. */
  readonly writebackCache: boolean;
  /** MS_* bits for the mount. */
  readonly msFlags: number;
  /** For the kernel's FUSE driver, one `name` or `name=value` each. */
  readonly kernelOptions: readonly ByteString[];
  /** For the records of mount(8). */
  readonly mtabOptions: readonly ByteString[];
  /** Accepted, but this server does nothing with them: worth one line in the log. */
  readonly withoutEffect: readonly ByteString[];
}

interface Switches {
  foreground: boolean;
  debug: boolean;
  words: MountOption[];
  mtab: ByteString[];
}

/**
 * Throws UsageError, also to answer `-h` and `-V`. `words` are all of the command line but the program's
 * name, as byte strings. `mayAllowOther` is false where the mount helper told us that it would refuse
 * allow_other: then `kernel` in a unit file is dropped, and file access stays with the user who mounts.
 */
export function parseCommandLine(
  subtype: ByteString,
  words: readonly ByteString[],
  mode: StartMode,
  mayAllowOther = true,
): Options {
  const switches: Switches = { foreground: mode === 'service', debug: false, words: [], mtab: [] };
  const [device, mountPoint] = parseSwitches(words, switches);
  if (device === undefined || device === '') throw new UsageError("fuse4fs: missing device/image; see 'fuse4fs -h'");
  if (mountPoint === undefined || mountPoint === '')
    throw new UsageError("fuse4fs: missing mountpoint; see 'fuse4fs -h'");
  const settings = new MountSettings(mode);
  if (mayAllowOther && switches.words.some((option) => option.word === 'kernel')) settings.behaveLikeKernel();
  for (const option of switches.words) settings.apply(option);
  return optionsOf(subtype, device, mountPoint, switches, settings);
}

/** Links named ext2, ext3 and ext4 choose the type that mount tables show. */
export function subtypeOfProgram(argv0: string): ByteString {
  return toByteString(/ext\d$/.exec(argv0)?.[0] ?? 'ext4');
}

function optionsOf(
  subtype: ByteString,
  device: ByteString,
  mountPoint: ByteString,
  switches: Switches,
  settings: MountSettings,
): Options {
  const debug = switches.debug || settings.debug;
  // The kernel checks permissions from the attributes that it has: cheaper than asking us, and complete.
  if (!settings.fakeRoot) settings.kernelOptions.set('default_permissions', toByteString('default_permissions'));
  const msFlags = settings.fakeRoot ? settings.msFlags | MsBit.NOSUID | MsBit.NODEV : settings.msFlags;
  const shownType = settings.subtype ?? subtype;
  return {
    subtype: shownType,
    device,
    mountPoint,
    source: settings.fsname ?? (settings.defaultNames ? device : shownType),
    foreground: switches.foreground || debug,
    debug,
    readOnly: (msFlags & MsBit.RDONLY) !== 0,
    kernel: settings.kernel,
    acl: settings.acl,
    minixStatfs: settings.minixStatfs,
    noRecovery: settings.noRecovery,
    offsetBytes: settings.offsetBytes,
    oomScoreAdjust: settings.oomScoreAdjust,
    lockFile: settings.lockFile,
    cacheSizeBytes: settings.cacheSizeBytes,
    traceOperations: settings.traceOperations,
    iomap: settings.iomap,
    superblockKiB: settings.superblockKiB,
    errors: settings.errors,
    commitSeconds: settings.commitSeconds,
    barrier: settings.barrier,
    journalChecksum: settings.journalChecksum,
    discard: settings.discard,
    strictAccessTimes: settings.strictAccessTimes,
    lazyTimes: settings.lazyTimes,
    groupOfParent: settings.groupOfParent,
    reservedUid: settings.reservedUid,
    reservedGid: settings.reservedGid,
    writebackCache: settings.writebackCache,
    msFlags,
    kernelOptions: [...settings.kernelOptions.values()],
    mtabOptions: [...switches.mtab, ...settings.mtabOptions],
    withoutEffect: settings.withoutEffect,
  };
}

/** Fills `switches` in the order of the command line and returns the words that are no options. */
function parseSwitches(words: readonly ByteString[], switches: Switches): ByteString[] {
  const command = commandLine(switches);
  try {
    command.parse(words, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    const text = fromByteString(error.message as ByteString).replace(/^error: /, '');
    throw new UsageError(`fuse4fs: ${text}; see 'fuse4fs -h'`);
  }
  return command.args as ByteString[];
}

function commandLine(switches: Switches): Command {
  const command = new Command('fuse4fs')
    .usage('[options] DEVICE-OR-IMAGE MOUNTPOINT [-o opt[,opt...]] [-f] [-d] [-s]')
    .helpOption(false)
    .exitOverride()
    .showSuggestionAfterError(false)
    .configureOutput({ writeOut: () => {}, writeErr: () => {} })
    .argument('[device]')
    .argument('[mountpoint]');
  const onSwitch = (flags: string, description: string, action: (value: string) => void): void => {
    const option = command.createOption(flags, description);
    command.addOption(option);
    command.on(`option:${option.name()}`, action);
  };
  onSwitch('-o <options>', 'mount options, see below', (list) => {
    switches.words.push(...splitMountOptions(list as ByteString));
  });
  onSwitch('-f', 'stay in the foreground', () => {
    switches.foreground = true;
  });
  onSwitch('-d', 'trace FUSE requests (implies -f)', () => {
    switches.debug = true;
  });
  onSwitch('-s', 'accepted; requests are handled by a single thread anyway', () => {});
  onSwitch('-r', 'read-only, same as -o ro', () => {
    switches.words.push(mountOption(toByteString('ro')));
  });
  onSwitch('-w', 'read-write, same as -o rw', () => {
    switches.words.push(mountOption(toByteString('rw')));
  });
  onSwitch('-n', 'leave no trace in the records of mount(8)', () => {
    switches.mtab.push(toByteString('-n'));
  });
  onSwitch('-v', 'accepted and ignored', () => {});
  onSwitch('-h, --help', 'this text', () => {
    throw new UsageError(`${command.helpInformation()}${MOUNT_OPTIONS_HELP}`);
  });
  onSwitch('--helpfull', 'this text and the options of the FUSE driver', () => {
    throw new UsageError(`${command.helpInformation()}${MOUNT_OPTIONS_HELP}${DRIVER_OPTIONS_HELP}`);
  });
  onSwitch('-V, --version', 'version of the program', () => {
    throw new UsageError(programVersion(), 0);
  });
  return command;
}

const MOUNT_OPTIONS_HELP = `
Mount options:
  ro, rw                     read-only, read-write
  errors=BEHAVIOR            continue, remount-ro or panic when something broken is met
  acl, noacl                 POSIX access control lists
  minixdf, bsddf             what statfs counts as the size of the file system
  fakeroot                   permissions are not checked
  no_default_opts            don't name device and type in mount tables
  norecovery, noload         don't replay the journal
  offset=BYTES[kmg]          the file system starts here
  sb=KIB                     use the superblock at this place
  cache_size=BYTES[kmg]      memory for cached metadata
  flush_interval=SECONDS, commit=SECONDS
                             time between commits of the journal, 0: on demand only
  data=MODE                  ordered; writeback is taken for it
  barrier[=0|1], nobarrier   flush the caches of the device where order matters
  journal_checksum, nojournal_checksum
                             sum transactions of the journal where metadata has no checksums
  discard, nodiscard         tell the device which blocks are free
  writeback_cache, nowriteback_cache
                             let the kernel gather writes
  relatime, strictatime, nostrictatime
                             when reading changes the time of the last access
  lazytime, nolazytime       changes of times alone are written late
  grpid, bsdgroups, nogrpid, sysvgroups
                             group of new files: the directory's, or the creator's
  resuid=N, resgid=N         who may use the reserved blocks
  direct, directio           accepted: what can bypass the page cache of the device does so anyway
  lockfile=PATH              create PATH while mounted (not in a service)
  kernel                     behave like the file system of the kernel
  oom_score_adj=N            how gladly the kernel kills this server
  iomap[=1|0|default]        require, refuse or try file I/O by the kernel itself
  debug, fuse4fs_debug       log every request; debug implies -f
  timing, iomap_cache, noiomap_cache
                             accepted, without effect
`;

const DRIVER_OPTIONS_HELP = `
Options of the FUSE driver and of mount(8):
  allow_other                other users may use the mount
  default_permissions        the kernel checks permissions (always on but with fakeroot)
  fsname=NAME, subtype=NAME  what mount tables show
  max_read=BYTES, blksize=BYTES
                             largest read request; block size for the kernel
  context=LABEL, fscontext=LABEL, defcontext=LABEL, rootcontext=LABEL
                             security labels
  suid, nosuid, dev, nodev, exec, noexec, sync, async, dirsync
  atime, noatime, diratime, nodiratime, symfollow, nosymfollow
                             as in mount(8)
  user=NAME, x-*             kept for mount(8) and other programs
`;
