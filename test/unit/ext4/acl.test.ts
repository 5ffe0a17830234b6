import { describe, expect, it } from 'vitest';
import { accessControlListToUser } from '../../../service/ext4/acl.ts';
import { CorruptionError } from '../../../service/ext4/errors.ts';

type DiskEntry = readonly [tag: number, perm: number, id?: number];

function disk(entries: readonly DiskEntry[], version = 1): Uint8Array {
  const out = [version, 0, 0, 0];
  for (const [tag, perm, id] of entries) {
    out.push(tag, 0, perm & 0xff, perm >>> 8);
    if (id !== undefined) out.push(id & 0xff, (id >>> 8) & 0xff, (id >>> 16) & 0xff, id >>> 24);
  }
  return Uint8Array.from(out);
}

const hex = (bytes: Uint8Array | null): string => (bytes === null ? 'null' : Buffer.from(bytes).toString('hex'));

describe('an ACL on disk', () => {
  it('becomes the form of user space: version 2, ids everywhere', () => {
    const bytes = disk([
      [0x01, 6],
      [0x02, 7, 1000],
      [0x04, 5],
      [0x08, 4, 0x12345678],
      [0x10, 7],
      [0x20, 0],
    ]);
    expect(hex(accessControlListToUser(bytes, 12))).toBe(
      '02000000' +
        '01000600ffffffff' +
        '02000700e8030000' +
        '04000500ffffffff' +
        '0800040078563412' +
        '10000700ffffffff' +
        '20000000ffffffff',
    );
  });

  it('needs no mask when nobody is named', () => {
    const bytes = disk([
      [0x01, 6],
      [0x04, 4],
      [0x20, 4],
    ]);
    expect(hex(accessControlListToUser(bytes, 12))).toBe('0200000001000600ffffffff04000400ffffffff20000400ffffffff');
  });

  it('stands for no ACL when it has no entries', () => {
    expect(accessControlListToUser(disk([]), 12)).toBeNull();
  });

  const BASE: readonly DiskEntry[] = [
    [0x01, 6],
    [0x04, 4],
    [0x20, 4],
  ];
  const CASES: readonly [string, Uint8Array][] = [
    ['is empty', new Uint8Array(0)],
    ['ends in its header', Uint8Array.of(1, 0, 0)],
    ['has another version', disk(BASE, 2)],
    ['ends in an entry', disk(BASE).subarray(0, 14)],
    [
      'ends before an id',
      disk([
        [0x01, 6],
        [0x02, 7],
      ]),
    ],
    [
      'names nobody',
      disk([
        [0x01, 6],
        [0x02, 7, 0xffffffff],
        [0x04, 4],
        [0x10, 7],
        [0x20, 0],
      ]),
    ],
    [
      'has an unknown tag',
      disk([
        [0x01, 6],
        [0x40, 7],
        [0x04, 4],
        [0x20, 0],
      ]),
    ],
    [
      'has unknown permissions',
      disk([
        [0x01, 8],
        [0x04, 4],
        [0x20, 0],
      ]),
    ],
    [
      'lacks the owner',
      disk([
        [0x04, 4],
        [0x20, 0],
      ]),
    ],
    [
      'lacks the owning group',
      disk([
        [0x01, 4],
        [0x20, 0],
      ]),
    ],
    [
      'lacks the others',
      disk([
        [0x01, 4],
        [0x04, 4],
      ]),
    ],
    [
      'lacks the mask that named users need',
      disk([
        [0x01, 6],
        [0x02, 7, 1],
        [0x04, 4],
        [0x20, 0],
      ]),
    ],
    [
      'has entries out of order',
      disk([
        [0x04, 4],
        [0x01, 6],
        [0x20, 0],
      ]),
    ],
    [
      'has entries twice',
      disk([
        [0x01, 6],
        [0x04, 4],
        [0x04, 4],
        [0x20, 0],
      ]),
    ],
    [
      'goes on behind the others',
      disk([
        [0x01, 6],
        [0x04, 4],
        [0x20, 0],
        [0x20, 0],
      ]),
    ],
  ];
  for (const [what, bytes] of CASES) {
    it(`is refused when it ${what}`, () => {
      expect(() => accessControlListToUser(bytes, 12)).toThrow(CorruptionError);
      expect(() => accessControlListToUser(bytes, 12)).toThrow(/ACL, inode 12/);
    });
  }
});
