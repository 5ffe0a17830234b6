import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeStatistics, encodeStatistics, STATISTICS_BYTES } from '../../shared/mount-statistics.ts';
import { STATISTICS } from '../support/fake-mounts.ts';

function inBuffer(text: Uint8Array): Uint8Array {
  const buffer = new Uint8Array(STATISTICS_BYTES);
  buffer.set(text);
  return buffer;
}

const decodeText = (text: string) => decodeStatistics(inBuffer(Buffer.from(text)));

describe('the statistics of a mount', () => {
  it('survive their way through the buffer', () => {
    expect(decodeStatistics(inBuffer(encodeStatistics(STATISTICS)))).toEqual(STATISTICS);
  });

  it('may have fields that are not known yet', () => {
    expect(decodeText(JSON.stringify({ ...STATISTICS, later: [1] }))).toMatchObject(STATISTICS);
  });

  it.each([
    ['another version', { version: 2 }],
    ['a state that there is not', { state: 'excellent' }],
    ['a negative count', { uptimeSeconds: -1 }],
    ['a count that is no whole number', { pid: 0.5 }],
    ['a text for a number', { pid: '1' }],
    ['a number for a text', { device: 1 }],
    ['no cache', { cache: undefined }],
    ['a cache that is null', { cache: null }],
    ['a list for an object', { journal: [] }],
    ['an object for a list', { operations: {} }],
    ['a list with something else in it', { operations: [{ name: 'READ', requests: 1 }] }],
  ])('with %s are not believed', (_, change) => {
    expect(decodeText(JSON.stringify({ ...STATISTICS, ...change }))).toBeNull();
  });

  it('are not found in what is no such text', () => {
    for (const text of ['', 'null', '[]', '1', '{', '{}', JSON.stringify(STATISTICS).slice(0, -1)]) {
      expect(decodeText(text)).toBeNull();
    }
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => decodeStatistics(bytes) === null));
    fc.assert(fc.property(fc.json(), (text) => decodeText(text) === null));
  });

  it('fit their buffer with every operation and the longest names', () => {
    const operations = Array.from({ length: 60 }, () => ({
      name: 'COPY_FILE_RANGE_64',
      requests: Number.MAX_SAFE_INTEGER,
      errors: Number.MAX_SAFE_INTEGER,
    }));
    const name = '\u0001'.repeat(256);
    const text = encodeStatistics({ ...STATISTICS, operations, device: name, mountPoint: name });
    expect(text.length).toBeLessThan(STATISTICS_BYTES);
  });
});
