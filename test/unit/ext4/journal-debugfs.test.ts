import { writeFileSync } from 'node:fs';
import { afterAll, expect, test } from 'vitest';
import { debugfsWrite } from '../../support/e2fsprogs.ts';
import { ImageDirectory } from '../../support/ext4-image.ts';
import { blockOf } from '../../support/journal-builder.ts';
import { compareWithReplay } from '../../support/journal-replay.ts';

const directory = new ImageDirectory();
afterAll(() => directory.remove());

/** A file of blocks to be logged: every third one begins with the journal's magic number. */
function contentFile(name: string, blockSize: number, count: number, fill: number): string {
  const path = directory.file(name);
  const blocks = Array.from({ length: count }, (_, index) => blockOf(blockSize, fill + index, index % 3 === 2));
  writeFileSync(path, Buffer.concat(blocks));
  return path;
}

const checksums = [
  ['no checksums', 'jo'],
  ['checksum v2', 'jo -c -v 2'],
  ['checksum v3', 'jo -c -v 3'],
] as const;
const sizes = [
  ['1 KiB blocks, 32-bit', 1024, '^64bit'],
  ['1 KiB blocks, 64-bit', 1024, '64bit'],
  ['4 KiB blocks, 64-bit', 4096, '64bit'],
] as const;
const matrix = checksums.flatMap(([sum, open]) =>
  sizes.map(([size, ...rest]) => [`${sum}, ${size}`, open, ...rest] as const),
);

test.each(matrix)(
  'a journal written by debugfs (%s) is recovered as e2fsck replays it',
  (_name, open, blockSize, feature) => {
    const journal = ['-J', `size=${blockSize / 1024}`];
    const image = directory.make(4000 * blockSize, ['-b', String(blockSize), '-O', feature, ...journal]);
    const home = 3900;
    const first = contentFile('first', blockSize, 9, 0x21);
    const second = contentFile('second', blockSize, 3, 0x51);
    debugfsWrite(image, [
      open,
      `jw -b ${home}-${home + 8} ${first}`,
      `jw -r ${home + 1},${home + 4}`,
      `jw -b ${home + 4}-${home + 6} ${second}`,
      `jw -r ${home + 8}`,
      'jc',
    ]);
    const { differing, changedByReplay, recovered } = compareWithReplay(image);
    expect(differing).toEqual([]);
    expect(changedByReplay).toBeGreaterThanOrEqual(7);
    expect([...recovered.blockNumbers()].sort()).toEqual([0, 2, 3, 4, 5, 6, 7].map((nr) => home + nr));
    expect(recovered.isEscaped(home + 2)).toBe(true);
  },
);
