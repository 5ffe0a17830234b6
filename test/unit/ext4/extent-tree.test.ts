import { describe, expect, it } from 'vitest';
import { CorruptionError } from '../../../service/ext4/errors.ts';
import { MappingType } from '../../../service/ext4/mapping.ts';
import { MapImage } from '../../support/map-image.ts';

const END = 2 ** 32 - 1;
const { HOLE, WRITTEN, UNWRITTEN } = MappingType;

/** Nodes at blocks 10, 11, ... down to a leaf with one extent of blocks 5..8. */
function chain(depth: number, checksums = true): MapImage {
  const image = new MapImage(1024, 32, checksums);
  image.indexRoot(depth, [{ lblk: 5, leaf: 10 }]);
  for (let level = depth - 1; level > 0; level--) {
    const block = 10 + depth - 1 - level;
    image.index(block, level, [{ lblk: 5, leaf: block + 1 }]);
  }
  image.leaf(10 + depth - 1, [{ lblk: 5, pblk: 1000, len: 4 }]);
  return image;
}

describe('a tree in the inode alone', () => {
  const image = new MapImage(4096, 16, true);
  image.leafRoot([
    { lblk: 2, pblk: 500, len: 3 },
    { lblk: 5, pblk: 2 ** 33 + 7, len: 10, unwritten: true },
    { lblk: 100, pblk: 900, len: 32768 },
  ]);

  it('answers the whole extent for any block in it', () => {
    for (const lblk of [2, 3, 4]) expect(image.ask(lblk)).toEqual({ type: WRITTEN, lblk: 2, pblk: 500, lenBlocks: 3 });
  });

  it('tells unwritten extents and block numbers of 48 bits', () => {
    expect(image.ask(14)).toEqual({ type: UNWRITTEN, lblk: 5, pblk: 2 ** 33 + 7, lenBlocks: 10 });
  });

  it('takes a length of 32768 for a written extent', () => {
    expect(image.ask(32867)).toEqual({ type: WRITTEN, lblk: 100, pblk: 900, lenBlocks: 32768 });
  });

  it('answers the whole hole before, between and behind extents', () => {
    expect(image.ask(0)).toEqual({ type: HOLE, lblk: 0, pblk: 0, lenBlocks: 2 });
    expect(image.ask(50)).toEqual({ type: HOLE, lblk: 15, pblk: 0, lenBlocks: 85 });
    expect(image.ask(2 ** 31)).toEqual({ type: HOLE, lblk: 32868, pblk: 0, lenBlocks: END - 32868 });
  });

  it('is one hole when it has no extents', () => {
    const empty = new MapImage(4096, 4, true);
    empty.leafRoot([]);
    expect(empty.ask(77)).toEqual({ type: HOLE, lblk: 0, pblk: 0, lenBlocks: END });
  });

  it('hands out the block of the file through the cache, and null for holes and unwritten blocks', () => {
    const small = new MapImage(1024, 16, true);
    small.leafRoot([
      { lblk: 1, pblk: 8, len: 2 },
      { lblk: 3, pblk: 10, len: 1, unwritten: true },
    ]);
    expect(small.fileBlock(small.file, 2)?.blockNr).toBe(9);
    expect(small.fileBlock(small.file, 0)).toBeNull();
    expect(small.fileBlock(small.file, 3)).toBeNull();
  });
});

describe('a tree with nodes in blocks', () => {
  it.each([1, 2, 3, 4, 5])('is walked down to depth %i', (depth) => {
    const image = chain(depth);
    expect(image.ask(6)).toEqual({ type: WRITTEN, lblk: 5, pblk: 1000, lenBlocks: 4 });
    expect(image.ask(4)).toEqual({ type: HOLE, lblk: 0, pblk: 0, lenBlocks: 5 });
    expect(image.ask(9)).toEqual({ type: HOLE, lblk: 9, pblk: 0, lenBlocks: END - 9 });
  });

  it('reports a hole at the end of a leaf up to the first block of the next leaf', () => {
    const image = new MapImage(1024, 32, true);
    image.indexRoot(2, [
      { lblk: 0, leaf: 10 },
      { lblk: 1000, leaf: 11 },
    ]);
    image.index(10, 1, [
      { lblk: 0, leaf: 12 },
      { lblk: 50, leaf: 13 },
    ]);
    image.index(11, 1, [{ lblk: 1000, leaf: 14 }]);
    image.leaf(12, [{ lblk: 0, pblk: 100, len: 10 }]);
    image.leaf(13, [{ lblk: 50, pblk: 200, len: 10 }]);
    image.leaf(14, [{ lblk: 1000, pblk: 300, len: 10 }]);
    expect(image.ask(20)).toEqual({ type: HOLE, lblk: 10, pblk: 0, lenBlocks: 40 });
    expect(image.ask(70)).toEqual({ type: HOLE, lblk: 60, pblk: 0, lenBlocks: 940 });
    expect(image.ask(1009)).toEqual({ type: WRITTEN, lblk: 1000, pblk: 300, lenBlocks: 10 });
  });

  it('takes an empty leaf for a hole over all that it covers', () => {
    const image = new MapImage(1024, 32, true);
    image.indexRoot(1, [
      { lblk: 8, leaf: 10 },
      { lblk: 20, leaf: 11 },
    ]);
    image.leaf(10, []);
    image.leaf(11, [{ lblk: 20, pblk: 300, len: 1 }]);
    expect(image.ask(9)).toEqual({ type: HOLE, lblk: 8, pblk: 0, lenBlocks: 12 });
  });

  it('finds each extent of a full node', () => {
    const image = new MapImage(4096, 16, true);
    image.indexRoot(1, [{ lblk: 0, leaf: 10 }]);
    expect(image.nodeCapacity).toBe(340);
    image.leaf(
      10,
      Array.from({ length: 340 }, (_, index) => ({ lblk: 3 * index, pblk: 5000 + 7 * index, len: 2 })),
    );
    for (let index = 0; index < 340; index++) {
      expect(image.ask(3 * index + 1)).toEqual({
        type: WRITTEN,
        lblk: 3 * index,
        pblk: 5000 + 7 * index,
        lenBlocks: 2,
      });
      if (index < 339) expect(image.ask(3 * index + 2).lenBlocks).toBe(1);
    }
  });
});

describe('a corrupt tree', () => {
  const refuses = (image: MapImage, finding: RegExp, lblk = 6): void => {
    image.forgetCache();
    let thrown: unknown = null;
    try {
      image.ask(lblk);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(CorruptionError);
    expect(String(thrown)).toMatch(finding);
    expect(String(thrown)).toContain('inode 12');
  };
  const at = (image: MapImage, block: number, offset: number): number => block * image.blockSize + offset;

  it('is refused for a wrong magic in root or node', () => {
    const root = chain(1);
    root.view.setUint16(root.rootAt, 0xf30b, true);
    refuses(root, /magic is 0xf30b/);
    const node = chain(1);
    node.view.setUint16(at(node, 10, 0), 0, true);
    refuses(node, /magic is 0x0/);
  });

  it('is refused when more entries are announced than fit', () => {
    const root = chain(1);
    root.view.setUint16(root.rootAt + 4, 5, true);
    refuses(root, /room for 5 entries where 4 fit/);
    const node = chain(2);
    node.view.setUint16(at(node, 10, 4), 85, true);
    refuses(node, /room for 85 entries where 84 fit/);
    const empty = chain(2);
    empty.view.setUint16(at(empty, 10, 4), 0, true);
    refuses(empty, /room for 0 entries/);
  });

  it('is refused when a node has more entries than room', () => {
    const image = chain(1);
    image.view.setUint16(image.rootAt + 2, 5, true);
    refuses(image, /5 entries in room for 4/);
  });

  it('is refused when it is deeper than five levels', () => {
    const image = chain(5);
    image.view.setUint16(image.rootAt + 6, 6, true);
    refuses(image, /depth 6 above 5/);
  });

  it('is refused when the depth does not shrink by one', () => {
    const image = chain(3);
    image.view.setUint16(at(image, 11, 6), 2, true);
    image.seal(11);
    refuses(image, /depth is 2 instead of 1/);
  });

  it('is refused when a node points at itself', () => {
    const image = chain(3);
    image.index(11, 1, [{ lblk: 5, leaf: 11 }]);
    refuses(image, /depth is 1 instead of 0/);
  });

  it('is refused for a checksum that does not match', () => {
    const image = chain(2);
    image.bytes[at(image, 11, 900)] = 1;
    refuses(image, /bad checksum/);
    const unprotected = chain(2, false);
    unprotected.bytes[at(unprotected, 11, 900)] = 1;
    unprotected.forgetCache();
    expect(unprotected.ask(6).type).toBe(WRITTEN);
  });

  it('is refused when its node belongs to another inode, also when that inode has just used it', () => {
    const image = chain(1);
    expect(image.ask(6).type).toBe(WRITTEN);
    const other = Object.assign(Object.create(Object.getPrototypeOf(image.file)), image.file, { ino: 13 });
    expect(() => image.fileBlock(other, 6)).toThrow(/inode 13.*bad checksum/);
    expect(image.ask(6).type).toBe(WRITTEN);
  });

  it('is refused when an index node is empty', () => {
    const image = chain(2);
    image.view.setUint16(at(image, 10, 2), 0, true);
    image.seal(10);
    refuses(image, /index node without entries/);
  });

  it("is refused when a node does not begin where its parent's entry says", () => {
    const image = chain(1);
    image.leaf(10, [{ lblk: 6, pblk: 1000, len: 4 }]);
    refuses(image, /first entry is for block 6 instead of 5/);
  });

  it('is refused for unsorted or overlapping extents', () => {
    const image = new MapImage(1024, 16, true);
    image.leafRoot([
      { lblk: 0, pblk: 100, len: 10 },
      { lblk: 9, pblk: 200, len: 1 },
    ]);
    refuses(image, /entry for block 9 is not behind 9/);
    image.leafRoot([
      { lblk: 9, pblk: 100, len: 1 },
      { lblk: 3, pblk: 200, len: 1 },
    ]);
    refuses(image, /entry for block 3 is not behind 9/);
  });

  it('is refused for unsorted index entries', () => {
    const image = chain(1);
    image.indexRoot(1, [
      { lblk: 5, leaf: 10 },
      { lblk: 5, leaf: 11 },
    ]);
    refuses(image, /entry for block 5 is not behind 5/);
  });

  it('is refused for an extent without length and for one past the last block', () => {
    const image = new MapImage(1024, 16, true);
    image.leafRoot([{ lblk: 6, pblk: 100, len: 0 }]);
    refuses(image, /extent of no length/);
    image.leafRoot([{ lblk: END - 1, pblk: 100, len: 2 }]);
    refuses(image, /past 2\^32 blocks/);
    image.leafRoot([{ lblk: END - 1, pblk: 100, len: 1 }]);
    image.forgetCache();
    expect(image.ask(END - 1).lenBlocks).toBe(1);
  });

  it('is refused when a leaf reaches into what belongs to the next', () => {
    const image = new MapImage(1024, 32, true);
    image.indexRoot(1, [
      { lblk: 0, leaf: 10 },
      { lblk: 8, leaf: 11 },
    ]);
    image.leaf(10, [{ lblk: 0, pblk: 100, len: 9 }]);
    image.leaf(11, [{ lblk: 8, pblk: 200, len: 1 }]);
    refuses(image, /extent 0..8 runs into the next at 8/);
    image.leaf(10, [
      { lblk: 0, pblk: 100, len: 1 },
      { lblk: 9, pblk: 100, len: 1 },
    ]);
    refuses(image, /entry for block 9 in a node that ends at 8/);
  });

  it('is refused when extents or nodes lie outside the file system or on its own blocks', () => {
    const image = new MapImage(1024, 16, true);
    image.leafRoot([{ lblk: 6, pblk: 1, len: 1 }]);
    refuses(image, /corrupt extent,.*outside/);
    image.leafRoot([{ lblk: 6, pblk: 2 ** 47 - 1, len: 2 }]);
    refuses(image, /corrupt extent,.*outside/);
    image.indexRoot(1, [{ lblk: 0, leaf: 0 }]);
    refuses(image, /corrupt extent index,.*outside/);
  });
});
