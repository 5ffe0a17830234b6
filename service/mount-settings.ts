import type { MountOption } from '../shared/mount-options.ts';
import { type ByteString, fromByteString, toByteString } from '../shared/service-protocol/byte-string.ts';
import { applyFlagOption, MS_FLAGS_DEFAULT, MsBit } from '../shared/service-protocol/ms-flags.ts';
import { parseSize } from '../shared/size.ts';
import { UsageError } from './usage-error.ts';

/** "service": a contained process without a path to call its own. "direct": started from a command line. */
export type StartMode = 'service' | 'direct';

/** Where mappings go to a kernel that knows iomap. */
export type IomapChoice = 'require' | 'never' | 'default';

const OOM_SCORE_ADJUST_DEFAULT = -500;
const OOM_SCORE_ADJUST_LIMIT = 1000;
const CACHE_BYTES_MAX = 2 ** 31 - 1;
/** 2^32 - 1 means nobody. */
const ID_LIMIT = 2 ** 32 - 1;
const COMMIT_SECONDS_DEFAULT = 5;
/** Timers can't wait longer than 2^31 ms. */
const COMMIT_SECONDS_MAX = 2_000_000;

/** What happens when broken metadata or a broken device is met (mount option errors=). */
export type ErrorsBehavior = 'continue' | 'remount-ro' | 'panic';

const ERRORS_BEHAVIORS: readonly ErrorsBehavior[] = Object.freeze(['continue', 'remount-ro', 'panic']);

/** The words of all `-o` lists, applied one after the other: the last one wins. */
export class MountSettings {
  readonly mode: StartMode;
  kernel = false;
  debug = false;
  msFlags: number = MS_FLAGS_DEFAULT;
  acl = false;
  minixStatfs = false;
  /** The kernel does not check permissions. */
  fakeRoot = false;
  defaultNames = true;
  noRecovery = false;
  offsetBytes = 0;
  oomScoreAdjust = OOM_SCORE_ADJUST_DEFAULT;
  lockFile: ByteString | null = null;
  cacheSizeBytes: number | null = null;
  traceOperations = false;
  iomap: IomapChoice = 'default';
  superblockKiB: number | null = null;
  /** Null: as the superblock says. */
  errors: ErrorsBehavior | null = null;
  /** Between commits; 0 for commits on demand only. */
  commitSeconds = COMMIT_SECONDS_DEFAULT;
  /** Null in these: as the superblock's default mount options say. */
  barrier: boolean | null = null;
  discard: boolean | null = null;
  journalChecksum = false;
  strictAccessTimes = false;
  lazyTimes = false;
  groupOfParent: boolean | null = null;
  reservedUid: number | null = null;
  reservedGid: number | null = null;
  writebackCache = true;
  fsname: ByteString | null = null;
  subtype: ByteString | null = null;
  readonly kernelOptions = new Map<string, ByteString>();
  readonly mtabOptions: ByteString[] = [];
  readonly withoutEffect: ByteString[] = [];

  constructor(mode: StartMode) {
    this.mode = mode;
  }

  /** What `kernel` stands for. It takes effect before all other words, so that they can override it. */
  behaveLikeKernel(): void {
    this.kernel = true;
    this.acl = true;
    this.msFlags &= ~(MsBit.NOSUID | MsBit.NODEV);
    this.kernelOptions.set('allow_other', toByteString('allow_other'));
    this.kernelOptions.set('default_permissions', toByteString('default_permissions'));
  }

  /** Throws UsageError for a word that we don't know or can't honour. */
  apply(option: MountOption): void {
    const known = option.value === null ? this.#applyWord(option) : this.#applyValue(option, option.value);
    if (!known) throw optionError(option, 'unknown option');
  }

  #applyWord(option: MountOption): boolean {
    const msFlags = applyFlagOption(this.msFlags, option.name);
    if (msFlags !== null) {
      this.msFlags = msFlags;
      return true;
    }
    const refusal = REFUSED_WORDS.get(option.name);
    if (refusal !== undefined) throw optionError(option, refusal);
    const set = WORDS.get(option.name);
    if (set !== undefined) set(this);
    else if (KERNEL_WORDS.has(option.name)) this.kernelOptions.set(option.name, option.word);
    else if (option.name.startsWith('x-')) this.#addMtab(option);
    else if (WORDS_WITHOUT_EFFECT.has(option.name)) this.withoutEffect.push(option.word);
    else return SILENT_WORDS.has(option.name);
    return true;
  }

  #applyValue(option: MountOption, value: ByteString): boolean {
    const set = VALUES.get(option.name);
    const form = VALUES_WITHOUT_EFFECT.get(option.name);
    if (set !== undefined) set(this, value, option);
    else if (KERNEL_NUMBERS.has(option.name)) this.#addKernelNumber(option, value);
    else if (KERNEL_CONTEXTS.has(option.name)) this.#addKernelContext(option, value);
    else if (option.name === 'user' || option.name.startsWith('x-')) this.#addMtab(option);
    else if (form?.test(value)) this.withoutEffect.push(option.word);
    else return false;
    return true;
  }

  #addKernelNumber(option: MountOption, value: ByteString): void {
    if (!/^\d{1,9}$/.test(value)) throw optionError(option, 'not a number');
    this.kernelOptions.set(option.name, option.word);
  }

  /** The mount helper splits at commas outside double quotes and removes one pair of them; there is no other escape. */
  #addKernelContext(option: MountOption, value: ByteString): void {
    const bare = value.replace(/^"(.*)"$/s, '$1');
    if (bare === '' || bare.includes('"')) throw optionError(option, 'not a security context');
    const quoted = bare.includes(',') ? `"${bare}"` : bare;
    this.kernelOptions.set(option.name, `${option.name}=${quoted}` as ByteString);
  }

  /** mount(8) would take what follows a comma for an option of its own. */
  #addMtab(option: MountOption): void {
    if (option.word.includes(',')) throw optionError(option, 'a comma cannot be passed on');
    this.mtabOptions.push(option.word);
  }
}

function optionError(option: MountOption, why: string): UsageError {
  return new UsageError(`fuse4fs: ${why}: ${fromByteString(option.word)}`);
}

const WORDS = new Map<string, (settings: MountSettings) => void>(
  Object.entries({
    // The words of `kernel` itself are in place already, see behaveLikeKernel.
    kernel: () => {},
    debug: (settings) => {
      settings.debug = true;
    },
    acl: (settings) => {
      settings.acl = true;
    },
    noacl: (settings) => {
      settings.acl = false;
    },
    minixdf: (settings) => {
      settings.minixStatfs = true;
    },
    bsddf: (settings) => {
      settings.minixStatfs = false;
    },
    fakeroot: (settings) => {
      settings.fakeRoot = true;
    },
    no_default_opts: (settings) => {
      settings.defaultNames = false;
    },
    norecovery: (settings) => {
      settings.noRecovery = true;
    },
    noload: (settings) => {
      settings.noRecovery = true;
    },
    fuse4fs_debug: (settings) => {
      settings.traceOperations = true;
    },
    iomap: (settings) => {
      settings.iomap = 'require';
    },
    barrier: (settings) => {
      settings.barrier = true;
    },
    nobarrier: (settings) => {
      settings.barrier = false;
    },
    discard: (settings) => {
      settings.discard = true;
    },
    nodiscard: (settings) => {
      settings.discard = false;
    },
    journal_checksum: (settings) => {
      settings.journalChecksum = true;
    },
    nojournal_checksum: (settings) => {
      settings.journalChecksum = false;
    },
    strictatime: (settings) => {
      settings.strictAccessTimes = true;
    },
    nostrictatime: (settings) => {
      settings.strictAccessTimes = false;
    },
    relatime: (settings) => {
      settings.strictAccessTimes = false;
    },
    lazytime: (settings) => {
      settings.lazyTimes = true;
    },
    nolazytime: (settings) => {
      settings.lazyTimes = false;
    },
    grpid: (settings) => {
      settings.groupOfParent = true;
    },
    bsdgroups: (settings) => {
      settings.groupOfParent = true;
    },
    nogrpid: (settings) => {
      settings.groupOfParent = false;
    },
    sysvgroups: (settings) => {
      settings.groupOfParent = false;
    },
    writeback_cache: (settings) => {
      settings.writebackCache = true;
    },
    nowriteback_cache: (settings) => {
      settings.writebackCache = false;
    },
  } satisfies Record<string, (settings: MountSettings) => void>),
);

type SetValue = (settings: MountSettings, value: ByteString, option: MountOption) => void;

const setCommitSeconds: SetValue = (settings, value, option) => {
  const seconds = /^\d{1,7}$/.test(value) ? Number(value) : Number.NaN;
  if (!(seconds <= COMMIT_SECONDS_MAX)) throw optionError(option, 'unrecognized flush interval');
  settings.commitSeconds = seconds;
};
/** A number that the kernel's ext4 takes as a user or group. */
const parseId = (value: ByteString, option: MountOption): number => {
  const id = /^\d{1,10}$/.test(value) ? Number(value) : Number.NaN;
  if (!(id < ID_LIMIT)) throw optionError(option, 'not a number of a user or group');
  return id;
};

const VALUES = new Map<string, SetValue>(
  Object.entries({
    errors: (settings, value, option) => {
      const behavior = ERRORS_BEHAVIORS.find((word) => word === fromByteString(value));
      if (behavior === undefined) throw optionError(option, 'unknown errors behavior');
      settings.errors = behavior;
    },
    offset: (settings, value, option) => {
      const bytes = parseSize(value);
      if (bytes === null) throw optionError(option, 'not a number of bytes');
      settings.offsetBytes = bytes;
    },
    oom_score_adj: (settings, value, option) => {
      const score = /^-?\d{1,4}$/.test(value) ? Number(value) : Number.NaN;
      if (!(Math.abs(score) <= OOM_SCORE_ADJUST_LIMIT)) throw optionError(option, 'not between -1000 and 1000');
      settings.oomScoreAdjust = score;
    },
    lockfile: (settings, value, option) => {
      if (settings.mode === 'service') throw optionError(option, 'a service has no place for lock files');
      if (value === '') throw optionError(option, 'missing path');
      settings.lockFile = value;
    },
    cache_size: (settings, value, option) => {
      const bytes = parseSize(value);
      if (bytes === null || bytes < 1 || bytes > CACHE_BYTES_MAX)
        throw optionError(option, 'cache size must be between 1 block and 2GB');
      settings.cacheSizeBytes = bytes;
    },
    flush_interval: setCommitSeconds,
    commit: setCommitSeconds,
    barrier: (settings, value, option) => {
      if (value !== '0' && value !== '1') throw optionError(option, 'not 0 or 1');
      settings.barrier = value === '1';
    },
    data: (settings, value, option) => {
      if (value === 'journal') throw optionError(option, 'file data cannot go through the journal');
      if (value === 'writeback') settings.withoutEffect.push(option.word);
      else if (value !== 'ordered') throw optionError(option, 'unknown data mode');
    },
    resuid: (settings, value, option) => {
      settings.reservedUid = parseId(value, option);
    },
    resgid: (settings, value, option) => {
      settings.reservedGid = parseId(value, option);
    },
    iomap: (settings, value, option) => {
      if (value === '1') settings.iomap = 'require';
      else if (value === '0') settings.iomap = 'never';
      else if (value === 'default') settings.iomap = 'default';
      else throw optionError(option, 'unknown iomap= behavior');
    },
    sb: (settings, value, option) => {
      if (!/^\d{1,15}$/.test(value)) throw optionError(option, 'not a number of 1 KiB blocks');
      settings.superblockKiB = Number(value);
    },
    fsname: (settings, value, option) => {
      if (value === '') throw optionError(option, 'missing name');
      settings.fsname = value;
    },
    subtype: (settings, value, option) => {
      if (value === '' || value.includes('/')) throw optionError(option, 'not a file system type');
      settings.subtype = value;
    },
  } satisfies Record<string, SetValue>),
);

/** Passed on to the kernel's FUSE driver. */
const KERNEL_WORDS = new Set<string>(['allow_other', 'default_permissions']);
const KERNEL_NUMBERS = new Set<string>(['max_read', 'blksize']);
const KERNEL_CONTEXTS = new Set<string>(['context', 'fscontext', 'defcontext', 'rootcontext']);

const REFUSED_WORDS = new Map<string, string>([
  ['allow_root', 'the server is not told who mounted, so it cannot tell the owner from others; use allow_other'],
  ['blkdev', 'the device is opened exclusively by the server, so the kernel cannot open it too'],
]);

/** Meant for mount(8) and fstab(5), or true anyway. */
const SILENT_WORDS = new Set<string>([
  ...[
    'loop',
    'defaults',
    'nofail',
    'auto',
    'noauto',
    'user',
    'users',
    'nouser',
    'owner',
    'group',
    '_netdev',
    'remount',
  ],
  ...['norelatime', 'silent', 'loud'],
  ...['user_xattr', 'nouser_xattr', 'noblock_validity', 'nodelalloc', 'direct', 'directio'],
]);

/**
 * Of the kernel's ext4, of libfuse and of fuse2fs: they tune allocation, the journal, threads or iomap in ways that
 * this server doesn't have.
 */
const WORDS_WITHOUT_EFFECT = new Set<string>([
  ...['delalloc', 'block_validity', 'dioread_lock', 'dioread_nolock'],
  ...['auto_da_alloc', 'noauto_da_alloc', 'journal_async_commit'],
  ...['init_itable', 'noinit_itable', 'i_version', 'iversion'],
  ...['noiversion', 'prefetch_block_bitmaps', 'no_prefetch_block_bitmaps', 'nombcache', 'no_mbcache', 'noquota'],
  ...['auto_unmount', 'clone_fd', 'foreground', 'timing', 'iomap_cache', 'noiomap_cache'],
]);

const NUMBER = /^\d{1,10}$/;
const VALUES_WITHOUT_EFFECT = new Map<string, RegExp>([
  ['auto_da_alloc', NUMBER],
  ['init_itable', NUMBER],
  ['inode_readahead_blks', NUMBER],
  ['journal_ioprio', NUMBER],
  ['max_batch_time', NUMBER],
  ['min_batch_time', NUMBER],
  ['max_dir_size_kb', NUMBER],
  ['mb_optimize_scan', NUMBER],
  ['stripe', NUMBER],
  ['max_threads', NUMBER],
  ['max_idle_threads', NUMBER],
]);
