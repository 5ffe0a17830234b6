import { afterAll, describe, expect, it } from 'vitest';
import { effectiveHashVersion, hashName, NameHash } from '../../../service/ext4/dirhash.ts';
import { IncompatibleError } from '../../../service/ext4/errors.ts';
import { HashVersion } from '../../../service/ext4/layout/htree.ts';
import { bytesOf } from '../../support/directory-builder.ts';
import { debugfs, rebuildDirectories } from '../../support/e2fsprogs.ts';
import { ImageDirectory, openImage } from '../../support/ext4-image.ts';
import { FakeExt4Context } from '../../support/fake-ext4-context.ts';

const images = new ImageDirectory();
afterAll(() => images.remove());

const SEED_UUID = '12345678-9abc-def0-1122-334455667788';
const SEED = Uint32Array.of(0x78563412, 0xf0debc9a, 0x44332211, 0x88776655);
const NO_SEED_UUID = '00000000-0000-0000-0000-000000000000';
const NO_SEED = new Uint32Array(4);

const NAMES = [
  'a',
  'abc',
  '1234',
  'x'.repeat(15),
  'x'.repeat(16),
  'x'.repeat(17),
  'y'.repeat(31),
  'y'.repeat(32),
  'z'.repeat(33),
  'é'.repeat(20),
  'ÿþ',
  'abcdefghijklmnopqrstuvwxyz0123456789'.repeat(7),
  'm'.repeat(255),
];

function hashOf(version: number, seed: Uint32Array, name: Uint8Array): NameHash {
  const hash = new NameHash();
  hashName(version, seed, name, 0, name.length, hash);
  return hash;
}

describe('signed hashes equal those of debugfs', () => {
  const image = images.make(2 ** 20, ['-O', '^has_journal']);
  const cases = [
    ['legacy', HashVersion.LEGACY],
    ['half_md4', HashVersion.HALF_MD4],
    ['tea', HashVersion.TEA],
  ] as const;
  for (const [algorithm, version] of cases) {
    it(`for ${algorithm}, with and without a seed`, () => {
      for (const name of NAMES) {
        for (const seed of [SEED, NO_SEED]) {
          // Without -s, newer versions take the seed of the image.
          const seedUuid = seed === SEED ? SEED_UUID : NO_SEED_UUID;
          const answer = debugfs(image, `dx_hash -h ${algorithm} -s ${seedUuid} ${name}`);
          const { major, minor } = hashOf(version, seed, bytesOf(name));
          expect(answer).toContain(`0x${major.toString(16)} (minor 0x${minor.toString(16)})`);
        }
      }
    });
  }
});

describe('unsigned hashes equal those of a directory that e2fsck indexed', () => {
  for (const [algorithm, version] of [
    ['legacy', HashVersion.LEGACY_UNSIGNED],
    ['half_md4', HashVersion.HALF_MD4_UNSIGNED],
    ['tea', HashVersion.TEA_UNSIGNED],
  ] as const) {
    it(`for ${algorithm}`, () => {
      const names = Array.from({ length: 200 }, (_, index) => `${'éÿ'.repeat(1 + (index % 9))}${index}`);
      const image = images.make(
        4 * 2 ** 20,
        ['-O', '^has_journal', '-b', '1024'],
        [
          'ssv flags 2',
          `ssv def_hash_version ${algorithm}`,
          'mkdir /many',
          'cd /many',
          ...names.map((name) => `symlink ${name} target`),
        ],
      );
      rebuildDirectories(image);
      const dump = debugfs(image, 'htree_dump /many');
      const { superblock } = openImage(image);
      expect(effectiveHashVersion(superblock, superblock.defaultHashVersion)).toBe(version);
      let seen = 0;
      for (const [, major, minor, name] of dump.matchAll(/0x([0-9a-f]{8})-([0-9a-f]{8}) \(\d+\) (\S+) /g)) {
        const bytes = Uint8Array.from(name, (letter) => letter.charCodeAt(0));
        const hash = hashOf(version, superblock.hashSeed, bytes);
        expect(hash.major.toString(16).padStart(8, '0')).toBe(major);
        expect(hash.minor.toString(16).padStart(8, '0')).toBe(minor);
        seen++;
      }
      expect(seen).toBe(names.length);
    });
  }
});

describe('hashName', () => {
  it('hashes the part of the bytes that it is given', () => {
    const hash = new NameHash();
    hashName(HashVersion.HALF_MD4, SEED, bytesOf('<<name>>'), 2, 6, hash);
    expect(hash).toEqual(hashOf(HashVersion.HALF_MD4, SEED, bytesOf('name')));
  });

  it('treats bytes above 0x7f differently signed and unsigned, others alike', () => {
    expect(hashOf(HashVersion.TEA, SEED, bytesOf('é'))).not.toEqual(
      hashOf(HashVersion.TEA_UNSIGNED, SEED, bytesOf('é')),
    );
    expect(hashOf(HashVersion.TEA, SEED, bytesOf('e'))).toEqual(hashOf(HashVersion.TEA_UNSIGNED, SEED, bytesOf('e')));
  });

  it('refuses versions that it does not know', () => {
    expect(() => hashOf(HashVersion.SIPHASH, SEED, bytesOf('a'))).toThrow(IncompatibleError);
  });

  it('takes signedness from the superblock for the versions that leave it open', () => {
    const unsigned = new FakeExt4Context({ superblockFlags: 2 }).superblock;
    const signed = new FakeExt4Context({ superblockFlags: 1 }).superblock;
    expect(effectiveHashVersion(signed, HashVersion.TEA)).toBe(HashVersion.TEA);
    expect(effectiveHashVersion(unsigned, HashVersion.TEA)).toBe(HashVersion.TEA_UNSIGNED);
    expect(effectiveHashVersion(unsigned, HashVersion.TEA_UNSIGNED)).toBe(HashVersion.TEA_UNSIGNED);
  });
});
