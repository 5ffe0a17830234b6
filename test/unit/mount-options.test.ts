import { describe, expect, it } from 'vitest';
import { joinMountOptions, mountOption, splitMountOptions } from '../../shared/mount-options.ts';
import { type ByteString, fromByteString, toByteString } from '../../shared/service-protocol/byte-string.ts';
import { parseSize } from '../../shared/size.ts';

const words = (list: string): string[] => splitMountOptions(toByteString(list)).map((option) => option.word);

describe('a list of mount options', () => {
  it('is split at commas, in order, without empty words', () => {
    expect(words('ro,noatime,,x=1,')).toEqual(['ro', 'noatime', 'x=1']);
    expect(words('')).toEqual([]);
    expect(words(',,,')).toEqual([]);
  });

  it('takes the character after a backslash literally', () => {
    expect(words('a\\,b,c\\\\d,\\e')).toEqual(['a,b', 'c\\d', 'e']);
  });

  it('takes three octal digits after a backslash as one byte', () => {
    expect(words('a\\054b')).toEqual(['a,b']);
    expect(splitMountOptions(toByteString('x=\\303\\244')).map((option) => fromByteString(option.word))).toEqual([
      'x=ä',
    ]);
  });

  it('takes other digits after a backslash literally', () => {
    expect(words('\\05,\\400,\\08a')).toEqual(['05', '400', '08a']);
  });

  it('keeps a backslash at its end', () => {
    expect(words('a\\')).toEqual(['a\\']);
  });

  it('separates name and value at the first equals sign', () => {
    expect(splitMountOptions(toByteString('a=b=c,d=,e'))).toEqual([
      { word: 'a=b=c', name: 'a', value: 'b=c' },
      { word: 'd=', name: 'd', value: '' },
      { word: 'e', name: 'e', value: null },
    ]);
    expect(mountOption('=x' as ByteString)).toEqual({ word: '=x', name: '', value: 'x' });
  });

  it('is escaped when it is put together', () => {
    expect(joinMountOptions(['a,b', 'c\\d', 'e'].map(toByteString))).toBe('a\\,b,c\\\\d,e');
  });
});

describe('a size', () => {
  it.each([
    ['0', 0],
    ['4096', 4096],
    ['64k', 65536],
    ['32M', 33554432],
    ['1g', 1073741824],
    ['9007199254740991', Number.MAX_SAFE_INTEGER],
  ])('%s is %d bytes', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  it.each(['', 'k', '-1', '1.5m', '0x10', '1t', '1kb', ' 1', '9007199254740992', '9007199254740991k'])(
    '"%s" is none',
    (text) => {
      expect(parseSize(text)).toBeNull();
    },
  );
});
