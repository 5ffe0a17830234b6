import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ATTR, ATTR_OUT, DirentType, ENTRY_OUT, Opcode, STATX, STATX_OUT } from '../../../service/fuse/abi.ts';
import { VALID_SEC } from '../../../service/fuse/session.ts';
import { Errno } from '../../../shared/errno.ts';
import { ImageDirectory, imageBytes } from '../../support/ext4-image.ts';
import { body, cString, type Field, u32, u64, zeros } from '../../support/fuse-client.ts';
import { type ListedEntry, type MountedImage, mountBytes, parseDirectory } from '../../support/mounted-image.ts';

const images = new ImageDirectory();
const NOBODY = { uid: 65534, gid: 65534 };
const LARGEST_OFFSET: Field = new Uint8Array([255, 255, 255, 255, 255, 255, 255, 127]);
let pristine: Uint8Array;
let withoutXattrs: Uint8Array;
let image: MountedImage;

const LONG_TARGET = 'x'.repeat(200);
const LONG_NAME = 'n'.repeat(255);

beforeAll(() => {
  const content = images.file('content');
  writeFileSync(content, Buffer.alloc(5000, 'data'));
  writeFileSync(images.file('tiny'), 'tiny');
  writeFileSync(images.file('acl'), ACL);
  const path = images.make(
    16 * 2 ** 20,
    ['-b', '1024', '-I', '256', '-O', 'inline_data,^has_journal', '-L', 'the label', '-U', UUID],
    [
      `write ${content} file`,
      `write ${images.file('tiny')} tiny`,
      'mkdir dir',
      'cd dir',
      `write ${images.file('tiny')} ${LONG_NAME}`,
      'symlink fast ../file',
      `symlink slow ${LONG_TARGET}`,
      'mknod fifo p',
      'mknod block b 8 17',
      'cd /',
      'set_inode_field file uid 70000',
      'set_inode_field file gid 80000',
      'set_inode_field file mode 0100640',
      'set_inode_field file generation 0xdeadbeef',
      'set_inode_field file crtime 20200102030405',
      'ea_set file user.note value',
      'ea_set file trusted.secret s',
      'ea_set file security.x y',
      `ea_set -f ${images.file('acl')} dir system.posix_acl_access`,
      'ea_set dir user.about value',
    ],
  );
  pristine = imageBytes(path);
  withoutXattrs = imageBytes(images.make(4 * 2 ** 20, ['-O', '^ext_attr,^has_journal']));
});

/** As setxattr(2) takes it: version 2, then tag, permissions and id of owner, user 1000, group, mask and others. */
const ACL = new Uint8Array(
  [
    [2, 0],
    [1, 7, 0xffffffff],
    [2, 5, 1000],
    [4, 5, 0xffffffff],
    [16, 7, 0xffffffff],
    [32, 5, 0xffffffff],
  ].flatMap(([tag, permissions, id]) => [
    ...u16Bytes(tag),
    ...u16Bytes(permissions),
    ...(id === undefined ? [] : u32Bytes(id)),
  ]),
);

function u16Bytes(value: number): number[] {
  return [value & 255, value >>> 8];
}

function u32Bytes(value: number): number[] {
  return [...u16Bytes(value & 0xffff), ...u16Bytes(value >>> 16)];
}

const UUID = '11223344-5566-7788-99aa-bbccddeeff00';

afterAll(() => images.remove());

beforeEach(() => {
  image = mountBytes(pristine);
});

const call = (opcode: number, nodeId: number, ...fields: Field[]) => image.client.call(opcode, nodeId, body(...fields));
const readBody = (offset: Field, size: number): Uint8Array => body(u64(0), offset, u32(size), zeros(20));
const text = (bytes: Uint8Array): string => new TextDecoder('latin1').decode(bytes);

describe('LOOKUP', () => {
  it('answers with the inode number as node id, its generation and day-long validity', () => {
    const { view } = call(Opcode.LOOKUP, 1, cString('file'));
    const ino = Number(view.getBigUint64(ENTRY_OUT.attr + ATTR.ino, true));
    expect(ino).toBeGreaterThan(10);
    expect(Number(view.getBigUint64(ENTRY_OUT.nodeid, true))).toBe(ino);
    expect(view.getBigUint64(ENTRY_OUT.generation, true)).toBe(0xdeadbeefn);
    expect(Number(view.getBigUint64(ENTRY_OUT.entry_valid, true))).toBe(VALID_SEC);
    expect(Number(view.getBigUint64(ENTRY_OUT.attr_valid, true))).toBe(VALID_SEC);
  });

  it('answers an absent name with node id 0, to be remembered as long', () => {
    const reply = call(Opcode.LOOKUP, 1, cString('absent'));
    expect(reply.errno).toBe(0);
    expect(reply.payload.length).toBe(ENTRY_OUT.SIZE);
    expect(reply.view.getBigUint64(ENTRY_OUT.nodeid, true)).toBe(0n);
    expect(Number(reply.view.getBigUint64(ENTRY_OUT.entry_valid, true))).toBe(VALID_SEC);
  });

  it('finds names of 255 bytes and refuses longer ones', () => {
    const directory = image.walk('dir');
    expect(call(Opcode.LOOKUP, directory, cString(LONG_NAME)).errno).toBe(0);
    expect(call(Opcode.LOOKUP, directory, cString(`${LONG_NAME}n`)).errno).toBe(Errno.ENAMETOOLONG);
  });

  it('finds nothing in a file', () => {
    expect(call(Opcode.LOOKUP, image.walk('file'), cString('x')).errno).toBe(Errno.ENOTDIR);
  });

  it('revives any node by "." and finds parents by ".."', () => {
    const directory = image.walk('dir');
    const file = image.walk('file');
    const nodeIdOf = (nodeId: number, name: string) =>
      Number(call(Opcode.LOOKUP, nodeId, cString(name)).view.getBigUint64(0, true));
    expect(nodeIdOf(file, '.')).toBe(file);
    expect(nodeIdOf(directory, '.')).toBe(directory);
    expect(nodeIdOf(directory, '..')).toBe(1);
    expect(nodeIdOf(1, '.')).toBe(1);
    expect(nodeIdOf(1, '..')).toBe(1);
  });

  it('knows no node that was never handed out', () => {
    for (const nodeId of [0, 2, 3, 8, 4000, 2 ** 32, 2 ** 53]) {
      expect(call(Opcode.LOOKUP, nodeId, cString('.')).errno).toBe(Errno.ESTALE);
      expect(call(Opcode.GETATTR, nodeId, zeros(16)).errno).toBe(Errno.ESTALE);
    }
    expect(image.log.lines).toEqual([]);
  });
});

describe('GETATTR and STATX', () => {
  it('report size, owner, mode and blocks as the inode has them', () => {
    const { view } = call(Opcode.GETATTR, image.walk('file'), zeros(16));
    const at = ATTR_OUT.attr;
    expect(Number(view.getBigUint64(ATTR_OUT.attr_valid, true))).toBe(VALID_SEC);
    expect(view.getBigUint64(at + ATTR.size, true)).toBe(5000n);
    expect(view.getBigUint64(at + ATTR.blocks, true)).toBe(10n);
    expect(view.getUint32(at + ATTR.mode, true)).toBe(0o100640);
    expect(view.getUint32(at + ATTR.uid, true)).toBe(70000);
    expect(view.getUint32(at + ATTR.gid, true)).toBe(80000);
    expect(view.getUint32(at + ATTR.nlink, true)).toBe(1);
    expect(view.getUint32(at + ATTR.blksize, true)).toBe(1024);
  });

  it('report device numbers in the form that the kernel takes', () => {
    const { view } = call(Opcode.GETATTR, image.walk('dir/block'), zeros(16));
    expect(view.getUint32(ATTR_OUT.attr + ATTR.rdev, true)).toBe(0x811);
  });

  it('include the birth time', () => {
    const { view } = call(Opcode.STATX, image.walk('file'), zeros(24));
    const at = STATX_OUT.stat;
    expect(view.getUint32(at + STATX.mask, true)).toBe(0xfff);
    expect(Number(view.getBigInt64(at + STATX.btime, true))).toBe(Date.UTC(2020, 0, 2, 3, 4, 5) / 1000);
    expect(view.getUint16(at + STATX.mode, true)).toBe(0o100640);
    expect(view.getUint32(at + STATX.uid, true)).toBe(70000);
    expect(view.getBigUint64(at + STATX.size, true)).toBe(5000n);
    expect(view.getBigUint64(at + STATX.attributes_mask, true)).toBe(0x100874n);
  });

  it('agree about times before 1970', () => {
    const inode = image.filesystem.inode(image.walk('file'));
    inode.mtimeSec = -5;
    const { view } = call(Opcode.GETATTR, inode.ino, zeros(16));
    expect(view.getBigInt64(ATTR_OUT.attr + ATTR.mtime, true)).toBe(-5n);
    expect(call(Opcode.STATX, inode.ino, zeros(24)).view.getBigInt64(STATX_OUT.stat + STATX.mtime, true)).toBe(-5n);
  });

  it('show the flags that statx knows', () => {
    const inode = image.filesystem.inode(image.walk('file'));
    inode.flags |= 0x10 | 0x20 | 0x40;
    const { view } = call(Opcode.STATX, inode.ino, zeros(24));
    expect(view.getBigUint64(STATX_OUT.stat + STATX.attributes, true)).toBe(0x70n);
  });
});

describe('READLINK', () => {
  it('gives fast and slow targets', () => {
    expect(text(call(Opcode.READLINK, image.walk('dir/fast')).payload)).toBe('../file');
    expect(text(call(Opcode.READLINK, image.walk('dir/slow')).payload)).toBe(LONG_TARGET);
  });

  it('refuses what is no symlink', () => {
    expect(call(Opcode.READLINK, image.walk('file')).errno).toBe(Errno.EINVAL);
  });
});

describe('OPEN and OPENDIR', () => {
  it('end all opens where the kernel understands that', () => {
    expect(call(Opcode.OPEN, image.walk('file'), zeros(8)).errno).toBe(Errno.ENOSYS);
    expect(call(Opcode.OPENDIR, 1, zeros(8)).errno).toBe(Errno.ENOSYS);
  });

  it('keep the caches where it does not', () => {
    image = mountBytes(pristine, 0);
    expect(call(Opcode.OPEN, image.walk('file'), zeros(8)).view.getUint32(8, true)).toBe(2);
    expect(call(Opcode.OPENDIR, 1, zeros(8)).view.getUint32(8, true)).toBe(2 | 8);
  });
});

describe('READ', () => {
  it('leaves the data of files to the data path, cut at the end of the file', () => {
    const file = image.walk('file');
    expect(image.client.send(Opcode.READ, file, readBody(u64(4096), 4096))).toBeNull();
    expect(image.data.reads).toMatchObject([{ ino: file, offsetBytes: 4096, sizeBytes: 904 }]);
  });

  it('answers from memory when the data path cannot', () => {
    image.data.available = false;
    const reply = image.client.call(Opcode.READ, image.walk('file'), readBody(u64(4998), 4096));
    expect(text(reply.payload)).toBe('ta');
  });

  it('answers inline files from memory', () => {
    const reply = image.client.call(Opcode.READ, image.walk('tiny'), readBody(u64(1), 4096));
    expect(text(reply.payload)).toBe('iny');
    expect(image.data.reads).toEqual([]);
  });

  it.each([
    ['the end', u64(5000)],
    ['far behind the end', u64(2 ** 45)],
    ['the largest offset', LARGEST_OFFSET],
  ])('finds nothing at %s', (_where, offset) => {
    const reply = image.client.call(Opcode.READ, image.walk('file'), readBody(offset, 4096));
    expect(reply).toMatchObject({ errno: 0, payload: new Uint8Array(0) });
    expect(image.data.reads).toEqual([]);
  });

  it('refuses directories, other kinds, and sizes that were not agreed on', () => {
    expect(image.client.call(Opcode.READ, 1, readBody(u64(0), 4096)).errno).toBe(Errno.EISDIR);
    expect(image.client.call(Opcode.READ, image.walk('dir/fifo'), readBody(u64(0), 1)).errno).toBe(Errno.EINVAL);
    expect(image.client.call(Opcode.READ, image.walk('file'), readBody(u64(0), 2 ** 31)).errno).toBe(Errno.EINVAL);
  });
});

function list(opcode: number, nodeId: number, sizeBytes: number): ListedEntry[] {
  const entries: ListedEntry[] = [];
  let next = 0n;
  for (let round = 0; round < 10_000; round++) {
    const offset = new Uint8Array(BigUint64Array.of(next).buffer);
    const reply = image.client.call(opcode, nodeId, readBody(offset, sizeBytes));
    expect(reply.errno).toBe(0);
    expect(reply.payload.length).toBeLessThanOrEqual(sizeBytes);
    const batch = parseDirectory(reply, opcode === Opcode.READDIRPLUS);
    if (batch.length === 0) return entries;
    entries.push(...batch);
    next = batch[batch.length - 1].next;
  }
  throw new Error('the directory does not end');
}

describe('READDIR and READDIRPLUS', () => {
  const NAMES = ['.', '..', 'block', 'fast', 'fifo', LONG_NAME, 'slow'];

  it.each([
    ['READDIR', Opcode.READDIR, 300],
    ['READDIR', Opcode.READDIR, 65536],
    ['READDIRPLUS', Opcode.READDIRPLUS, 420],
    ['READDIRPLUS', Opcode.READDIRPLUS, 2 ** 32 - 1],
  ])('%s lists every name once, in replies of any size', (_name, opcode, sizeBytes) => {
    const entries = list(opcode, image.walk('dir'), sizeBytes);
    expect(entries.map((entry) => entry.name).sort()).toEqual(NAMES);
    const byName = new Map(entries.map((entry) => [entry.name, entry]));
    expect(byName.get('fast')?.type).toBe(DirentType.SYMLINK);
    expect(byName.get('fifo')?.type).toBe(DirentType.FIFO);
    expect(byName.get('block')?.type).toBe(DirentType.BLOCK);
    expect(byName.get(LONG_NAME)?.type).toBe(DirentType.REGULAR);
    expect(byName.get('..')?.type).toBe(DirentType.DIRECTORY);
  });

  it('READDIRPLUS carries entries with attributes, except for "." and ".."', () => {
    const directory = image.walk('dir');
    for (const entry of list(Opcode.READDIRPLUS, directory, 4096)) {
      const isDot = entry.name === '.' || entry.name === '..';
      expect(entry.nodeId).toBe(isDot ? 0 : entry.ino);
      expect(entry.mode >>> 12).toBe(isDot ? 0 : entry.type);
    }
  });

  it('continue behind any entry', () => {
    const all = list(Opcode.READDIR, image.walk('dir'), 65536);
    for (let index = 0; index < all.length; index++) {
      const offset = new Uint8Array(BigUint64Array.of(all[index].next).buffer);
      const rest = parseDirectory(image.client.call(Opcode.READDIR, image.walk('dir'), readBody(offset, 65536)), false);
      expect(rest.map((entry) => entry.name)).toEqual(all.slice(index + 1).map((entry) => entry.name));
    }
  });

  it('refuse a size that takes not even one entry, which would look like the end', () => {
    for (const opcode of [Opcode.READDIR, Opcode.READDIRPLUS]) {
      expect(image.client.call(opcode, 1, readBody(u64(0), 16)).errno).toBe(Errno.EINVAL);
    }
  });

  it('refuse what is no directory', () => {
    expect(image.client.call(Opcode.READDIRPLUS, image.walk('file'), readBody(u64(0), 4096)).errno).toBe(Errno.ENOTDIR);
  });

  it('end at the largest offset', () => {
    expect(image.client.call(Opcode.READDIR, 1, readBody(LARGEST_OFFSET, 4096)).payload.length).toBe(0);
  });

  it('READDIRPLUS lists the name of an inode that is damaged, and says so once', () => {
    const damaged = image.walk('file');
    const { tableBlock, tableOffset } = image.filesystem.inode(damaged);
    const bytes = pristine.slice();
    bytes[tableBlock * 1024 + tableOffset + 4] ^= 0xff; // i_size, so the checksum is wrong
    image = mountBytes(bytes);
    const entries = list(Opcode.READDIRPLUS, 1, 65536);
    expect(entries.find((entry) => entry.name === 'file')).toMatchObject({ ino: damaged, nodeId: 0, type: 8 });
    expect(entries.find((entry) => entry.name === 'tiny')?.nodeId).toBeGreaterThan(0);
    expect(image.log.lines.length).toBe(1);
    expect(image.log.lines[0]).toMatch(
      new RegExp(`^listing inode 2: corrupt inode, inode ${damaged}, block \\d+: bad checksum`),
    );
    expect(call(Opcode.LOOKUP, 1, cString('file')).errno).toBe(Errno.EUCLEAN);
    expect(call(Opcode.GETATTR, damaged, zeros(16)).errno).toBe(Errno.EUCLEAN);
  });
});

describe('STATFS', () => {
  it('counts in blocks of the file system', () => {
    const { view } = call(Opcode.STATFS, 1);
    const { superblock } = image.filesystem;
    expect(view.getBigUint64(8, true)).toBe(BigInt(superblock.freeBlocksCount));
    expect(view.getBigUint64(0, true)).toBeLessThan(BigInt(superblock.blocksCount));
    expect(view.getBigUint64(24, true)).toBe(BigInt(superblock.inodesCount));
    expect(view.getBigUint64(32, true)).toBe(BigInt(superblock.freeInodesCount));
    expect([view.getUint32(40, true), view.getUint32(44, true), view.getUint32(48, true)]).toEqual([1024, 255, 1024]);
  });
});

describe('GETXATTR and LISTXATTR', () => {
  const getxattr = (name: string, size: number) =>
    call(Opcode.GETXATTR, image.walk('file'), u32(size), u32(0), cString(name));
  const listxattr = (size: number, caller = { uid: 0, gid: 0 }) =>
    image.client.call(Opcode.LISTXATTR, image.walk('file'), body(u32(size), u32(0)), caller);

  it('give a value, its size when asked with size 0, and ERANGE when it does not fit', () => {
    expect(text(getxattr('user.note', 100).payload)).toBe('value');
    expect(getxattr('user.note', 0).view.getUint32(0, true)).toBe(5);
    expect(getxattr('user.note', 5).errno).toBe(0);
    expect(getxattr('user.note', 4).errno).toBe(Errno.ERANGE);
  });

  it('tell absent attributes from kinds that ext4 does not have', () => {
    expect(getxattr('user.other', 100).errno).toBe(Errno.ENODATA);
    expect(getxattr('system.posix_acl_access', 100).errno).toBe(Errno.ENODATA);
    expect(getxattr('system.data', 100).errno).toBe(Errno.EOPNOTSUPP);
    expect(getxattr('whatever', 100).errno).toBe(Errno.EOPNOTSUPP);
  });

  it('know no access control lists on a mount without acl', () => {
    const mounted = mountBytes(pristine, undefined, false);
    const node = mounted.walk('dir');
    const acl = (size: number) =>
      mounted.client.call(Opcode.GETXATTR, node, body(u32(size), u32(0), cString('system.posix_acl_access')));
    expect(acl(100).errno).toBe(Errno.EOPNOTSUPP);
    const names = mounted.client.call(Opcode.LISTXATTR, node, body(u32(1000), u32(0)), { uid: 0, gid: 0 });
    expect(text(names.payload)).toBe('user.about\0');
    const shown = call(Opcode.LISTXATTR, image.walk('dir'), u32(1000), u32(0));
    expect(text(shown.payload)).toContain('system.posix_acl_access\0');
  });

  it('list names with a NUL each, "trusted." for the superuser only', () => {
    const names = (payload: Uint8Array) => text(payload).split('\0').sort();
    expect(names(listxattr(1000).payload)).toEqual(['', 'security.x', 'trusted.secret', 'user.note']);
    const visible = listxattr(1000, NOBODY).payload;
    expect(names(visible)).toEqual(['', 'security.x', 'user.note']);
    expect(listxattr(0, NOBODY).view.getUint32(0, true)).toBe(visible.length);
    expect(listxattr(10).errno).toBe(Errno.ERANGE);
  });

  it('make the kernel stop asking when the file system has no attributes', () => {
    image = mountBytes(withoutXattrs);
    expect(call(Opcode.GETXATTR, 1, zeros(8), cString('user.a')).errno).toBe(Errno.ENOSYS);
    expect(call(Opcode.LISTXATTR, 1, zeros(8)).errno).toBe(Errno.ENOSYS);
  });
});

describe('ACCESS', () => {
  const access = (mask: number, caller: { uid: number; gid: number }) =>
    image.client.call(Opcode.ACCESS, image.walk('file'), body(u32(mask), u32(0)), caller).errno;

  it('goes by owner, group and others', () => {
    expect(access(4, { uid: 70000, gid: 1 })).toBe(0);
    expect(access(4, { uid: 1, gid: 80000 })).toBe(0);
    expect(access(4, NOBODY)).toBe(Errno.EACCES);
    expect(access(0, NOBODY)).toBe(0);
    expect(access(1, { uid: 70000, gid: 1 })).toBe(Errno.EACCES);
  });

  it('lets the superuser read all, and execute only what anybody may', () => {
    expect(access(4, { uid: 0, gid: 0 })).toBe(0);
    expect(access(1, { uid: 0, gid: 0 })).toBe(Errno.EACCES);
    expect(image.client.call(Opcode.ACCESS, 1, body(u32(5), u32(0))).errno).toBe(0);
  });

  it('lets nobody write', () => {
    expect(access(2, { uid: 0, gid: 0 })).toBe(Errno.EROFS);
  });
});

describe('LSEEK', () => {
  const lseek = (offset: Field, whence: number) =>
    call(Opcode.LSEEK, image.walk('file'), u64(0), offset, u32(whence), u32(0));

  it('finds data, and the hole behind it', () => {
    expect(lseek(u64(100), 3).view.getBigUint64(0, true)).toBe(100n);
    expect(lseek(u64(100), 4).view.getBigUint64(0, true)).toBe(5000n);
  });

  it('finds nothing at and behind the end', () => {
    for (const whence of [3, 4]) {
      expect(lseek(u64(5000), whence).errno).toBe(Errno.ENXIO);
      expect(lseek(LARGEST_OFFSET, whence).errno).toBe(Errno.ENXIO);
    }
  });

  it('refuses other whences', () => {
    expect(lseek(u64(0), 0).errno).toBe(Errno.EINVAL);
  });
});

describe('IOCTL', () => {
  const ioctl = (path: string, command: number, outBytes: number) =>
    call(Opcode.IOCTL, image.walk(path), u64(0), u32(0), u32(command), u64(0), u32(0), u32(outBytes));

  it('gives flags and generation as an int, whatever size the command says', () => {
    for (const [command, outBytes] of [
      [0x80086601, 8],
      [0x80046601, 4],
    ]) {
      const reply = ioctl('file', command, outBytes);
      expect(reply.payload.length).toBe(16 + 4);
      expect(reply.view.getUint32(16, true)).toBe(0x80000);
    }
    for (const command of [0x80087601, 0x80047601, 0x80086603, 0x80046603]) {
      expect(ioctl('file', command, command === 0x80087601 ? 8 : 4).view.getUint32(16, true)).toBe(0xdeadbeef);
    }
  });

  it('gives the extended flags', () => {
    image.filesystem.inode(image.walk('file')).flags |= 0x8 | 0x10 | 0x20 | 0x40 | 0x80;
    const reply = ioctl('file', 0x801c581f, 28);
    expect(reply.payload.length).toBe(16 + 28);
    expect(reply.view.getUint32(16, true)).toBe(0xf8);
  });

  it('gives label and UUID of the file system', () => {
    const label = ioctl('dir', 0x81009431, 256).payload.subarray(16);
    expect(text(label.subarray(0, label.indexOf(0)))).toBe('the label');
    expect(label.length).toBe(256);
    const uuid = ioctl('dir', 0x80111500, 17).payload.subarray(16);
    expect(uuid[0]).toBe(16);
    expect(Buffer.from(uuid.subarray(1)).toString('hex')).toBe(UUID.replaceAll('-', ''));
  });

  it('refuses buffers that are too small, changes, and what it does not know', () => {
    expect(ioctl('file', 0x80086601, 3).errno).toBe(Errno.EINVAL);
    expect(ioctl('file', 0x81009431, 255).errno).toBe(Errno.EINVAL);
    for (const command of [0x40086602, 0x401c5820, 0x41009432, 0xc0185879]) {
      expect(ioctl('file', command, 0).errno).toBe(Errno.EROFS);
    }
    expect(ioctl('file', 0x5401, 0).errno).toBe(Errno.ENOTTY);
    expect(ioctl('file', 0xffffffff, 2 ** 32 - 1).errno).toBe(Errno.ENOTTY);
  });
});

describe('BMAP', () => {
  const bmap = (block: Field, blockSize: number) =>
    call(Opcode.BMAP, image.walk('file'), block, u32(blockSize), u32(0));

  it('tells where a block lies, and 0 behind the end', () => {
    expect(Number(bmap(u64(0), 1024).view.getBigUint64(0, true))).toBeGreaterThan(0);
    expect(bmap(u64(5), 1024).view.getBigUint64(0, true)).toBe(0n);
    expect(bmap(LARGEST_OFFSET, 1024).view.getBigUint64(0, true)).toBe(0n);
  });

  it('wants the block size of the file system', () => {
    expect(bmap(u64(0), 512).errno).toBe(Errno.EINVAL);
  });
});

describe('all that modifies', () => {
  it.each([
    ['SETATTR', zeros(88)],
    ['UNLINK', cString('file')],
    ['WRITE', zeros(48)],
    ['SETXATTR', body(zeros(8), cString('user.a'))],
    ['RENAME2', body(zeros(16), cString('a'), cString('b'))],
    ['CREATE', body(zeros(16), cString('new'))],
    ['TMPFILE', body(zeros(16), cString('new'))],
    ['FALLOCATE', zeros(32)],
  ] as const)('%s is EROFS', (name, content) => {
    expect(image.client.call(Opcode[name], 1, content).errno).toBe(Errno.EROFS);
  });
});
