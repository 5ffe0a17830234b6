import { describe, expect, it } from 'vitest';
import { BufferCache } from '../../../service/ext4/buffer-cache.ts';

const BLOCK = 1024;
const device = { sizeBytes: 2 ** 30, read: () => 0, readAhead: () => {} };

function filled(blocks: number): BufferCache {
  const cache = new BufferCache(device, BLOCK, blocks * BLOCK);
  for (let blockNr = 1; blockNr <= blocks; blockNr++) cache.get(blockNr);
  cache.beginOperation();
  return cache;
}

describe('the cache of metadata blocks, when memory is short', () => {
  it('gives up the half of its blocks that was not used lately', () => {
    const cache = filled(1024);
    cache.shrink();
    expect([cache.capacityBlocks, cache.sizeBlocks, cache.shrinkings]).toEqual([512, 512, 1]);
    expect([cache.has(512), cache.has(513)]).toEqual([false, true]);
  });

  it('keeps an eighth however often it happens', () => {
    const cache = filled(1024);
    for (let round = 0; round < 20; round++) cache.shrink();
    expect([cache.capacityBlocks, cache.sizeBlocks]).toEqual([128, 128]);
  });

  it('keeps blocks that differ from the device', () => {
    const cache = filled(1024);
    for (let blockNr = 1; blockNr <= 700; blockNr++) cache.hold(cache.get(blockNr));
    cache.shrink();
    for (let blockNr = 1; blockNr <= 700; blockNr++) expect(cache.has(blockNr)).toBe(true);
    expect(cache.sizeBlocks).toBe(700);
  });

  it('grows again to what it was, and no further', () => {
    const cache = filled(1024);
    for (let round = 0; round < 3; round++) cache.shrink();
    let steps = 1;
    while (!cache.grow()) steps++;
    expect(cache.capacityBlocks).toBe(1024);
    expect(steps).toBeLessThan(15);
    expect(cache.grow()).toBe(true);
    expect(cache.capacityBlocks).toBe(1024);
  });
});
