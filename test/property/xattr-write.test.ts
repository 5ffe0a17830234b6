import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { FsError } from '../../service/ext4/errors.ts';
import type { Inode } from '../../service/ext4/inode.ts';
import { StatFs } from '../../service/ext4/statfs.ts';
import { Errno } from '../../shared/errno.ts';
import { consistencyFindings } from '../support/consistency-checker.ts';
import { ImageDirectory } from '../support/ext4-image.ts';
import { bytesOf, e2fsckComplaints, WritableImage } from '../support/writable-image.ts';

const images = new ImageDirectory();
afterAll(() => images.remove());

const KINDS: readonly [string, readonly string[]][] = [
  ['in inodes of 256 bytes and blocks of 4 KiB', ['-t', 'ext4']],
  ['in inodes of 1024 bytes and blocks of 1 KiB', ['-t', 'ext4', '-I', '1024', '-b', '1024']],
  ['in inodes of 128 bytes', ['-t', 'ext2', '-I', '128', '-b', '1024']],
  ['with inodes for large values', ['-t', 'ext4', '-O', 'ea_inode', '-b', '1024']],
  ['beside inline data', ['-t', 'ext4', '-O', 'inline_data']],
];

const NAMES = ['user.a', 'user.b', 'user.a-long-name-for-an-attribute', 'trusted.a', 'security.x', 'user.c'];

interface Step {
  readonly file: number;
  readonly name: string;
  /** -1 removes the attribute. */
  readonly length: number;
  readonly fill: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  file: fc.nat(2),
  name: fc.constantFrom(...NAMES),
  length: fc.oneof(fc.constant(-1), fc.nat(60), fc.nat(400), fc.nat(2000), fc.nat(9000)),
  fill: fc.nat(255),
});

class Model {
  readonly #image: WritableImage;
  readonly #files: Inode[];
  readonly #values = new Map<string, Uint8Array>();

  constructor(image: WritableImage) {
    this.#image = image;
    image.begin();
    this.#files = [0, 1, 2].map((index) =>
      image.fs.createNode(image.root, bytesOf(`f${index}`), 0, 2, 0o100644, 0, 0, 0),
    );
    image.fs.writeSmall(this.#files[1], 0, bytesOf('content'));
  }

  take({ file, name, length, fill }: Step): void {
    const { fs } = this.#image;
    const inode = this.#files[file];
    this.#image.begin();
    const key = `${file} ${name}`;
    const known = this.#values.get(key);
    if (length < 0) {
      if (known === undefined) expect(() => fs.removeXattr(inode, bytesOf(name))).toThrow('no such attribute');
      else fs.removeXattr(inode, bytesOf(name));
      this.#values.delete(key);
      return;
    }
    const value = new Uint8Array(length).fill(fill);
    try {
      fs.setXattr(inode, bytesOf(name), value, 0);
      this.#values.set(key, value);
    } catch (error) {
      if (!(error instanceof FsError) || error.errno !== Errno.ENOSPC) throw error;
    }
  }

  check(): void {
    const { fs } = this.#image;
    this.#files.forEach((inode, file) => {
      const listed = Buffer.from(fs.listXattrs(inode)).toString('latin1').split('\0').slice(0, -1).sort();
      const expected = NAMES.filter((name) => this.#values.has(`${file} ${name}`)).sort();
      expect(listed).toEqual(expected);
      for (const name of expected) {
        const value = fs.getXattr(inode, bytesOf(name)) ?? new Uint8Array(0);
        expect(Buffer.compare(value, this.#values.get(`${file} ${name}`) ?? new Uint8Array(1))).toBe(0);
      }
    });
  }
}

describe.each(KINDS)('attributes %s', (_kind, options) => {
  test('are as a map of names to values would have them, and e2fsck agrees', () => {
    const path = images.make(16 * 2 ** 20, options);
    const settled = images.file('settled');
    let run = 0;
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const image = new WritableImage(path);
        const model = new Model(image);
        for (const next of steps) {
          model.take(next);
          model.check();
        }
        image.close();
        expect(consistencyFindings(image.device)).toEqual([]);
        if (run++ % 5 !== 0) return;
        image.save(settled);
        expect(e2fsckComplaints(settled)).toBe('');
      }),
      { numRuns: 25 },
    );
  });

  test('go with their inode', () => {
    const image = new WritableImage(images.make(16 * 2 ** 20, options));
    const { fs } = image;
    const free = (): number => {
      const numbers = new StatFs();
      fs.statfs(numbers, false);
      return numbers.blocksFree;
    };
    const before = free();
    image.begin();
    const file = fs.createNode(image.root, bytesOf('file'), 0, 4, 0o100644, 0, 0, 0);
    fs.setXattr(file, bytesOf('user.x'), new Uint8Array(600), 0);
    fs.evict(fs.unlink(image.root, bytesOf('file'), 0, 4).ino);
    expect(free()).toBe(before);
    image.close();
    expect(consistencyFindings(image.device)).toEqual([]);
  });
});
