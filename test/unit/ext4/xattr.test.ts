import { writeFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { CorruptionError, FsError } from '../../../service/ext4/errors.ts';
import type { Inode } from '../../../service/ext4/inode.ts';
import { Incompat } from '../../../service/ext4/layout/features.ts';
import { FileType, InodeFlag } from '../../../service/ext4/layout/inode.ts';
import { getXattr, listXattrs } from '../../../service/ext4/xattr.ts';
import { Errno } from '../../../shared/errno.ts';
import { bytesOf } from '../../support/directory-builder.ts';
import { ImageDirectory, openImage } from '../../support/ext4-image.ts';
import { FakeExt4Context } from '../../support/fake-ext4-context.ts';
import {
  attributeBlock,
  sealAttributeBlock,
  setBlockAttributes,
  setInodeAttributes,
} from '../../support/xattr-builder.ts';

const images = new ImageDirectory();
afterAll(() => images.remove());

const text = (bytes: Uint8Array | null): string | null => (bytes === null ? null : Buffer.from(bytes).toString());

function file(options = {}): { context: FakeExt4Context; inode: Inode } {
  const context = new FakeExt4Context(options);
  return { context, inode: context.addInode(60, FileType.REGULAR | 0o644) };
}

const get = (context: FakeExt4Context, inode: Inode, name: string): string | null =>
  text(getXattr(context, inode, bytesOf(name)));
const list = (context: FakeExt4Context, inode: Inode): string[] =>
  (text(listXattrs(context, inode)) ?? '').split('\0').slice(0, -1);

describe('attributes in the inode and in a block', () => {
  it('are read by full name and listed in storage order, the inode first', () => {
    const { context, inode } = file();
    setInodeAttributes(context, inode, [
      { index: 1, name: 'short', value: bytesOf('one') },
      { index: 6, name: 'capability', value: bytesOf('cap') },
    ]);
    setBlockAttributes(context, inode, [
      { index: 1, name: 'empty' },
      { index: 4, name: 'overlay', value: bytesOf('trusted value') },
      { index: 10, name: 'author', value: bytesOf('me') },
    ]);
    expect(list(context, inode)).toEqual([
      'user.short',
      'security.capability',
      'user.empty',
      'trusted.overlay',
      'gnu.author',
    ]);
    expect(get(context, inode, 'user.short')).toBe('one');
    expect(get(context, inode, 'security.capability')).toBe('cap');
    expect(get(context, inode, 'user.empty')).toBe('');
    expect(get(context, inode, 'trusted.overlay')).toBe('trusted value');
    expect(get(context, inode, 'gnu.author')).toBe('me');
    expect(get(context, inode, 'user.shor')).toBeNull();
    expect(get(context, inode, 'user.shorter')).toBeNull();
    expect(get(context, inode, 'trusted.short')).toBeNull();
  });

  it('are none without either place', () => {
    const { context, inode } = file();
    expect(list(context, inode)).toEqual([]);
    expect(get(context, inode, 'user.a')).toBeNull();
  });

  it('are not looked for in an inode that has no room for them', () => {
    const { context, inode } = file();
    setInodeAttributes(context, inode, [{ index: 1, name: 'a' }]);
    inode.extraSizeBytes = 0;
    expect(list(context, inode)).toEqual([]);
    inode.extraSizeBytes = 124;
    expect(list(context, inode)).toEqual([]);
  });

  it('keep what belongs to the file system to themselves', () => {
    const { context, inode } = file();
    setInodeAttributes(context, inode, [
      { index: 7, name: 'data', value: bytesOf('x') },
      { index: 9, name: 'c' },
      { index: 200, name: 'strange' },
      { index: 1, name: 'a' },
    ]);
    expect(list(context, inode)).toEqual(['user.a']);
  });

  it('give ACLs in the form of user space', () => {
    const { context, inode } = file();
    const acl = Uint8Array.of(1, 0, 0, 0, 1, 0, 6, 0, 4, 0, 4, 0, 0x20, 0, 4, 0);
    setInodeAttributes(context, inode, [{ index: 2, name: '', value: acl }]);
    expect(list(context, inode)).toEqual(['system.posix_acl_access']);
    expect(getXattr(context, inode, bytesOf('system.posix_acl_access'))?.length).toBe(4 + 3 * 8);
    expect(getXattr(context, inode, bytesOf('system.posix_acl_default'))).toBeNull();
  });

  it('have names of known kinds only', () => {
    const { context, inode } = file();
    for (const name of ['', 'a', 'user', 'system.data', 'system.posix_acl_accessx', 'other.x', 'c']) {
      const refused = expect.objectContaining({ errno: Errno.EOPNOTSUPP });
      expect(() => get(context, inode, name)).toThrow(FsError);
      expect(() => get(context, inode, name)).toThrow(refused);
    }
    expect(() => get(context, inode, 'user.')).toThrow(expect.objectContaining({ errno: Errno.EINVAL }));
  });
});

describe('damaged attributes', () => {
  const ENTRY = 32;
  const CASES: readonly [string, RegExp, (block: Uint8Array, view: DataView) => void][] = [
    ['a wrong magic', /magic/, (block) => block.fill(0, 2, 3)],
    ['several blocks', /h_blocks 2/, (block) => block.fill(2, 8, 9)],
    ['no references', /h_refcount 0/, (block) => block.fill(0, 4, 5)],
    ['too many references', /h_refcount 1025/, (_, view) => view.setUint32(4, 1025, true)],
    ['names without an end', /without an end/, (block) => block.fill(0xff, ENTRY + 20, 1024)],
    ['a NUL in a name', /without an end/, (block) => block.fill(0, ENTRY + 17, ENTRY + 18)],
    ['a value behind the end', /past the end/, (_, view) => view.setUint16(ENTRY + 2, 1022, true)],
    ['a value over the names', /overlaps the names/, (_, view) => view.setUint16(ENTRY + 2, 40, true)],
    ['a value over the end mark', /overlaps the names/, (_, view) => view.setUint16(ENTRY + 2, 55, true)],
    ['a value too large', /value of 65537/, (_, view) => view.setUint32(ENTRY + 8, 65537, true)],
    ['a value near 2^32 bytes', /value of 4294967295/, (_, view) => view.setUint32(ENTRY + 8, 0xffffffff, true)],
    ['an inode without the feature', /without the ea_inode/, (_, view) => view.setUint32(ENTRY + 4, 70, true)],
  ];
  for (const [what, finding, change] of CASES) {
    it(`are refused for ${what}`, () => {
      const { context, inode } = file();
      inode.xattrBlock = context.allocate();
      const block = attributeBlock(context, inode.xattrBlock, [{ index: 1, name: 'abc', value: bytesOf('12345') }]);
      change(block, new DataView(block.buffer));
      context.writeBlock(inode.xattrBlock, sealAttributeBlock(context, inode.xattrBlock, block));
      expect(() => get(context, inode, 'user.abc')).toThrow(CorruptionError);
      expect(() => list(context, inode)).toThrow(finding);
      expect(() => list(context, inode)).toThrow(expect.objectContaining({ inode: 60, block: inode.xattrBlock }));
    });
  }

  it('are refused for a wrong checksum, and for the checksum of another place', () => {
    const { context, inode } = file();
    inode.xattrBlock = context.allocate();
    context.writeBlock(inode.xattrBlock, attributeBlock(context, inode.xattrBlock + 1, [{ index: 1, name: 'a' }]));
    expect(() => list(context, inode)).toThrow(/checksum 0x/);
  });

  it('are refused when their block is none of the file system', () => {
    const { context, inode } = file();
    inode.xattrBlock = 2 ** 40;
    expect(() => list(context, inode)).toThrow(/behind the end/);
  });

  it('are refused in the inode too', () => {
    const { context, inode } = file();
    setInodeAttributes(context, inode, [{ index: 1, name: 'abc', value: bytesOf('12345') }]);
    context.writeBlock(inode.tableBlock, Uint8Array.of(0xff), inode.tableOffset + 128 + 32 + 4 + 3);
    expect(() => get(context, inode, 'user.abc')).toThrow(/attributes in the inode.*past the end/);
  });
});

describe('a value in an inode of its own', () => {
  const FEATURES = { incompat: Incompat.FILETYPE | Incompat.EA_INODE };
  const VALUE = Uint8Array.from({ length: 3000 }, (_, index) => index % 251);

  function large(): { context: FakeExt4Context; inode: Inode; value: Inode; hash: number } {
    const { context, inode } = file(FEATURES);
    const value = context.addInode(70, FileType.REGULAR, InodeFlag.EA_INODE);
    for (let lblk = 0; lblk < 3; lblk++) {
      const block = new Uint8Array(1024);
      block.set(VALUE.subarray(lblk * 1024, (lblk + 1) * 1024));
      context.setFileBlock(value, lblk, block);
    }
    value.sizeBytes = VALUE.length;
    const content = context.checksum.crc32c(context.checksum.seed, VALUE, 0, VALUE.length);
    value.atimeSec = content | 0;
    let hash = 0;
    for (const byte of bytesOf('big')) hash = (hash << 5) ^ (hash >>> 27) ^ byte;
    hash = ((hash << 16) ^ (hash >>> 16) ^ content) >>> 0;
    return { context, inode, value, hash };
  }

  const refer = (hash: number, size = VALUE.length) => [{ index: 1, name: 'big', inode: 70, size, hash }];

  it('is read from there', () => {
    const { context, inode, hash } = large();
    setInodeAttributes(context, inode, refer(hash));
    expect(list(context, inode)).toEqual(['user.big']);
    expect(getXattr(context, inode, bytesOf('user.big'))).toEqual(VALUE);
  });

  it('is refused when hash, size, mark or content are wrong', () => {
    const wrongHash = large();
    setInodeAttributes(wrongHash.context, wrongHash.inode, refer(wrongHash.hash ^ 1));
    expect(() => get(wrongHash.context, wrongHash.inode, 'user.big')).toThrow(/does not fit name and value/);
    const wrongSize = large();
    setInodeAttributes(wrongSize.context, wrongSize.inode, refer(wrongSize.hash, 2999));
    expect(() => get(wrongSize.context, wrongSize.inode, 'user.big')).toThrow(/size 3000, expected 2999/);
    const unmarked = large();
    unmarked.value.flags = 0;
    setInodeAttributes(unmarked.context, unmarked.inode, refer(unmarked.hash));
    expect(() => get(unmarked.context, unmarked.inode, 'user.big')).toThrow(/not marked/);
    const changed = large();
    changed.context.writeBlock(changed.context.pblkOf(changed.value, 1), Uint8Array.of(0xff), 5);
    setInodeAttributes(changed.context, changed.inode, refer(changed.hash));
    expect(() => get(changed.context, changed.inode, 'user.big')).toThrow(/content hash/);
    const hole = large();
    hole.context.punchHole(hole.value, 1);
    setInodeAttributes(hole.context, hole.inode, refer(hole.hash));
    expect(() => get(hole.context, hole.inode, 'user.big')).toThrow(/hole at 1024/);
  });

  it('needs no hashes in the old style, where it points back at its owner', () => {
    const { context, inode, value } = large();
    value.mtimeSec = inode.ino;
    value.generation = inode.generation;
    setInodeAttributes(context, inode, refer(0));
    expect(getXattr(context, inode, bytesOf('user.big'))).toEqual(VALUE);
  });
});

describe('attributes set by debugfs', () => {
  it('are read as they were set, small and large', () => {
    const values = { small: 'x', medium: 'm'.repeat(700), 'in-an-inode': 'l'.repeat(900) };
    const commands = ['write /dev/null file'];
    for (const [name, value] of Object.entries(values)) {
      const path = images.file(name);
      writeFileSync(path, value);
      commands.push(`ea_set -f ${path} file user.${name}`);
    }
    const image = images.make(8 * 2 ** 20, ['-b', '1024', '-O', 'ea_inode'], commands);
    const filesystem = openImage(image);
    const name = bytesOf('file');
    const inode = filesystem.inode(filesystem.lookup(filesystem.inode(2), name, 0, name.length));
    for (const [key, value] of Object.entries(values)) {
      expect(text(filesystem.getXattr(inode, bytesOf(`user.${key}`)))).toBe(value);
    }
    const listed = (text(filesystem.listXattrs(inode)) ?? '').split('\0').slice(0, -1);
    expect(listed.sort()).toEqual(
      Object.keys(values)
        .map((key) => `user.${key}`)
        .sort(),
    );
  });
});
