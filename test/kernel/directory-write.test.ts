import { linkSync, readdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { collidingNames } from '../support/colliding-names.ts';
import { hexOf } from '../support/directory-builder.ts';
import { DirectoryOnImage } from '../support/directory-on-image.ts';
import { type ImageRecipe, makeImage, withKernelMount } from '../support/kernel-image.ts';
import { TestRoom } from '../support/test-room.ts';
import { e2fsckComplaints, WritableImage } from '../support/writable-image.ts';

/** Directories pass from hand to hand: made by the engine, changed by the kernel, changed by the engine again. */
const room = new TestRoom('directory-write');
afterEach(() => room.reset());
afterAll(() => room.clear());

interface Kind {
  readonly kind: string;
  readonly recipe: ImageRecipe;
  readonly count: number;
  readonly nameOf: (index: number) => string;
}

const SIZE_BYTES = 48 * 2 ** 20;
const recipe = (mkfs: readonly string[], debugfs: readonly string[] = []): ImageRecipe => ({
  sizeBytes: SIZE_BYTES,
  mkfs: ['-t', 'ext4', ...mkfs],
  debugfs,
});

const mixed = (index: number): string =>
  index % 4 === 0 ? `é${index}` : `${index}.`.padEnd(index % 4 === 1 ? 250 : 20 + (index % 50), 'name');
const short = (index: number): string => `n${index}`;
const long = (index: number): string => `${index}`.padEnd(255, '-');
const sameHash = (index: number): string =>
  index < collidingNames.length ? Buffer.from(collidingNames[index]).toString() : long(index);

const KINDS: readonly Kind[] = [
  { kind: '1 KiB blocks', recipe: recipe(['-b', '1024']), count: 3000, nameOf: mixed },
  { kind: '2 KiB blocks', recipe: recipe(['-b', '2048']), count: 3000, nameOf: mixed },
  { kind: '4 KiB blocks', recipe: recipe(['-b', '4096']), count: 6000, nameOf: mixed },
  { kind: 'no checksums', recipe: recipe(['-b', '1024', '-O', '^metadata_csum']), count: 3000, nameOf: mixed },
  { kind: 'no index', recipe: recipe(['-b', '4096', '-O', '^dir_index']), count: 1000, nameOf: mixed },
  { kind: 'no file types', recipe: recipe(['-b', '1024', '-O', '^filetype']), count: 2000, nameOf: mixed },
  { kind: 'no extents', recipe: recipe(['-b', '1024', '-O', '^extents,^64bit']), count: 2000, nameOf: mixed },
  { kind: 'inline data, few names', recipe: recipe(['-O', 'inline_data', '-I', '512']), count: 19, nameOf: short },
  { kind: 'inline data, many names', recipe: recipe(['-O', 'inline_data', '-b', '1024']), count: 900, nameOf: mixed },
  {
    kind: 'the TEA hash of unsigned bytes',
    recipe: recipe(['-b', '1024'], ['ssv def_hash_version tea', 'ssv flags 2']),
    count: 2000,
    nameOf: mixed,
  },
  {
    kind: 'names of one hash',
    recipe: recipe(['-b', '1024'], ['ssv def_hash_version legacy', 'ssv flags 1']),
    count: 100,
    nameOf: sameHash,
  },
  {
    kind: 'an index of three levels',
    recipe: recipe(['-b', '1024', '-O', 'large_dir']),
    count: 24_000,
    nameOf: long,
  },
];

const namesIn = (directory: string): string[] =>
  readdirSync(directory, { encoding: 'buffer' })
    .map((name) => hexOf(name))
    .sort();

describe.each(KINDS)('a directory of $kind', ({ recipe: made, count, nameOf }) => {
  test('is read and changed by the kernel, and then by the engine again', async () => {
    const path = makeImage(room, 'image', made);
    const image = new WritableImage(path, { cacheBytes: 2 ** 26 });
    const directory = DirectoryOnImage.make(image, 'dir');
    for (let index = 0; index < count; index++) directory.add(nameOf(index));
    for (let index = 1; index < count; index += 5) directory.remove(nameOf(index));
    image.close();
    image.save(path);
    expect(e2fsckComplaints(path)).toBe('');

    const { names } = directory;
    await withKernelMount(room, path, 'rw', (root) => {
      const dir = join(root, 'dir');
      expect(namesIn(dir)).toEqual(directory.wanted);
      for (let index = 2; index < count; index += 5) {
        unlinkSync(join(dir, nameOf(index)));
        names.delete(nameOf(index));
      }
      for (let index = 1; index < count; index += 5) {
        linkSync(join(dir, 'file'), join(dir, nameOf(index)));
        names.add(nameOf(index));
      }
      expect(namesIn(dir)).toEqual(directory.wanted);
    });
    expect(e2fsckComplaints(path)).toBe('');

    const again = new WritableImage(path, { cacheBytes: 2 ** 26 });
    const continued = new DirectoryOnImage(again, 'dir', names);
    expect(continued.listed().sort()).toEqual(directory.wanted);
    for (let index = 3; index < count; index += 5) continued.remove(nameOf(index));
    for (let index = 2; index < count; index += 5) continued.add(nameOf(index));
    again.close();
    again.save(path);
    expect(e2fsckComplaints(path)).toBe('');
    await withKernelMount(room, path, 'ro', (root) => {
      expect(namesIn(join(root, 'dir'))).toEqual(continued.wanted);
    });
  });
});
