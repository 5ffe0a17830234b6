import { IncompatibleError } from './errors.ts';
import { HashVersion, UNSIGNED_HASH_SHIFT } from './layout/htree.ts';
import { type Superblock, SuperblockFlag } from './layout/superblock.ts';

/** A name's place in hash order. `major` is even, at most 0xfffffffc; both are unsigned 32-bit numbers. */
export class NameHash {
  major = 0;
  minor = 0;
}

/** 0x7fffffff is the end of a directory when shifted right by one, so no name may hash to it. */
const END_OF_DIRECTORY = 0xfffffffe;
const LAST_USABLE = 0xfffffffc;

const TEA_WORDS = 4;
const HALF_MD4_WORDS = 8;
const TEA_DELTA = 0x9e3779b9 | 0;
const ROUND_2 = 0x5a827999;
const ROUND_3 = 0x6ed9eba1;

const state = new Int32Array(4);
const message = new Int32Array(HALF_MD4_WORDS);

/** The version to hash with: those that leave signedness open take it from the superblock. */
export function effectiveHashVersion(superblock: Superblock, version: number): number {
  const unsigned = (superblock.flags & SuperblockFlag.UNSIGNED_HASH) !== 0;
  return version <= HashVersion.TEA && unsigned ? version + UNSIGNED_HASH_SHIFT : version;
}

/**
 * Hashes bytes[start, end) as directory indexes do (kernel docs: ext4, "Hash Tree Directories"):
 * a rolling multiplicative hash, MD4 with half-size blocks, or the Tiny Encryption Algorithm.
 */
export function hashName(
  version: number,
  seed: Uint32Array,
  bytes: Uint8Array,
  start: number,
  end: number,
  out: NameHash,
): void {
  switch (version) {
    case HashVersion.LEGACY:
    case HashVersion.LEGACY_UNSIGNED:
      setHash(out, legacyHash(bytes, start, end, version === HashVersion.LEGACY), 0);
      return;
    case HashVersion.HALF_MD4:
    case HashVersion.HALF_MD4_UNSIGNED:
      halfMd4(seed, bytes, start, end, version === HashVersion.HALF_MD4);
      setHash(out, state[1], state[2]);
      return;
    case HashVersion.TEA:
    case HashVersion.TEA_UNSIGNED:
      tea(seed, bytes, start, end, version === HashVersion.TEA);
      setHash(out, state[0], state[1]);
      return;
    default:
      throw new IncompatibleError(`directory hash version ${version} is not supported`);
  }
}

function setHash(out: NameHash, major: number, minor: number): void {
  const even = (major & ~1) >>> 0;
  out.major = even === END_OF_DIRECTORY ? LAST_USABLE : even;
  out.minor = minor >>> 0;
}

const signExtend = (byte: number): number => (byte << 24) >> 24;

function legacyHash(bytes: Uint8Array, start: number, end: number, signed: boolean): number {
  let current = 0x12a3fe2d;
  let previous = 0x37abe8f9;
  for (let at = start; at < end; at++) {
    const byte = signed ? signExtend(bytes[at]) : bytes[at];
    let next = (previous + (current ^ Math.imul(byte, 7152373))) | 0;
    if (next < 0) next = (next - 0x7fffffff) | 0;
    previous = current;
    current = next;
  }
  return current << 1;
}

/** The seed replaces MD4's own initial state unless it is all zero. */
function startState(seed: Uint32Array): void {
  if ((seed[0] | seed[1] | seed[2] | seed[3]) !== 0) {
    for (let word = 0; word < 4; word++) state[word] = seed[word];
    return;
  }
  state[0] = 0x67452301;
  state[1] = 0xefcdab89;
  state[2] = 0x98badcfe;
  state[3] = 0x10325476;
}

/**
 * Packs up to `words` words of the name, first byte highest. What the name does not fill is padded
 * with the number of bytes that were left, in every byte.
 */
function packMessage(bytes: Uint8Array, start: number, end: number, words: number, signed: boolean): void {
  const remaining = end - start;
  const padByte = remaining & 0xff;
  const pad = padByte * 0x01010101;
  const stop = start + Math.min(remaining, words * 4);
  let word = 0;
  let value = pad;
  let filled = 0;
  for (let at = start; at < stop; at++) {
    value = ((signed ? signExtend(bytes[at]) : bytes[at]) + (value << 8)) | 0;
    if (++filled === 4) {
      message[word++] = value;
      value = pad;
      filled = 0;
    }
  }
  if (word < words) message[word++] = value;
  while (word < words) message[word++] = pad;
}

function tea(seed: Uint32Array, bytes: Uint8Array, start: number, end: number, signed: boolean): void {
  startState(seed);
  for (let at = start; at < end; at += TEA_WORDS * 4) {
    packMessage(bytes, at, end, TEA_WORDS, signed);
    teaBlock();
  }
}

function teaBlock(): void {
  let x = state[0];
  let y = state[1];
  let sum = 0;
  for (let round = 0; round < 16; round++) {
    sum = (sum + TEA_DELTA) | 0;
    x = (x + (((y << 4) + message[0]) ^ (y + sum) ^ ((y >>> 5) + message[1]))) | 0;
    y = (y + (((x << 4) + message[2]) ^ (x + sum) ^ ((x >>> 5) + message[3]))) | 0;
  }
  state[0] += x;
  state[1] += y;
}

function halfMd4(seed: Uint32Array, bytes: Uint8Array, start: number, end: number, signed: boolean): void {
  startState(seed);
  for (let at = start; at < end; at += HALF_MD4_WORDS * 4) {
    packMessage(bytes, at, end, HALF_MD4_WORDS, signed);
    halfMd4Block();
  }
}

const rotate = (value: number, bits: number): number => (value << bits) | (value >>> (32 - bits));
const choose = (a: number, b: number, c: number, d: number, word: number, bits: number): number =>
  rotate((a + (d ^ (b & (c ^ d))) + message[word]) | 0, bits);
const majority = (a: number, b: number, c: number, d: number, word: number, bits: number): number =>
  rotate((a + ((b & c) + ((b ^ c) & d)) + message[word] + ROUND_2) | 0, bits);
const parity = (a: number, b: number, c: number, d: number, word: number, bits: number): number =>
  rotate((a + (b ^ c ^ d) + message[word] + ROUND_3) | 0, bits);

/** One block of MD4 cut down to eight words: three rounds of eight steps. */
function halfMd4Block(): void {
  let a = state[0];
  let b = state[1];
  let c = state[2];
  let d = state[3];

  for (let word = 0; word < 8; word += 4) {
    a = choose(a, b, c, d, word, 3);
    d = choose(d, a, b, c, word + 1, 7);
    c = choose(c, d, a, b, word + 2, 11);
    b = choose(b, c, d, a, word + 3, 19);
  }
  for (let word = 1; word >= 0; word--) {
    a = majority(a, b, c, d, word, 3);
    d = majority(d, a, b, c, word + 2, 5);
    c = majority(c, d, a, b, word + 4, 9);
    b = majority(b, c, d, a, word + 6, 13);
  }
  for (let word = 3; word >= 1; word -= 2) {
    a = parity(a, b, c, d, word, 3);
    d = parity(d, a, b, c, word + 4, 9);
    c = parity(c, d, a, b, word - 1, 11);
    b = parity(b, c, d, a, word + 3, 15);
  }

  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
}
