import { describe, expect, it } from 'vitest';
import { decodeArguments, encodeArguments } from '../../../shared/service-protocol/argv-memfd.ts';
import { toByteString } from '../../../shared/service-protocol/byte-string.ts';
import { decodeHelperMessage, encodeHelperMessage } from '../../../shared/service-protocol/helper-messages.ts';
import type { HelperMessage, ServiceMessage } from '../../../shared/service-protocol/packets.ts';
import {
  ExpectedFormat,
  HelloFlag,
  IomapMode,
  RequestFlag,
  UNREADABLE_PATH,
} from '../../../shared/service-protocol/packets.ts';
import { decodeServiceMessage, encodeServiceMessage } from '../../../shared/service-protocol/service-messages.ts';

const bytesOfHex = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex.replaceAll(/\s/g, ''), 'hex'));
const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const text = toByteString;

/** Packets captured between libfuse's own helper and its example service. */
const HELPER_PACKETS: [string, string, HelperMessage][] = [
  [
    'a hello for root',
    '53414654 0001 0001 00000003',
    { kind: 'hello', minVersion: 1, maxVersion: 1, flags: HelloFlag.ALLOW_OTHER | HelloFlag.FUSEBLK },
  ],
  ['the argv file', '46494c45 00000000 6172677600', { kind: 'file', errno: 0, path: text('argv') }],
  ['the fusedev file', '46494c45 00000000 6675736564657600', { kind: 'file', errno: 0, path: text('fusedev') }],
  [
    'an opened image',
    '46494c45 00000000 2f7372762f64656d6f2e696d6700',
    { kind: 'file', errno: 0, path: text('/srv/demo.img') },
  ],
  [
    'an opened block device',
    '46494c45 00000000 2f6465762f6c6f6f703000',
    { kind: 'file', errno: 0, path: text('/dev/loop0') },
  ],
  ['the answer to a malformed OPEN', '46494c45 00000016 3f00', { kind: 'file', errno: 22, path: UNREADABLE_PATH }],
  [
    'an absent file',
    '46494c45 00000002 2f6e6f6e6578697374656e7400',
    { kind: 'file', errno: 2, path: text('/nonexistent') },
  ],
  ['a refusal', '5245504c 00000016', { kind: 'reply', errno: 22 }],
  ['a success', '5245504c 00000000', { kind: 'reply', errno: 0 }],
];

const SERVICE_PACKETS: [string, string, ServiceMessage][] = [
  ['a hello reply', '4c415354 0001 0000', { kind: 'hello-reply', version: 1 }],
  [
    'OPEN read-only and exclusive',
    '4f50454e 00000080 00000000 00000000 00000000 2f7372762f64656d6f2e696d6700',
    { kind: 'open', openFlags: 0x80, createMode: 0, requestFlags: 0, path: text('/srv/demo.img') },
  ],
  [
    'OPEN with the loop extension',
    '4f50454e 00000000 00000000 00000003 00000000 612f6200',
    {
      kind: 'open',
      openFlags: 0,
      createMode: 0,
      requestFlags: RequestFlag.QUIET | RequestFlag.TRYLOOP,
      path: text('a/b'),
    },
  ],
  [
    'BDEV read-write with a block size',
    '42444556 00000082 00000000 00000000 00001000 2f6465762f6c6f6f703000',
    {
      kind: 'open-block-device',
      openFlags: 0x82,
      createMode: 0,
      requestFlags: 0,
      blockSizeBytes: 4096,
      path: text('/dev/loop0'),
    },
  ],
  ['TYPE', '54595045 00000000', { kind: 'type', flags: 0 }],
  ['NAME', '4e414d45 2f6465762f6c6f6f703000', { kind: 'source', source: text('/dev/loop0') }],
  [
    'MNTP of a directory',
    '4d4e5450 4000 0000 2f6d6e742f64656d6f00',
    { kind: 'mount-point', expectedFormat: ExpectedFormat.DIRECTORY, path: text('/mnt/demo') },
  ],
  [
    'OPTS',
    '4f505453 616c6c6f775f6f746865722c64656661756c745f7065726d697373696f6e7300',
    { kind: 'options', options: text('allow_other,default_permissions') },
  ],
  ['MTAB', '4d544142 782d746573743d3100', { kind: 'mtab', options: text('x-test=1') }],
  ['DOIT nosuid,nodev,noatime', '444f4954 00000406', { kind: 'mount', msFlags: 0x406 }],
  ['BYEE', '42594545 00000000', { kind: 'goodbye', exitCode: 0 }],
  ['IOMA optional', '494f4d41 503f 0000', { kind: 'iomap-grant', mode: IomapMode.OPTIONAL }],
  ['IOMA mandatory', '494f4d41 5021 0000', { kind: 'iomap-grant', mode: IomapMode.MANDATORY }],
];

describe('packets captured from libfuse', () => {
  it.each(HELPER_PACKETS)('the helper sends %s in exactly these bytes', (_name, hex, message) => {
    expect(hexOf(encodeHelperMessage(message))).toBe(hexOf(bytesOfHex(hex)));
    expect(decodeHelperMessage(bytesOfHex(hex))).toEqual(message);
  });

  it.each(SERVICE_PACKETS)('the service sends %s in exactly these bytes', (_name, hex, message) => {
    expect(hexOf(encodeServiceMessage(message))).toBe(hexOf(bytesOfHex(hex)));
    expect(decodeServiceMessage(bytesOfHex(hex))).toEqual(message);
  });

  it('sizes agree with the recorded exchange over a block device', () => {
    const sizes = SERVICE_PACKETS.map(([name, hex]) => [name, bytesOfHex(hex).length]);
    expect(sizes).toContainEqual(['BDEV read-write with a block size', 31]);
    expect(sizes).toContainEqual(['NAME', 15]);
    expect(sizes).toContainEqual(['MNTP of a directory', 18]);
    expect(sizes).toContainEqual(['OPTS', 36]);
    expect(sizes).toContainEqual(['MTAB', 13]);
  });
});

describe('the argv file', () => {
  const subtype = text('service_ll');
  const words = ['/srv/demo.img', '/mnt/demo', '-o', 'ro'].map(text);
  const captured = bytesOfHex(
    `41524753 00000005
     00000040 0000000b  0000004b 0000000e  00000059 0000000a  00000063 00000003  00000066 00000003
     ${'00'.repeat(16)}
     ${Buffer.from('service_ll\0/srv/demo.img\0/mnt/demo\0-o\0ro\0').toString('hex')}`,
  );

  it('is read with the hole that the helper of libfuse leaves behind its table', () => {
    expect(captured.length).toBe(105);
    expect(decodeArguments(captured)).toEqual({ subtype, words });
  });

  it('is written without a hole', () => {
    const bytes = encodeArguments(subtype, words);
    expect(bytes.length).toBe(89);
    expect(decodeArguments(bytes)).toEqual({ subtype, words });
  });
});
