import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addon } from '../../native/addon.ts';

const zeros = new Uint8Array(32);
const ones = new Uint8Array(32).fill(0xff);
const rising = Uint8Array.from({ length: 32 }, (_, i) => i);
const falling = rising.slice().reverse();
/** A SCSI Read (10) command PDU. */
const readCommand = Uint8Array.from([
  0x01, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 0x04, 0, 0, 0, 0, 0x14, 0, 0, 0, 0x18,
  0x28, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0, 0, 0,
]);
const digits = new TextEncoder().encode('123456789');

describe.each([
  ['the fastest for this processor', addon.crc32c],
  ['portable', addon.crc32cPortable],
])('CRC32C, %s', (_, crc32c) => {
  it.each([
    ['32 zero bytes', zeros, 0x8a9136aa],
    ['32 bytes of 0xff', ones, 0x62a8ab43],
    ['32 rising bytes', rising, 0x46dd794e],
    ['32 falling bytes', falling, 0x113fdb5c],
    ['an iSCSI read command', readCommand, 0xd9963a56],
    ['the digits 1 to 9', digits, 0xe3069283],
  ])('agrees with the reference for %s (RFC 3720, B.4)', (_name, bytes, expected) => {
    expect(~crc32c(0xffffffff, bytes, 0, bytes.length) >>> 0).toBe(expected);
  });

  it('inverts neither before nor after', () => {
    expect(crc32c(0, zeros, 0, 32)).toBe(0);
    expect(crc32c(0xdeadbeef, zeros, 7, 7)).toBe(0xdeadbeef);
  });

  it('continues from an earlier checksum', () => {
    const half = crc32c(0xffffffff, readCommand, 0, 19);
    expect(crc32c(half, readCommand, 19, 48)).toBe(crc32c(0xffffffff, readCommand, 0, 48));
  });

  it('refuses ranges outside the bytes', () => {
    expect(() => crc32c(0, zeros, 0, 33)).toThrow(TypeError);
    expect(() => crc32c(0, zeros, 5, 4)).toThrow(TypeError);
    expect(() => crc32c(0, zeros, -1, 4)).toThrow(TypeError);
  });
});

it('both variants agree for every length, start and initial value', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 300 }),
      fc.nat(16),
      fc.integer({ min: 0, max: 0xffffffff }),
      (bytes, skip, crc) => {
        const start = Math.min(skip, bytes.length);
        expect(addon.crc32c(crc, bytes, start, bytes.length)).toBe(
          addon.crc32cPortable(crc, bytes, start, bytes.length),
        );
      },
    ),
    { numRuns: 2000 },
  );
});
