import type { Crc32c } from '../checksum.ts';

const FOUR_ZEROS = new Uint8Array(4);

/** CRC32C of bytes[0, length) with the 32-bit field at `fieldAt` taken as zero. */
export function crcWithZeroedField(
  crc32c: Crc32c,
  seed: number,
  bytes: Uint8Array,
  fieldAt: number,
  length: number,
): number {
  const before = crc32c(seed, bytes, 0, fieldAt);
  const field = crc32c(before, FOUR_ZEROS, 0, 4);
  return crc32c(field, bytes, fieldAt + 4, length) >>> 0;
}
