import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  BROKER_PACKET_BYTES_MAX,
  type BrokerRequest,
  decodeAnswer,
  decodeRequest,
  encodeAnswer,
  encodeRequest,
} from '../../helper/broker/messages.ts';
import { parseMountTable } from '../../helper/mount-info.ts';
import { ProtocolError } from '../../shared/service-protocol/protocol-error.ts';

const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 100 }).filter((value) => !value.includes('\0'));
const u32 = fc.nat({ max: 2 ** 32 - 1 });

const request: fc.Arbitrary<BrokerRequest> = fc.oneof(
  fc.record({ kind: fc.constant('connect' as const), subtype: text }),
  fc.record({ kind: fc.constant('source' as const), name: text }),
  fc.record({ kind: fc.constant('mount' as const), msFlags: u32, options: u32, maxRead: u32, subtype: text }),
  fc.constant({ kind: 'keep' as const }),
  fc.record({ kind: fc.constant('unmount' as const), lazy: fc.boolean(), name: text }),
);

/** Null when the packet is refused in the one way that is allowed. */
function decoded<T>(decode: () => T): T | null {
  try {
    return decode();
  } catch (error) {
    expect(error).toBeInstanceOf(ProtocolError);
    return null;
  }
}

describe('a message of user and broker', () => {
  it('comes out as it went in', () => {
    fc.assert(
      fc.property(request, (value) => {
        expect(decodeRequest(encodeRequest(value))).toEqual(value);
      }),
    );
  });

  it('is refused or understood, whatever its bytes are', () => {
    const bytes = fc.uint8Array({ maxLength: 300 });
    fc.assert(
      fc.property(bytes, (packet) => {
        decoded(() => decodeRequest(packet));
        decoded(() => decodeAnswer(packet));
      }),
    );
  });

  it('is refused, or means one thing only, with any byte of it changed or missing', () => {
    const damage = fc.record({ value: request, at: fc.nat(), byte: fc.nat({ max: 255 }), cut: fc.boolean() });
    fc.assert(
      fc.property(damage, ({ value, at, byte, cut }) => {
        const packet = encodeRequest(value);
        packet[at % packet.length] = byte;
        const result = decoded(() => decodeRequest(cut ? packet.subarray(0, at % packet.length) : packet));
        if (result !== null) expect(decodeRequest(encodeRequest(result))).toEqual(result);
      }),
    );
  });

  it('explains in any number of words, and still fits a packet', () => {
    fc.assert(
      fc.property(u32, fc.string({ unit: 'binary', maxLength: 3000 }), (errno, words) => {
        const packet = encodeAnswer({ errno, text: words });
        expect(packet.length).toBeLessThanOrEqual(BROKER_PACKET_BYTES_MAX);
        expect(decodeAnswer(packet).errno).toBe(errno);
      }),
    );
  });
});

describe('the mount table', () => {
  it('is read whatever tags and names it has', () => {
    const plain = '36 35 98:0 / /mnt rw,noatime - ext4 /dev/root rw,errors=continue';
    const tagged =
      '37 36 0:40 / /a\\040-\\040fuse rw shared:1 master:2 - fuse.ext4 x\\040y rw,user_id=1000,group_id=1000';
    expect(parseMountTable(`${plain}\n${tagged}\n`)).toEqual([
      { id: 36, parentId: 35, device: '98:0', type: 'ext4', mountPoint: '/mnt', options: ['rw', 'errors=continue'] },
      {
        id: 37,
        parentId: 36,
        device: '0:40',
        type: 'fuse.ext4',
        mountPoint: '/a - fuse',
        options: ['rw', 'user_id=1000', 'group_id=1000'],
      },
    ]);
  });
});
