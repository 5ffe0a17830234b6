import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { e2fsprogs } from '../../support/e2fsprogs.ts';
import { blockOf } from '../../support/journal-builder.ts';
import { compareWithReplay } from '../../support/journal-replay.ts';

const directory = mkdtempSync(join(tmpdir(), 'fuse4fs-journal-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** A file of blocks to be logged: every third one begins with the journal's magic number. */
function contentFile(name: string, blockSize: number, count: number, fill: number): string {
  const path = join(directory, name);
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
  (name, open, blockSize, feature) => {
    const image = join(directory, `${name.replaceAll(/\W/g, '')}.img`);
    writeFileSync(image, '');
    truncateSync(image, 4000 * blockSize);
    e2fsprogs('mke2fs', [
      '-q',
      '-F',
      '-t',
      'ext4',
      '-b',
      String(blockSize),
      '-O',
      feature,
      '-J',
      `size=${blockSize / 1024}`,
      image,
    ]);
    const home = 3900;
    const first = contentFile('first', blockSize, 9, 0x21);
    const second = contentFile('second', blockSize, 3, 0x51);
    e2fsprogs(
      'debugfs',
      ['-w', '-f', '-', image],
      [
        open,
        `jw -b ${home}-${home + 8} ${first}`,
        `jw -r ${home + 1},${home + 4}`,
        `jw -b ${home + 4}-${home + 6} ${second}`,
        `jw -r ${home + 8}`,
        'jc',
        '',
      ].join('\n'),
    );
    const { differing, changedByReplay, recovered } = compareWithReplay(image);
    expect(differing).toEqual([]);
    expect(changedByReplay).toBeGreaterThanOrEqual(7);
    expect([...recovered.blockNumbers()].sort()).toEqual([0, 2, 3, 4, 5, 6, 7].map((nr) => home + nr));
    expect(recovered.isEscaped(home + 2)).toBe(true);
  },
);
