import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { accessControlListToUser } from '../../service/ext4/acl.ts';
import { readInlineData } from '../../service/ext4/inline-data.ts';
import { Incompat } from '../../service/ext4/layout/features.ts';
import { FileType } from '../../service/ext4/layout/inode.ts';
import { getXattr, listXattrs } from '../../service/ext4/xattr.ts';
import { refusedOr } from '../support/directory-arbitraries.ts';
import { bytesOf } from '../support/directory-builder.ts';
import { FakeExt4Context, INLINE } from '../support/fake-ext4-context.ts';
import { sealAttributeBlock, setBlockAttributes, setInodeAttributes } from '../support/xattr-builder.ts';

const RUNS = 300;

const value = fc.uint8Array({ maxLength: 50 });
const attributes = (maxLength: number) =>
  fc.uniqueArray(fc.record({ index: fc.constantFrom(1, 4, 6), name: fc.stringMatching(/^[a-z]{1,8}$/), value }), {
    maxLength,
    selector: ({ index, name }) => `${index}${name}`,
  });

const PREFIX: Readonly<Record<number, string>> = { 1: 'user.', 4: 'trusted.', 6: 'security.' };

describe('extended attributes', () => {
  it('are read and listed as they were written', () => {
    fc.assert(
      fc.property(attributes(1), attributes(8), (inInode, inBlock) => {
        const context = new FakeExt4Context();
        const inode = context.addInode(60, FileType.REGULAR);
        setInodeAttributes(context, inode, inInode);
        setBlockAttributes(context, inode, inBlock);
        const all = [...inInode, ...inBlock];
        const expected = all.map(({ index, name }) => `${PREFIX[index]}${name}\0`).join('');
        expect(Buffer.from(listXattrs(context, inode)).toString()).toBe(expected);
        for (const { index, name, value: bytes } of inInode) {
          expect(getXattr(context, inode, bytesOf(`${PREFIX[index]}${name}`))).toEqual(bytes);
        }
      }),
      { numRuns: RUNS },
    );
  });

  const hostile = (area: Uint8Array, head: Uint8Array, feature: number): void => {
    const context = new FakeExt4Context({ incompat: feature });
    const inode = context.addInode(60, FileType.REGULAR, INLINE);
    inode.xattrBlock = context.allocate();
    inode.sizeBytes = 100;
    area.set([0, 0, 2, 0xea, 1, 0, 0, 0, 1, 0, 0, 0]);
    area.set(head, 32);
    context.writeBlock(inode.xattrBlock, sealAttributeBlock(context, inode.xattrBlock, area));
    const record = new Uint8Array(96);
    record.set(area.subarray(28, 124));
    record.set([0, 0, 2, 0xea]);
    context.writeBlock(inode.tableBlock, record, inode.tableOffset + 160);
    refusedOr(() => listXattrs(context, inode));
    refusedOr(() => getXattr(context, inode, bytesOf('user.a')));
    refusedOr(() => getXattr(context, inode, bytesOf('system.posix_acl_access')));
    refusedOr(() => readInlineData(context, inode));
  };
  const features = fc.constantFrom(Incompat.FILETYPE, Incompat.EA_INODE);

  it('never crash or loop on arbitrary bytes under a good checksum', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1024, maxLength: 1024 }), features, (area, feature) => {
        hostile(area, new Uint8Array(0), feature);
      }),
      { numRuns: RUNS },
    );
  });

  it('never crash or loop on entries that are nearly right', () => {
    const small = fc.integer({ min: 0, max: 100 });
    const entry = fc
      .tuple(fc.integer({ min: 0, max: 4 }), fc.integer({ min: 0, max: 10 }), small, small, small)
      .map(([nameLen, index, offset, ino, size]) =>
        Uint8Array.of(
          nameLen,
          index,
          offset,
          0,
          ino > 90 ? ino : 0,
          0,
          0,
          0,
          size,
          0,
          0,
          0,
          0,
          0,
          0,
          0,
          0x61,
          0x61,
          0x61,
          0x61,
        ),
      );
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 4 }), features, (entries, feature) => {
        const head = new Uint8Array(entries.length * 20);
        entries.forEach((bytes, index) => {
          head.set(bytes, index * 20);
        });
        hostile(new Uint8Array(1024), head, feature);
      }),
      { numRuns: RUNS },
    );
  });
});

describe('an ACL', () => {
  it('is converted or refused, whatever its bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.boolean(), (bytes, good) => {
        if (good && bytes.length >= 4) bytes.set([1, 0, 0, 0]);
        const user = refusedOr(() => accessControlListToUser(bytes, 12));
        if (user !== null) expect((user.length - 4) % 8).toBe(0);
      }),
      { numRuns: RUNS },
    );
  });
});
