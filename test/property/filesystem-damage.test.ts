import { writeFileSync } from 'node:fs';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CorruptionError, DeviceError, FsError, IncompatibleError } from '../../service/ext4/errors.ts';
import type { Filesystem } from '../../service/ext4/filesystem.ts';
import { StatFs } from '../../service/ext4/statfs.ts';
import { ImageDirectory, imageBytes, openBytes } from '../support/ext4-image.ts';

const MIB = 2 ** 20;
const MAX_DEPTH = 3;
const MAX_ENTRIES = 50;
const directory = new ImageDirectory();
/** Without checksums, so that damage reaches the checks behind them. */
const kinds: string[][] = [
  ['-b', '1024', '-O', '^metadata_csum,^uninit_bg'],
  ['-t', 'ext2', '-b', '1024'],
  ['-b', '4096', '-O', '^metadata_csum,^uninit_bg,inline_data,bigalloc', '-C', '16384'],
  ['-b', '1024', '-O', '^metadata_csum,^uninit_bg,meta_bg,^resize_inode'],
];
let images: Uint8Array[] = [];

beforeAll(() => {
  const content = Buffer.alloc(400_000);
  for (let piece = 0; piece < 390; piece += 2) content.write(`piece ${piece}`, piece * 1024);
  const source = directory.file('source');
  writeFileSync(source, content);
  images = kinds.map((kind) =>
    imageBytes(
      directory.make(8 * MIB, kind, [
        `write ${source} file`,
        'mkdir dir',
        `write ${source} dir/inner`,
        `symlink slow ${'a/'.repeat(60)}`,
        'symlink fast short',
        'ea_set file user.name value',
        'mknod pipe p',
      ]),
    ),
  );
});
afterAll(() => directory.remove());

const isTyped = (error: unknown): boolean =>
  error instanceof CorruptionError ||
  error instanceof FsError ||
  error instanceof IncompatibleError ||
  error instanceof DeviceError;

/** Runs `use` and lets the errors pass that damaged metadata may cause. */
function tolerate(use: () => void): void {
  try {
    use();
  } catch (error) {
    if (!isTyped(error)) throw error;
  }
}

class Walker {
  readonly #filesystem: Filesystem;
  readonly #buffer = new Uint8Array(100_000);
  visits = 0;

  constructor(filesystem: Filesystem) {
    this.#filesystem = filesystem;
  }

  visit(ino: number, depth: number): void {
    this.visits++;
    const filesystem = this.#filesystem;
    filesystem.beginOperation();
    tolerate(() => {
      const inode = filesystem.inode(ino);
      tolerate(() => filesystem.listXattrs(inode));
      if (inode.isSymlink) filesystem.readLink(inode);
      if (inode.isRegular) {
        tolerate(() => filesystem.readFile(inode, 0, this.#buffer));
        tolerate(() => filesystem.readFile(inode, 300_000, this.#buffer));
        for (let at = 0, turn = 0; at >= 0 && turn < 50; turn++) {
          const data = filesystem.seekData(inode, at);
          expect(data === -1 || data >= at).toBe(true);
          at = data === -1 ? -1 : filesystem.seekHole(inode, data);
        }
      }
      if (!inode.isDirectory || depth === MAX_DEPTH) return;
      const children: number[] = [];
      filesystem.readDirectory(inode, 0, 0, {
        entry(child) {
          children.push(child);
          return children.length < MAX_ENTRIES;
        },
      });
      for (const child of children) if (child !== ino && child !== 2) this.visit(child, depth + 1);
    });
  }
}

/** Which bytes are hit: in an inode (by number), in the superblock, in the descriptors, or at a block's head. */
const hits = fc.array(
  fc.record({
    area: fc.nat(9),
    ino: fc.constantFrom(2, 11, 12, 13, 14, 15, 16, 17),
    offset: fc.nat(2047),
    block: fc.nat(1500),
    value: fc.nat(255),
  }),
  { minLength: 1, maxLength: 6 },
);

describe('a damaged file system', () => {
  it('can be opened, walked and read without any error but the typed ones', () => {
    fc.assert(
      fc.property(fc.nat(kinds.length - 1), hits, (kind, given) => {
        const bytes = images[kind].slice();
        const sound = openBytes(images[kind]);
        for (const { area, ino, offset, block, value } of given) {
          const { tableBlock, tableOffset } = sound.inode(ino);
          let at = tableBlock * sound.blockSize + tableOffset + (offset % 128);
          if (area === 6) at = 1024 + (offset % 1024);
          if (area === 7) at = 2048 + offset;
          if (area > 7) at = block * 1024 + (offset % 16);
          bytes[at] = value;
        }
        tolerate(() => {
          const filesystem = openBytes(bytes);
          const walker = new Walker(filesystem);
          walker.visit(2, 0);
          expect(walker.visits).toBeGreaterThan(0);
          const out = new StatFs();
          filesystem.statfs(out, false);
          expect(out.blocks).toBeGreaterThanOrEqual(0);
          expect(out.blocksFree).toBeLessThanOrEqual(filesystem.superblock.blocksCount);
        });
      }),
      { numRuns: 400 },
    );
  });
});
