import { type Bytes, OperationScript } from './operation-script.ts';
import { ACL_NO_ID, AclTag as Acl, aclValue } from './posix-acl-value.ts';

export interface PopulateProfile {
  readonly blockBytes: number;
  readonly seed: number;
  /** Number of entries of the largest directory. */
  readonly largestDirectory: number;
  /** Names of 240 bytes in that directory, for a deep tree. */
  readonly longNames?: boolean;
}

/** FS_*_FL of linux/fs.h. */
const Flag = Object.freeze({
  SYNC: 0x8,
  IMMUTABLE: 0x10,
  APPEND: 0x20,
  NODUMP: 0x40,
  NOATIME: 0x80,
  DIRSYNC: 0x10000,
  TOPDIR: 0x20000,
});

/** FALLOC_FL_* of linux/falloc.h. */
const Falloc = Object.freeze({ KEEP_SIZE: 1, PUNCH_HOLE_KEEP_SIZE: 3, ZERO_RANGE: 0x10 });

const S_IFIFO = 0o010000;
const S_IFCHR = 0o020000;
const S_IFBLK = 0o060000;
const S_IFSOCK = 0o140000;

const ACL_EXTENDED = aclValue([
  [Acl.USER_OBJ, 7, ACL_NO_ID],
  [Acl.USER, 5, 1000],
  [Acl.USER, 4, 70000],
  [Acl.GROUP_OBJ, 5, ACL_NO_ID],
  [Acl.GROUP, 6, 4000000000],
  [Acl.MASK, 7, ACL_NO_ID],
  [Acl.OTHER, 1, ACL_NO_ID],
]);

/** cap_net_raw=ep as version 2 of struct vfs_cap_data (linux/capability.h). */
const CAPABILITY = Buffer.from('0100000200200000000000000000000000000000', 'hex');

function addSpecialFiles(script: OperationScript): void {
  script.mkdir('special');
  script.node('special/fifo', S_IFIFO | 0o644).node('special/socket', S_IFSOCK | 0o777);
  const numbers = [
    [0, 0],
    [1, 3],
    [8, 255],
    [8, 256],
    [255, 255],
    [256, 0],
    [259, 70000],
    [4095, 1048575],
  ] as const;
  for (const [major, minor] of numbers) {
    script.node(`special/char-${major}-${minor}`, S_IFCHR | 0o600, major, minor);
    script.node(`special/block-${major}-${minor}`, S_IFBLK | 0o660, major, minor);
  }
}

function addSymlinks(script: OperationScript): void {
  script.mkdir('symlinks');
  for (const length of [1, 20, 58, 59, 60, 61, 120, 255, 1000, 1023]) {
    script.symlink(`symlinks/${length}`, 'x/'.repeat(length).slice(0, length));
  }
  for (const length of [1024, 2047, 4094, 4095]) {
    script.mayFail((s) => s.symlink(`symlinks/${length}`, 'ab/d'.repeat(length).slice(0, length)));
  }
  script.symlink('symlinks/bytes', Buffer.from([0xff, 0x2f, 0x0a, 0x80])).symlink('symlinks/dangling', '/no/such/file');
}

function addModesAndOwners(script: OperationScript): void {
  script.mkdir('modes');
  for (const mode of [0, 0o400, 0o644, 0o777, 0o1777, 0o2755, 0o4755, 0o6711, 0o7777]) {
    const name = mode.toString(8);
    script.text(`modes/file-${name}`, 0, name).chmod(`modes/file-${name}`, mode);
    script.mkdir(`modes/directory-${name}`).chmod(`modes/directory-${name}`, mode);
  }
  script.mkdir('owners');
  const ids = [1, 65534, 65535, 65536, 70000, 2147483648, 4294967294];
  ids.forEach((id, i) => {
    script.text(`owners/${id}`, 0, '').chown(`owners/${id}`, id, ids[ids.length - 1 - i]);
  });
  script.symlink('owners/symlink', 'target').chown('owners/symlink', 123456, 654321);
}

function addNames(script: OperationScript): void {
  const names: Bytes[] = [
    'a'.repeat(255),
    'Ω'.repeat(127),
    'café',
    'cafe\u0301',
    'line\nfeed',
    'tab\tspace quote"back\\slash',
    '.hidden',
    '...',
    '-rf',
    '\u0001',
    Buffer.from([0xff, 0xfe, 0x80]),
    Buffer.alloc(255, 0xc3),
  ];
  script.mkdir('names');
  names.forEach((name, i) => {
    const path = Buffer.concat([Buffer.from('names/'), Buffer.from(name)]);
    if (i % 3 === 2) script.mkdir(path);
    else script.text(path, 0, `name ${i}`);
  });
}

function addSizes(script: OperationScript, block: number, seed: number): void {
  script.mkdir('sizes');
  const inline = [0, 1, 59, 60, 61, 100, 128, 140, 150, 156, 157, 160, 161, 200, 300, 400, 600, 900];
  const blocks = [1, 2, 4, 12, 13, 16, 17].flatMap((n) => [n * block - 1, n * block, n * block + 1]);
  for (const size of new Set([...inline, ...blocks])) script.write(`sizes/${size}`, 0, size, seed + size);
  script.write('sizes/shrunk', 0, 5 * block, seed).truncate('sizes/shrunk', block + 10);
  script.write('sizes/shrunk-small', 0, 150, seed).truncate('sizes/shrunk-small', 20);
  script.write('sizes/grown-small', 0, 40, seed).truncate('sizes/grown-small', 110);
}

function addSparseFiles(script: OperationScript, block: number, seed: number): void {
  const perBlock = block / 4;
  const doubleFrom = (12 + perBlock) * block;
  const tripleFrom = (12 + perBlock + perBlock ** 2) * block;
  script.mkdir('sparse');
  script.write('sparse/hole-at-start', 40 * block + 100, 2 * block, seed);
  script.write('sparse/hole-in-middle', 0, block, seed).write('sparse/hole-in-middle', 100 * block, block, seed + 1);
  script.write('sparse/hole-at-end', 0, block + 1, seed).truncate('sparse/hole-at-end', 300 * block + 7);
  script.text('sparse/only-hole', 0, '').truncate('sparse/only-hole', 1000000);
  script.text('sparse/huge-hole', 0, '').truncate('sparse/huge-hole', 3 * 2 ** 30);
  for (const [name, offset] of [
    ['double', doubleFrom + 3 * block],
    ['double-last', tripleFrom - block],
    ['triple', tripleFrom + 5 * block],
    ['triple-deep', tripleFrom + (perBlock ** 2 + 3) * block],
    ['triple-last', tripleFrom + perBlock ** 3 * block - 10],
    ['2GiB', 2 ** 31 - 5],
    ['4GiB', 2 ** 32 - 5],
    ['last-of-extents', (2 ** 32 - 1) * block - 10],
  ] as const) {
    script.write(`sparse/${name}`, 0, 10, seed);
    script.mayFail((s) => s.write(`sparse/${name}`, offset, 10, seed + 1));
  }
}

/** More single-block extents than two levels of the tree hold (4 in the inode, then 12 bytes each after a header). */
const extentsForDepth2 = (block: number) => 4 * Math.floor((block - 16) / 12) + 100;

function addFragmentedFiles(script: OperationScript, block: number, seed: number): void {
  script.mkdir('fragmented');
  script.stripes('fragmented/deep', block, extentsForDepth2(Math.min(block, 4096)), 2 * block, seed);
  script.stripes('fragmented/wide', block, 60, 33 * block, seed);
  script.write('fragmented/punched', 0, 200 * block, seed);
  script.mayFail((s) => s.punches('fragmented/punched', block, 90, 2 * block));
  script.sync();
  script.write('fragmented/in-the-gaps', 0, 150 * block, seed + 7);
  script.write('fragmented/unaligned-punch', 0, 20 * block, seed);
  script.mayFail((s) =>
    s.fallocate('fragmented/unaligned-punch', Falloc.PUNCH_HOLE_KEEP_SIZE, block + 10, 5 * block + 3),
  );
  script.write('fragmented/interleaved-a', 0, block, seed);
  for (let i = 1; i < 12; i++) {
    script.write('fragmented/interleaved-b', i * block, block, seed + i).fsync('fragmented/interleaved-b');
    script.write('fragmented/interleaved-a', i * block, block, seed - i).fsync('fragmented/interleaved-a');
  }
}

function addPreallocatedFiles(script: OperationScript, block: number, seed: number): void {
  script.mkdir('preallocated');
  script.mayFail((s) => {
    s.fallocate('preallocated/all', 0, 0, 64 * block);
    s.fallocate('preallocated/beyond-end', Falloc.KEEP_SIZE, 0, 64 * block);
    s.fallocate('preallocated/written-inside', 0, 0, 64 * block);
    s.write('preallocated/written-inside', 20 * block + 5, 3 * block, seed);
    s.write('preallocated/written-inside', 50 * block, 10, seed);
    s.write('preallocated/zeroed', 0, 30 * block, seed);
    s.fallocate('preallocated/zeroed', Falloc.ZERO_RANGE, 5 * block, 11 * block);
    s.write('preallocated/short', 0, 100, seed);
    s.fallocate('preallocated/short', Falloc.KEEP_SIZE, 0, 8 * block);
    s.fallocate('preallocated/after-hole', 0, 100 * block, 10 * block);
  });
}

function addXattrs(script: OperationScript, block: number, seed: number): void {
  script.mkdir('xattrs');
  script.text('xattrs/few', 0, 'few');
  script.mayFail((s) => {
    s.xattr('xattrs/few', 'user.text', 'value').xattr('xattrs/few', 'user.empty', '');
    s.xattr('xattrs/few', 'user.gone', 'soon').xattrRemove('xattrs/few', 'user.gone');
    s.xattr('xattrs/few', 'trusted.overlay.opaque', 'y').xattr('xattrs/few', 'security.custom', Buffer.from([0, 1, 0]));
    s.xattr('xattrs/few', 'security.capability', CAPABILITY);
  });
  script.text('xattrs/many', 0, 'many');
  script.mayFail((s) => {
    for (let i = 0; i < 18; i++) s.xattrRandom('xattrs/many', `user.number-${i}`, 3 + i, seed + i);
    s.xattrRandom('xattrs/many', `user.${'n'.repeat(250)}`, 20, seed);
  });
  for (const length of [60, 300, block - 200, block - 60, block, 5000, 20000, 65536]) {
    script.text(`xattrs/value-${length}`, 0, 'large');
    script.mayFail((s) => s.xattrRandom(`xattrs/value-${length}`, 'user.value', length, seed));
  }
  for (const name of ['shared-a', 'shared-b', 'shared-c']) {
    script.text(`xattrs/${name}`, 0, name);
    script.mayFail((s) => s.xattrRandom(`xattrs/${name}`, 'user.shared', 500, seed));
    script.mayFail((s) => s.xattrRandom(`xattrs/${name}`, 'user.shared-large', 9000, seed));
  }
  script
    .mkdir('xattrs/directory')
    .symlink('xattrs/symlink', 'target')
    .node('xattrs/fifo', S_IFIFO | 0o600);
  for (const name of ['directory', 'symlink', 'fifo']) {
    script.mayFail((s) => s.xattr(`xattrs/${name}`, 'trusted.mark', name));
  }
  // The blocks of an attribute inode are charged to the link, whose target stays in its inode.
  script.mayFail((s) => s.xattrRandom('xattrs/symlink', 'trusted.large', 9000, seed));
}

function addAcls(script: OperationScript): void {
  script.mkdir('acls').mkdir('acls/directory').text('acls/file', 0, 'acl').chmod('acls/file', 0o640);
  script.mayFail((s) => {
    s.xattr('acls/file', 'system.posix_acl_access', ACL_EXTENDED);
    s.xattr('acls/directory', 'system.posix_acl_access', ACL_EXTENDED);
    s.xattr('acls/directory', 'system.posix_acl_default', ACL_EXTENDED);
    s.xattr('acls/file', 'user.beside-the-acl', 'yes');
  });
  script.text('acls/directory/inherits', 0, 'file').mkdir('acls/directory/inherits-too');
}

function addDirectories(script: OperationScript, profile: PopulateProfile): void {
  script.mkdir('directories').mkdir('directories/empty').mkdir('directories/one').files('directories/one/only', 1);
  script.mkdir('directories/three').files('directories/three/f', 3);
  script.mkdir('directories/fifty').files('directories/fifty/file-', 50);
  let path = 'directories/deep';
  script.mkdir(path);
  for (let level = 0; level < 100; level++) {
    path += `/${level}`;
    script.mkdir(path);
  }
  script.text(`${path}/bottom`, 0, 'reached');
  script.mkdir('directories/sources').files('directories/sources/s', 4);
  script.mkdir('directories/large');
  const prefix = profile.longNames ? 'n'.repeat(235) : 'entry-';
  script.links(`directories/large/${prefix}`, profile.largestDirectory, 4, 'directories/sources/s');
  script.mkdir('directories/deleted');
  script.links('directories/deleted/a-rather-long-name-', 600, 4, 'directories/sources/s');
  script.unlinks('directories/deleted/a-rather-long-name-', 0, 580, 1);
  script.mkdir('directories/gaps');
  script.links('directories/gaps/name-', 900, 4, 'directories/sources/s');
  script.unlinks('directories/gaps/name-', 0, 900, 2);
  script.mkdir('directories/reused').files('directories/reused/old-', 30).unlinks('directories/reused/old-', 0, 30, 1);
  script.files('directories/reused/new-name-', 10).rename('directories/reused/new-name-3', 'directories/reused/moved');
}

function addHardLinks(script: OperationScript, seed: number): void {
  script.mkdir('links').write('links/first', 0, 3000, seed);
  for (const name of ['second', 'third']) script.link('links/first', `links/${name}`);
  script.symlink('links/symlink', 'first').link('links/symlink', 'links/symlink-again');
  script.node('links/fifo', S_IFIFO | 0o600).link('links/fifo', 'links/fifo-again');
}

/** Seconds and nanoseconds at the edges of what inodes can hold; the kernel clamps what does not fit. */
const TIMES: readonly (readonly [number, number])[] = [
  [0, 0],
  [1, 999999999],
  [-1, 5],
  [-2147483648, 0],
  [-2147483649, 3],
  [2147483647, 999999999],
  [2147483648, 1],
  [4294967295, 123456789],
  [4294967296, 0],
  [6442450944, 7],
  [15032385535, 999999999],
  [15032385536, 0],
];

function addTimes(script: OperationScript): void {
  script.mkdir('times');
  TIMES.forEach((time, i) => {
    const other = TIMES[(i + 5) % TIMES.length];
    script.text(`times/file-${i}`, 0, 'time').times(`times/file-${i}`, time, other);
    script.symlink(`times/symlink-${i}`, 'target').times(`times/symlink-${i}`, other, time);
  });
  script.mkdir('times/directory').times('times/directory', [-77, 77], [4294967295, 42]);
}

/** Last of all: immutable and append-only inodes refuse everything that follows. */
function addFlags(script: OperationScript): void {
  script.mkdir('flags').mkdir('flags/directory');
  for (const [name, flag] of Object.entries(Flag)) {
    script.text(`flags/${name}`, 0, name);
    script.mayFail((s) => s.flags(`flags/${name}`, flag));
  }
  script.mayFail((s) => s.flags('flags/directory', Flag.DIRSYNC | Flag.TOPDIR | Flag.NODUMP | Flag.NOATIME));
}

/** A tree with every kind of object, made by the same system calls on every image. */
export function populationOf(profile: PopulateProfile): OperationScript {
  const script = new OperationScript();
  addSpecialFiles(script);
  addSymlinks(script);
  addModesAndOwners(script);
  addNames(script);
  addSizes(script, profile.blockBytes, profile.seed);
  addSparseFiles(script, profile.blockBytes, profile.seed);
  addFragmentedFiles(script, profile.blockBytes, profile.seed);
  addPreallocatedFiles(script, profile.blockBytes, profile.seed);
  addXattrs(script, profile.blockBytes, profile.seed);
  addAcls(script);
  addDirectories(script, profile);
  addHardLinks(script, profile.seed);
  addTimes(script);
  addFlags(script);
  return script;
}
