const TABLE = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 0 ? crc >>> 1 : (crc >>> 1) ^ 0xa001;
  return crc;
});

/**
 * CRC-16 (polynomial 0x8005, reflected) of bytes[start, end) continuing from `crc`, as the
 * uninit_bg feature protects group descriptors.
 */
export function crc16(crc: number, bytes: Uint8Array, start: number, end: number): number {
  let value = crc;
  for (let at = start; at < end; at++) value = (value >>> 8) ^ TABLE[(value ^ bytes[at]) & 0xff];
  return value;
}
