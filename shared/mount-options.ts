import type { ByteString } from './service-protocol/byte-string.ts';

/** One word of an `-o` list, escapes resolved: `word` is `name` or `name=value`. */
export interface MountOption {
  readonly word: ByteString;
  readonly name: ByteString;
  /** What follows the first "=", null when there is none. */
  readonly value: ByteString | null;
}

const COMMA = ',';
const BACKSLASH = '\\';
const OCTAL_BYTE = /^[0-3][0-7]{2}$/;

/**
 * Splits an `-o` list as libfuse's option parser does (fuse_opt.h): a comma separates, a backslash takes
 * the next character literally, a backslash and three octal digits are that byte. Empty words are dropped.
 */
export function splitMountOptions(list: ByteString): MountOption[] {
  const options: MountOption[] = [];
  let word = '';
  let at = 0;
  while (at < list.length) {
    const character = list[at];
    if (character === COMMA) {
      if (word !== '') options.push(mountOption(word as ByteString));
      word = '';
      at += 1;
    } else if (character === BACKSLASH && at + 1 < list.length) {
      const digits = list.slice(at + 1, at + 4);
      const octal = OCTAL_BYTE.test(digits);
      word += octal ? String.fromCharCode(Number.parseInt(digits, 8)) : list[at + 1];
      at += octal ? 4 : 2;
    } else {
      word += character;
      at += 1;
    }
  }
  if (word !== '') options.push(mountOption(word as ByteString));
  return options;
}

/** One word that is not part of a list: nothing in it is an escape. */
export function mountOption(word: ByteString): MountOption {
  const equals = word.indexOf('=');
  if (equals < 0) return { word, name: word, value: null };
  return { word, name: word.slice(0, equals) as ByteString, value: word.slice(equals + 1) as ByteString };
}

/** The list that `splitMountOptions` takes apart into these words again. */
export function joinMountOptions(words: readonly ByteString[]): ByteString {
  return words.map((word) => word.replaceAll(/[\\,]/g, '\\$&')).join(COMMA) as ByteString;
}
