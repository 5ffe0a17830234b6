import { expect, test } from 'vitest';
import { crc32Be } from '../../../service/ext4/journal/crc32-be.ts';

const ascii = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0));

test('crc32Be gives the published check value of CRC-32/MPEG-2', () => {
  expect(crc32Be(0xffffffff, ascii('123456789'))).toBe(0x0376e6e7);
});

test('crc32Be continues where an earlier call stopped', () => {
  expect(crc32Be(crc32Be(0xffffffff, ascii('1234')), ascii('56789'))).toBe(0x0376e6e7);
});
