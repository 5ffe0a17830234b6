import { describe, expect, it } from 'vitest';
import { decodeHelperMessage } from '../../../shared/service-protocol/helper-messages.ts';
import { PACKET_BYTES_MAX } from '../../../shared/service-protocol/packets.ts';
import { ProtocolError } from '../../../shared/service-protocol/protocol-error.ts';
import { decodeServiceMessage } from '../../../shared/service-protocol/service-messages.ts';

const packet = (...parts: (string | number[])[]): Uint8Array =>
  Uint8Array.from(parts.flatMap((part) => (typeof part === 'string' ? [...Buffer.from(part, 'latin1')] : part)));
const u32 = (value: number): number[] => [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff];

function failure(decode: (bytes: Uint8Array) => unknown, bytes: Uint8Array): ProtocolError {
  try {
    decode(bytes);
  } catch (error) {
    if (error instanceof ProtocolError) return error;
    throw error;
  }
  throw new Error('the packet was accepted');
}

const open = (tag: string, requestFlags: number, path: string): Uint8Array =>
  packet(tag, u32(0), u32(0), u32(requestFlags), u32(0), path);

const fileRefusal = (path: string) => ({ kind: 'file', errno: 22, path });
const INVALID = { kind: 'reply', errno: 22 };

describe('commands that the helper refuses while the session goes on', () => {
  it.each([
    ['OPEN of 21 bytes, an empty path', open('OPEN', 0, '\0'), fileRefusal('?')],
    ['OPEN of 4 bytes', packet('OPEN'), fileRefusal('?')],
    ['OPEN without final NUL', open('OPEN', 0, '/dev/sda'), fileRefusal('?')],
    ['OPEN with request bit 2', open('OPEN', 4, '/dev/sda\0'), fileRefusal('/dev/sda')],
    ['OPEN with the top request bit', open('OPEN', 0x80000000, '/dev/sda\0'), fileRefusal('/dev/sda')],
    ['OPEN with request bit 2 and junk behind the path', open('OPEN', 4, '/a\0junk\0'), fileRefusal('/a')],
    ['OPEN of two NULs', open('OPEN', 0, '\0\0'), fileRefusal('')],
    ['BDEV of 21 bytes', open('BDEV', 0, '\0'), fileRefusal('?')],
    ['BDEV without final NUL', open('BDEV', 0, '/dev/sda'), fileRefusal('?')],
    ['TYPE of 4 bytes', packet('TYPE'), INVALID],
    ['TYPE of 9 bytes', packet('TYPE', u32(0), [0]), INVALID],
    ['TYPE with an unknown bit', packet('TYPE', u32(2)), INVALID],
    ['NAME without text', packet('NAME', [0]), INVALID],
    ['NAME without final NUL', packet('NAME', 'abc'), INVALID],
    ['NAME of two NULs', packet('NAME', '\0\0'), INVALID],
    ['MNTP without text', packet('MNTP', [0x40, 0, 0, 0], '\0'), INVALID],
    ['MNTP without final NUL', packet('MNTP', [0x40, 0, 0, 0], '/mnt'), INVALID],
    ['MNTP with bad padding', packet('MNTP', [0x40, 0, 0, 1], '/mnt\0'), INVALID],
    ['MNTP wanting a symbolic link', packet('MNTP', [0xa0, 0, 0, 0], '/mnt\0'), INVALID],
    ['OPTS without text', packet('OPTS', [0]), INVALID],
    ['MTAB without final NUL', packet('MTAB', 'x-a'), INVALID],
    ['DOIT of 12 bytes', packet('DOIT', u32(0), u32(0)), INVALID],
  ])('%s', (_name, bytes, refusal) => {
    const error = failure(decodeServiceMessage, bytes);
    expect(error.refusal).toEqual(refusal);
    expect(error.endsSession).toBe(false);
  });
});

describe('packets of a service that end the session', () => {
  it.each([
    ['no bytes', packet(), null],
    ['3 bytes', packet('OPE'), null],
    ['an unknown tag', packet('UMNT', u32(0)), null],
    ['a message of the helper', packet('REPL', u32(0)), null],
    ['a hello reply of 12 bytes', packet('LAST', [0, 1, 0, 0], u32(0)), null],
    ['a hello reply with nonzero padding', packet('LAST', [0, 1, 0, 1]), null],
    ['a goodbye of 4 bytes', packet('BYEE'), INVALID],
    ['a goodbye of 12 bytes', packet('BYEE', u32(0), u32(0)), INVALID],
    ['an iomap grant with bad padding', packet('IOMA', [0x50, 0x3f, 0, 1]), INVALID],
    ['an iomap grant with an unknown mode', packet('IOMA', [0x50, 0x40, 0, 0]), INVALID],
    ['an iomap grant of 4 bytes', packet('IOMA'), INVALID],
    ['65537 bytes', new Uint8Array(PACKET_BYTES_MAX + 1).fill(0x41), null],
  ])('%s', (_name, bytes, refusal) => {
    const error = failure(decodeServiceMessage, bytes);
    expect(error.refusal).toEqual(refusal);
    expect(error.endsSession).toBe(true);
  });
});

describe('packets of a helper that end the session', () => {
  it.each([
    ['a hello of 16 bytes', packet('SAFT', u32(0x10001), u32(3), u32(0)), 'SAFT', 12],
    ['a hello of 11 bytes', packet('SAFT', u32(0x10001), [0, 0, 0]), 'SAFT', 11],
    ['a bad magic', packet('SAFE', u32(0x10001), u32(3)), 'SAFE', 0],
    ['an unprintable magic', packet(u32(1), u32(0)), '0x00000001', 0],
    ['a file without a path', packet('FILE', u32(0)), 'FILE', 8],
    ['a file whose path has no NUL', packet('FILE', u32(0), 'argv'), 'FILE', 12],
    ['a file with bytes behind its path', packet('FILE', u32(0), 'argv\0x\0'), 'FILE', 12],
    ['a reply of 12 bytes', packet('REPL', u32(0), u32(0)), 'REPL', 8],
    ['a message of the service', packet('TYPE', u32(0)), 'TYPE', 0],
    ['3 bytes', packet('FIL'), 'unknown', 0],
  ])('%s', (_name, bytes, tag, offset) => {
    const error = failure(decodeHelperMessage, bytes);
    expect(error.packet).toBe(tag);
    expect(error.offset).toBe(offset);
    expect(error.refusal).toBeNull();
    expect(error.endsSession).toBe(true);
  });
});

describe('C strings', () => {
  it('end at the first NUL, and the rest of a command is ignored', () => {
    expect(decodeServiceMessage(open('OPEN', 0, '/srv/a\0junk\0'))).toMatchObject({ kind: 'open', path: '/srv/a' });
    expect(decodeServiceMessage(packet('NAME', '/dev/sda\0junk\0'))).toEqual({ kind: 'source', source: '/dev/sda' });
  });

  it('keep bytes that are no valid UTF-8', () => {
    const message = decodeServiceMessage(packet('NAME', [0x2f, 0xff, 0xc3, 0x28], '\0'));
    expect(message).toEqual({ kind: 'source', source: '/\xff\xc3(' });
  });

  it('may fill a packet to its limit', () => {
    const bytes = new Uint8Array(PACKET_BYTES_MAX).fill(0x61);
    bytes.set(Buffer.from('OPTS'));
    bytes[PACKET_BYTES_MAX - 1] = 0;
    const message = decodeServiceMessage(bytes);
    expect(message.kind === 'options' && message.options.length).toBe(PACKET_BYTES_MAX - 5);
  });
});
