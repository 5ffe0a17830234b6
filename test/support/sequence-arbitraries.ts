import fc from 'fast-check';
import { ACL_NO_ID, type AclEntry, AclTag, aclValue } from './posix-acl-value.ts';
import type { Setting } from './sequence-performer.ts';

/** Flags of open(2) on Linux; Node knows some of them only. */
const Open = Object.freeze({
  RDONLY: 0,
  WRONLY: 1,
  RDWR: 2,
  CREAT: 0o100,
  EXCL: 0o200,
  TRUNC: 0o1000,
  APPEND: 0o2000,
  DSYNC: 0o10000,
  DIRECT: 0o40000,
  DIRECTORY: 0o200000,
  NOFOLLOW: 0o400000,
});

/** FALLOC_FL_* (linux/falloc.h). */
const Falloc = Object.freeze({ KEEP_SIZE: 1, PUNCH_HOLE: 2, ZERO: 0x10 });

/** FS_*_FL (linux/fs.h). */
const Flag = Object.freeze({ SYNC: 8, IMMUTABLE: 0x10, APPEND: 0x20, NODUMP: 0x40, NOATIME: 0x80, DIRSYNC: 0x10000 });

/** RENAME_* (linux/fs.h). */
const Rename = Object.freeze({ NOREPLACE: 1, EXCHANGE: 2, WHITEOUT: 4 });

const FileType = Object.freeze({ FIFO: 0o10000, CHR: 0o20000, BLK: 0o60000, REG: 0o100000, SOCK: 0o140000 });

/** `@N` stands for a name of N letters (sequence-performer.c). The first ones are what a failure shrinks to. */
const files = ['a', 'b', 'c', 'd/a', 'd/b', 'd/e/a', 'a2/a', '@255', 'd/@200'];
const directories = ['d', 'd/e', 'a2', 'd/f', '.'];
const strange = ['s', 'd/s', '@256', 'd/@300', 'a/x', 'none/x', '-', 'd/', 'd/.', 'd/..', 's/x', 'd/e/../a', '..'];

const filePath = fc.constantFrom(...files);
const directoryPath = fc.constantFrom(...directories);
const linkPath = fc.constantFrom('s', 'd/s', 'd/e/s', 'b');
const anyPath = fc.oneof(
  { weight: 6, arbitrary: filePath },
  { weight: 3, arbitrary: directoryPath },
  { weight: 2, arbitrary: fc.constantFrom(...strange) },
);
const mostly = (usual: fc.Arbitrary<string>) =>
  fc.oneof({ weight: 7, arbitrary: usual }, { weight: 1, arbitrary: anyPath });

const slot = fc.constantFrom(0, 1, 2, 3);
const seed = fc.integer({ min: 1, max: 1000 });
const blockEdges = [0, 1, 511, 512, 1023, 1024, 1025, 4095, 4096, 4097, 8192, 12288, 16384, 65536, 65537, 131072];
const near = fc.oneof(fc.constantFrom(...blockEdges), fc.integer({ min: 0, max: 200_000 }));
/**
 * Not beyond the largest size of a file: where the kernel gathers writes, it takes such data into its cache, and only
 * bringing them to the server fails.
 */
const offset = fc.oneof(
  { weight: 12, arbitrary: near },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 2 ** 32 + 5 }) },
  { weight: 1, arbitrary: fc.constantFrom(-1, 2 ** 31, 2 ** 32, 2 ** 32 - 1) },
);
const anyOffset = fc.oneof(
  { weight: 9, arbitrary: offset },
  { weight: 1, arbitrary: fc.constantFrom(2 ** 44, 2 ** 52) },
);
const length = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(1, 10, 100, 512, 1024, 4096, 4097, 8192, 65536) },
  { weight: 4, arbitrary: fc.integer({ min: 0, max: 70_000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 100_000, max: 700_000 }) },
);
const permissions = fc.oneof(
  fc.constantFrom(0o644, 0o755, 0o600, 0o777, 0o700, 0o4755, 0o2755, 0o1777, 0o2644),
  fc.integer({ min: 0, max: 0o7777 }),
);
const openFlags = fc
  .tuple(
    fc.constantFrom(Open.RDWR, Open.RDWR, Open.WRONLY, Open.RDONLY),
    fc.constantFrom(Open.CREAT, Open.CREAT, 0, Open.CREAT | Open.EXCL),
    fc.constantFrom(0, 0, 0, Open.TRUNC, Open.APPEND, Open.DIRECT, Open.NOFOLLOW, Open.DSYNC, Open.DIRECTORY),
  )
  .map(([access, create, more]) => access | create | more);

const xattrName = fc.constantFrom(
  'user.a',
  'user.b',
  'user.longer-name',
  'user.@249',
  'user.@251',
  'user.',
  'trusted.t',
  'security.s',
  'system.nothing',
  'nonsense',
);
const valueLength = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 0, max: 80 }) },
  { weight: 3, arbitrary: fc.constantFrom(100, 300, 900, 1000, 1500, 2500, 3900, 4000) },
  { weight: 1, arbitrary: fc.constantFrom(4096, 9000, 65536, 65537) },
);

const hexOf = (entries: readonly AclEntry[]): string => aclValue(entries).toString('hex');
const permission = fc.integer({ min: 0, max: 7 });
const minimalAcl = fc.tuple(permission, permission, permission).map(([user, group, other]) =>
  hexOf([
    [AclTag.USER_OBJ, user, ACL_NO_ID],
    [AclTag.GROUP_OBJ, group, ACL_NO_ID],
    [AclTag.OTHER, other, ACL_NO_ID],
  ]),
);
const fullAcl = fc
  .tuple(permission, permission, permission, permission, permission, permission)
  .map(([user, named, group, namedGroup, mask, other]) =>
    hexOf([
      [AclTag.USER_OBJ, user, ACL_NO_ID],
      [AclTag.USER, named, 1000],
      [AclTag.GROUP_OBJ, group, ACL_NO_ID],
      [AclTag.GROUP, namedGroup, 1001],
      [AclTag.MASK, mask, ACL_NO_ID],
      [AclTag.OTHER, other, ACL_NO_ID],
    ]),
  );
const brokenAcl = fc.constantFrom('02000000', '0200000001000700ffffffff', '03000000', '-', '0200');
const acl = fc.oneof(
  { weight: 3, arbitrary: fullAcl },
  { weight: 2, arbitrary: minimalAcl },
  { weight: 1, arbitrary: brokenAcl },
);

const owner = fc.constantFrom(0, 1000, 1001, 2000, -1, 70_000);
const mtime = fc.constantFrom('now', 'omit', '1000000000', '1', '-1');
/** Gathering writes, the kernel shows times of modification as they were set, also those that can't be stored. */
const atime = fc.oneof(mtime, fc.constantFrom('5000000000', '-3000000000'));
/** FUSE itself refuses to collapse and insert ranges: these are tested in the engine. */
const fallocateMode = fc.constantFrom(
  0,
  Falloc.KEEP_SIZE,
  Falloc.PUNCH_HOLE | Falloc.KEEP_SIZE,
  Falloc.ZERO,
  Falloc.ZERO | Falloc.KEEP_SIZE,
  Falloc.PUNCH_HOLE,
  0x100,
);
const renameFlags = fc.constantFrom(
  0,
  0,
  0,
  Rename.NOREPLACE,
  Rename.EXCHANGE,
  Rename.WHITEOUT,
  Rename.NOREPLACE | Rename.EXCHANGE,
  Rename.NOREPLACE | Rename.WHITEOUT,
);
const nodeMode = fc
  .tuple(fc.constantFrom(...Object.values(FileType)), permissions)
  .map(([type, bits]) => type | (bits & 0o7777));
const target = fc.constantFrom('a', 'd/a', 'none', '@20', '@59', '@60', '@61', '@100', '@1000', '@4095', '..', '-');
const inodeFlags = fc.constantFrom(
  Flag.IMMUTABLE,
  Flag.APPEND,
  Flag.NOATIME,
  Flag.NODUMP,
  Flag.SYNC,
  Flag.DIRSYNC,
  0,
  0x40000000,
);

type Words = string | number;
const step = (name: string, ...words: fc.Arbitrary<Words>[]): fc.Arbitrary<string> =>
  fc.tuple(...words).map((values) => [name, ...values].join(' '));
const only = (value: Words): fc.Arbitrary<Words> => fc.constant(value);

/** Kinds of steps with their weights. */
const KINDS: readonly (readonly [weight: number, arbitrary: fc.Arbitrary<string>])[] = [
  [10, step('open', slot, mostly(filePath), openFlags, permissions)],
  [1, step('open', slot, anyPath, only(Open.RDONLY), only(0))],
  [2, step('tmpfile', slot, mostly(directoryPath), fc.constantFrom(Open.RDWR, Open.WRONLY), permissions)],
  [2, step('linkfd', slot, mostly(filePath))],
  [3, step('close', slot)],
  [4, step('write', slot, length, seed)],
  [8, step('pwrite', slot, offset, length, seed)],
  [2, step('read', slot, length)],
  [4, step('pread', slot, offset, length)],
  [4, step('lseek', slot, offset, fc.constantFrom(3, 4, 0, 1, 2))],
  [3, step('truncate', mostly(filePath), anyOffset)],
  [4, step('ftruncate', slot, anyOffset)],
  [6, step('fallocate', slot, fallocateMode, anyOffset, length)],
  [2, step('copy', slot, offset, slot, offset, length)],
  [3, step('mmap', slot, near, length, seed, fc.constantFrom(0, 1))],
  [1, step('fsync', slot)],
  [1, step('fdatasync', slot)],
  [5, step('mkdir', mostly(directoryPath), permissions)],
  [3, step('rmdir', mostly(directoryPath))],
  [5, step('unlink', mostly(filePath))],
  [4, step('link', mostly(filePath), mostly(filePath))],
  [3, step('symlink', mostly(linkPath), target)],
  [2, step('readlink', mostly(linkPath))],
  [7, step('rename', anyPath, anyPath, renameFlags)],
  [2, step('mknod', mostly(filePath), nodeMode, fc.constantFrom(1, 0, 300), fc.constantFrom(3, 0, 70_000))],
  [3, step('chmod', anyPath, permissions)],
  [1, step('fchmod', slot, permissions)],
  [3, step('chown', anyPath, owner, owner)],
  [3, step('utimens', anyPath, atime, mtime)],
  [7, step('setxattr', anyPath, xattrName, valueLength, seed, fc.constantFrom(0, 0, 1, 2))],
  [4, step('setacl', anyPath, fc.constantFrom('system.posix_acl_access', 'system.posix_acl_default'), acl)],
  [2, step('getxattr', anyPath, fc.oneof(xattrName, fc.constantFrom('system.posix_acl_access')))],
  [2, step('removexattr', anyPath, fc.oneof(xattrName, fc.constantFrom('system.posix_acl_default')))],
  [1, step('listxattr', anyPath)],
  [2, step('setflags', mostly(filePath), inodeFlags, inodeFlags)],
  [2, step('readdir', mostly(directoryPath))],
  [1, step('access', anyPath, fc.constantFrom(0, 1, 2, 4, 7))],
  [1, step('stat', anyPath)],
];

const anyStep = fc.oneof(...KINDS.map(([weight, arbitrary]) => ({ weight, arbitrary })));

/** One step in three is watched: looking at things changes what the kernel has in its caches. */
const maybeWatched = fc.tuple(fc.constantFrom('', '', '*'), anyStep).map(([watched, words]) => `${watched}${words}`);

/** Something to work on, so that fewer steps fail for want of it. */
const BEGINNINGS: readonly (readonly string[])[] = [
  ['open 0 a 0102 0644'],
  ['mkdir d 0755', 'mkdir d/e 0755', 'open 0 a 0102 0644', 'open 1 d/a 0102 0666', 'write 0 5000 1'],
  ['mkdir d 02775', 'open 0 a 0102 0644', 'write 0 100000 1', 'open 1 b 0102 0600', 'write 1 50 2', 'symlink s a'],
  [],
];

export const steps: fc.Arbitrary<readonly string[]> = fc
  .tuple(fc.constantFrom(...BEGINNINGS), fc.array(maybeWatched, { minLength: 1, maxLength: 30, size: 'max' }))
  .map(([beginning, rest]) => [...beginning, ...rest]);

export const setting: fc.Arbitrary<Setting> = fc.record({
  uid: fc.constantFrom(0, 1000),
  umask: fc.constantFrom(0o022, 0, 0o077, 0o027),
  mode: fc.constantFrom(0o755, 0o777, 0o2775, 0o1777),
  gid: fc.constantFrom(0, 1000, 1001, 2000),
  defaultAcl: fc.oneof({ weight: 3, arbitrary: fc.constant('-') }, { weight: 1, arbitrary: fullAcl }),
});
