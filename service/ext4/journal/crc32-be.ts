/** CRC-32 with the most significant bit first, polynomial 0x04c11db7: the sum of jbd2's transaction checksum. */
const POLYNOMIAL = 0x04c11db7;

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte << 24;
  for (let bit = 0; bit < 8; bit++) {
    remainder = (remainder & 0x80000000) === 0 ? remainder << 1 : (remainder << 1) ^ POLYNOMIAL;
  }
  return remainder;
});

/** Continues `crc` over `bytes`, with no inversion before or after. */
export function crc32Be(crc: number, bytes: Uint8Array): number {
  let sum = crc;
  for (let at = 0; at < bytes.length; at++) {
    sum = (sum << 8) ^ table[((sum >>> 24) ^ bytes[at]) & 0xff];
  }
  return sum >>> 0;
}
