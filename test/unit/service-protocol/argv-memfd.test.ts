import { describe, expect, it } from 'vitest';
import { ARGUMENTS_BYTES_MAX, decodeArguments, encodeArguments } from '../../../shared/service-protocol/argv-memfd.ts';
import { type ByteString, toByteString } from '../../../shared/service-protocol/byte-string.ts';
import { ProtocolError } from '../../../shared/service-protocol/protocol-error.ts';

const sample = (): { bytes: Uint8Array; view: DataView } => {
  const bytes = encodeArguments(toByteString('ext4'), ['/dev/sda', '/mnt'].map(toByteString));
  return { bytes, view: new DataView(bytes.buffer) };
};

const patched = (offset: number, value: number): Uint8Array => {
  const { bytes, view } = sample();
  view.setUint32(offset, value);
  return bytes;
};

describe('an argv file that breaks a rule', () => {
  it.each([
    ['nothing', new Uint8Array(0), 0],
    ['7 bytes', sample().bytes.subarray(0, 7), 7],
    ['another magic', patched(0, 0x41524754), 0],
    ['no words at all', patched(4, 0), 4],
    ['a word count beyond the file', patched(4, 0x20000001), 4],
    ['one table entry more than fits', patched(4, 6), 4],
    ['a string inside the table', patched(8, 8), 8],
    ['a string that starts behind the file', patched(8, 0x7fffffff), 12],
    ['position and length that overflow 32 bits', patched(8, 0xffffffff), 12],
    ['a length of zero', patched(12, 0), 12],
    ['a length beyond the file', patched(12, 0xffffffff), 12],
    ['a length that ends before the NUL', patched(12, 4), 35],
    ['a length that runs over the NUL', patched(12, 14), 32],
    ['more than a mebibyte', new Uint8Array(ARGUMENTS_BYTES_MAX + 1), ARGUMENTS_BYTES_MAX],
  ])('is refused: %s', (_name, bytes, offset) => {
    const decode = () => decodeArguments(bytes);
    expect(decode).toThrow(ProtocolError);
    expect(decode).toThrow(`ARGS packet, byte ${offset}:`);
  });

  it('is refused when many entries share one long string', () => {
    const words = 1000;
    const bytes = new Uint8Array(8 + words * 8 + 10_000).fill(0x61);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, 0x41524753);
    view.setUint32(4, words);
    bytes[bytes.length - 1] = 0;
    for (let word = 0; word < words; word++) {
      view.setUint32(8 + word * 8, 8 + words * 8);
      view.setUint32(12 + word * 8, 10_000);
    }
    expect(() => decodeArguments(bytes)).toThrow('overlap');
  });
});

describe('writing an argv file', () => {
  it('keeps empty words', () => {
    const words = ['', 'a', ''].map(toByteString);
    expect(decodeArguments(encodeArguments(toByteString('ext4'), words)).words).toEqual(words);
  });

  it('refuses a NUL inside a word', () => {
    expect(() => encodeArguments(toByteString('ext4'), ['a\0b' as ByteString])).toThrow(ProtocolError);
  });

  it('refuses more than a mebibyte', () => {
    const long = toByteString('x'.repeat(ARGUMENTS_BYTES_MAX));
    expect(() => encodeArguments(toByteString('ext4'), [long])).toThrow(ProtocolError);
  });
});
