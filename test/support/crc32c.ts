/** CRC32C a bit at a time by table, the plain way: what the engine's own sums are compared with. */
const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte;
  for (let bit = 0; bit < 8; bit++)
    remainder = (remainder & 1) === 0 ? remainder >>> 1 : (remainder >>> 1) ^ 0x82f63b78;
  return remainder;
});

/** Same contract as the engine's Crc32c: continues `crc` over bytes[start, end), no inversion. */
export function referenceCrc32c(crc: number, bytes: Uint8Array, start: number, end: number): number {
  let sum = crc;
  for (let at = start; at < end; at++) sum = (sum >>> 8) ^ table[(sum ^ bytes[at]) & 0xff];
  return sum >>> 0;
}
