import { addon } from './addon.ts';

/** CRC32C of bytes[start, end) continuing from `crc`, no inversion before or after (as ext4 uses it). */
export const crc32c: (crc: number, bytes: Uint8Array, start: number, end: number) => number = addon.crc32c;
