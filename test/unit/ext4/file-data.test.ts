import { describe, expect, it } from 'vitest';
import { MemoryBlockDevice } from '../../../service/ext4/block-device.ts';
import { FileData } from '../../../service/ext4/file-data.ts';
import { putU32le } from '../../../shared/bytes.ts';
import { MapImage } from '../../support/map-image.ts';

const BLOCK = 1024;
const POINTERS = BLOCK / 4;
const DIRECT = 12;
/** The largest file of 1 KiB blocks without extents. */
const BLOCKS = DIRECT + POINTERS + POINTERS ** 2 + POINTERS ** 3;
const MAPPINGS_MAX = 2 ** 20;
const DATA = 40;

/** A file all of whose blocks share one path of indirect blocks and end at `leaf`. */
function endlessFile(leaf: readonly number[]): { image: MapImage; data: FileData } {
  const image = new MapImage(BLOCK, 16, false);
  const { view } = image;
  const levels = [2, 3, 4];
  for (let index = 0; index < POINTERS; index++) {
    putU32le(view, 2 * BLOCK + 4 * index, leaf[index % leaf.length]);
    putU32le(view, 3 * BLOCK + 4 * index, 2);
    putU32le(view, 4 * BLOCK + 4 * index, 3);
  }
  for (let index = 0; index < DIRECT; index++) putU32le(view, image.rootAt + 4 * index, leaf[index % leaf.length]);
  levels.forEach((block, index) => {
    putU32le(view, image.rootAt + 4 * (DIRECT + index), block);
  });
  image.file.sizeBytes = BLOCKS * BLOCK;
  return { image, data: new FileData(image, new MemoryBlockDevice(image.bytes), false) };
}

describe('a search for data or holes in a file whose every block is a mapping of its own', () => {
  it('takes the rest for data when it has looked at many of them and found no hole', () => {
    const { image, data } = endlessFile([DATA]);
    let asked = 0;
    const map = image.mapBlocks.bind(image);
    image.mapBlocks = (inode, lblk, out) => {
      asked++;
      map(inode, lblk, out);
    };
    expect(data.seekHole(image.file, 0)).toBe(image.file.sizeBytes);
    expect(asked).toBe(MAPPINGS_MAX);
    expect(data.seekHole(image.file, image.file.sizeBytes - BLOCK)).toBe(image.file.sizeBytes);
  });

  it('takes the place reached for data when it found nothing but holes', () => {
    const { image, data } = endlessFile([0]);
    image.mapBlocks = (_inode, lblk, out) => out.set(0, lblk, 0, 1);
    expect(data.seekData(image.file, 0)).toBe(MAPPINGS_MAX * BLOCK);
    expect(data.seekData(image.file, (BLOCKS - 5) * BLOCK)).toBe(-1);
  });
});
