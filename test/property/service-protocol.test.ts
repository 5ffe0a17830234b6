import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { joinMountOptions, splitMountOptions } from '../../shared/mount-options.ts';
import { ARGUMENTS_BYTES_MAX, decodeArguments, encodeArguments } from '../../shared/service-protocol/argv-memfd.ts';
import {
  type ByteString,
  byteStringOf,
  bytesOf,
  fromByteString,
  toByteString,
} from '../../shared/service-protocol/byte-string.ts';
import { decodeHelperMessage, encodeHelperMessage } from '../../shared/service-protocol/helper-messages.ts';
import type { HelperMessage, ServiceMessage } from '../../shared/service-protocol/packets.ts';
import { IomapMode, PACKET_BYTES_MAX } from '../../shared/service-protocol/packets.ts';
import { ProtocolError } from '../../shared/service-protocol/protocol-error.ts';
import { decodeServiceMessage, encodeServiceMessage } from '../../shared/service-protocol/service-messages.ts';

const u16 = fc.nat({ max: 0xffff });
const u32 = fc.nat({ max: 0xffffffff });

/** Bytes 1 to 255 in any order. */
const byteString = (minLength: number): fc.Arbitrary<ByteString> =>
  fc.uint8Array({ min: 1, minLength, maxLength: 300 }).map((bytes) => byteStringOf(bytes, 0, bytes.length));
const text = byteString(1);

const helperMessage: fc.Arbitrary<HelperMessage> = fc.oneof(
  fc.record({ kind: fc.constant('hello' as const), minVersion: u16, maxVersion: u16, flags: u32 }),
  fc.record({ kind: fc.constant('file' as const), errno: u32, path: byteString(0) }),
  fc.record({ kind: fc.constant('reply' as const), errno: u32 }),
);

const openFields = { openFlags: u32, createMode: u32, requestFlags: fc.nat({ max: 3 }), path: text };

const serviceMessage: fc.Arbitrary<ServiceMessage> = fc.oneof(
  fc.record({ kind: fc.constant('hello-reply' as const), version: u16 }),
  fc.record({ kind: fc.constant('open' as const), ...openFields }),
  fc.record({ kind: fc.constant('open-block-device' as const), blockSizeBytes: u32, ...openFields }),
  fc.record({ kind: fc.constant('type' as const), flags: fc.nat({ max: 1 }) }),
  fc.record({ kind: fc.constant('source' as const), source: text }),
  fc.record({
    kind: fc.constant('mount-point' as const),
    expectedFormat: fc.constantFrom(0, 0x4000, 0x8000),
    path: text,
  }),
  fc.record({ kind: fc.constant('options' as const), options: text }),
  fc.record({ kind: fc.constant('mtab' as const), options: text }),
  fc.record({ kind: fc.constant('mount' as const), msFlags: u32 }),
  fc.record({ kind: fc.constant('goodbye' as const), exitCode: u32 }),
  fc.record({
    kind: fc.constant('iomap-grant' as const),
    mode: fc.constantFrom(IomapMode.OPTIONAL, IomapMode.MANDATORY),
  }),
);

const TAGS = [
  'SAFT',
  'LAST',
  'FILE',
  'OPEN',
  'BDEV',
  'TYPE',
  'NAME',
  'MNTP',
  'OPTS',
  'MTAB',
  'DOIT',
  'BYEE',
  'REPL',
  'IOMA',
  'ARGS',
];

/** Garbage, mostly behind a tag that leads somewhere. */
const packet = fc
  .tuple(fc.option(fc.constantFrom(...TAGS)), fc.uint8Array({ maxLength: 64 }), fc.boolean())
  .map(([tag, body, terminated]) => Uint8Array.from([...Buffer.from(tag ?? ''), ...body, ...(terminated ? [0] : [])]));

const RUNS = { numRuns: 5_000 };

/** The result of a decoder, null when it refused properly. */
function decoded<T>(decode: (bytes: Uint8Array) => T, bytes: Uint8Array): T | null {
  try {
    return decode(bytes);
  } catch (error) {
    if (error instanceof ProtocolError && error.offset <= Math.max(bytes.length, PACKET_BYTES_MAX)) return null;
    throw error;
  }
}

describe('the service protocol', () => {
  it('decodes every message of the helper to what was encoded', () => {
    fc.assert(
      fc.property(helperMessage, (message) => {
        expect(decodeHelperMessage(encodeHelperMessage(message))).toEqual(message);
      }),
      RUNS,
    );
  });

  it('decodes every message of the service to what was encoded', () => {
    fc.assert(
      fc.property(serviceMessage, (message) => {
        expect(decodeServiceMessage(encodeServiceMessage(message))).toEqual(message);
      }),
      RUNS,
    );
  });

  it('answers arbitrary packets with a message or a ProtocolError, and what it accepts survives a round trip', () => {
    fc.assert(
      fc.property(packet, (bytes) => {
        const fromHelper = decoded(decodeHelperMessage, bytes);
        if (fromHelper !== null) expect(encodeHelperMessage(fromHelper)).toEqual(bytes);
        const fromService = decoded(decodeServiceMessage, bytes);
        if (fromService === null) return;
        const again = encodeServiceMessage(fromService);
        expect(again.length).toBeLessThanOrEqual(bytes.length);
        expect(decodeServiceMessage(again)).toEqual(fromService);
      }),
      RUNS,
    );
  });

  it('refuses to encode a packet above the limit', () => {
    fc.assert(
      fc.property(fc.integer({ min: PACKET_BYTES_MAX - 40, max: PACKET_BYTES_MAX + 40 }), (length) => {
        const options = toByteString('o'.repeat(length));
        const encode = () => encodeServiceMessage({ kind: 'options', options });
        if (length + 5 <= PACKET_BYTES_MAX) expect(encode()).toHaveLength(length + 5);
        else expect(encode).toThrow(ProtocolError);
      }),
      { numRuns: 100 },
    );
  });
});

describe('the argv file', () => {
  it('gives back the words that were written', () => {
    fc.assert(
      fc.property(byteString(0), fc.array(byteString(0), { maxLength: 20 }), (subtype, words) => {
        expect(decodeArguments(encodeArguments(subtype, words))).toEqual({ subtype, words });
      }),
      { numRuns: 1_000 },
    );
  });

  it('never yields more text than the file has, whatever a few changed bytes make of it', () => {
    const change = fc.tuple(fc.nat({ max: 200 }), fc.nat({ max: 255 }));
    fc.assert(
      fc.property(fc.array(text, { maxLength: 8 }), fc.array(change, { maxLength: 6 }), (words, changes) => {
        const bytes = encodeArguments(toByteString('ext4'), words);
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
        const result = decoded(decodeArguments, bytes);
        if (result === null) return;
        const total = result.words.reduce((sum, word) => sum + word.length + 1, result.subtype.length + 1);
        expect(total).toBeLessThan(bytes.length);
      }),
      RUNS,
    );
  });

  it('answers arbitrary bytes with words or a ProtocolError', () => {
    fc.assert(
      fc.property(packet, (bytes) => {
        const result = decoded(decodeArguments, bytes);
        if (result !== null) expect(bytes.length).toBeLessThanOrEqual(ARGUMENTS_BYTES_MAX);
      }),
      RUNS,
    );
  });
});

describe('byte strings', () => {
  it('keep all bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        expect(Uint8Array.from(bytesOf(byteStringOf(bytes, 0, bytes.length)))).toEqual(bytes);
      }),
    );
  });

  it('bring text through UTF-8 and back', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (words) => {
        expect(fromByteString(toByteString(words))).toBe(words);
      }),
    );
  });
});

describe('option lists', () => {
  it('come apart into the words that were joined', () => {
    // Only commas and backslashes are escaped, so no escape ever looks octal.
    fc.assert(
      fc.property(fc.array(text), (words) => {
        expect(splitMountOptions(joinMountOptions(words)).map((option) => option.word)).toEqual(words);
      }),
      RUNS,
    );
  });
});
