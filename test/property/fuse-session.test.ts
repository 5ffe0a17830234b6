import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IN_HEADER, Opcode } from '../../service/fuse/abi.ts';
import { Session } from '../../service/fuse/session.ts';
import { viewOf } from '../../shared/bytes.ts';
import { FakeChannel, FuseClient, parseReply, READ_ONLY_WISHES, requestBytes } from '../support/fuse-client.ts';
import { RecordingLog, ScriptedOperations } from '../support/fuse-operations.ts';

const HANDLED = Object.values(Opcode).filter((opcode) => opcode !== Opcode.INIT);

function connect() {
  const channel = new FakeChannel(64 * 1024, 64 * 1024);
  const operations = new ScriptedOperations();
  const session = new Session(channel, operations, {
    ...READ_ONLY_WISHES,
    posixAcl: true,
    trace: false,
    log: new RecordingLog(),
  });
  session.serve().catch(() => {});
  new FuseClient(channel).init();
  return { channel, operations };
}

/** Opcodes that the session knows, and any others. */
const opcodes = fc.oneof(fc.constantFrom(...HANDLED), fc.nat(0xffffffff));
const anyBytes = fc.uint8Array({ maxLength: 4096 });

describe('a session that is sent garbage', () => {
  it('writes no reply or one well-formed reply to any bytes at all', () => {
    const { channel } = connect();
    fc.assert(
      fc.property(anyBytes, (bytes) => {
        const before = channel.written.length;
        channel.deliver(bytes);
        const replies = channel.written.splice(before);
        expect(replies.length).toBeLessThanOrEqual(1);
        for (const message of replies) parseReply(message);
      }),
      { numRuns: 2000 },
    );
  });

  it('answers any body with one well-formed reply, or none to what is never answered', () => {
    const { channel } = connect();
    fc.assert(
      fc.property(opcodes, fc.bigInt(1n, 2n ** 64n - 1n), anyBytes, (opcode, unique, content) => {
        const bytes = requestBytes(opcode, 1, 0, content);
        viewOf(bytes).setBigUint64(IN_HEADER.unique, unique, true);
        const before = channel.written.length;
        channel.deliver(bytes);
        const replies = channel.written.splice(before);
        const unanswered = opcode === Opcode.FORGET || opcode === Opcode.BATCH_FORGET;
        expect(replies.length).toBe(unanswered ? 0 : 1);
        for (const message of replies) {
          parseReply(message);
          expect(viewOf(message).getBigUint64(8, true)).toBe(unique);
        }
      }),
      { numRuns: 3000 },
    );
  });

  it('shows no operation a name or body outside of the request', () => {
    const { channel, operations } = connect();
    let lengthBytes = 0;
    operations.handler = (request) => {
      expect(request.bodyEnd).toBeLessThanOrEqual(lengthBytes);
      expect(request.nameEnd).toBeLessThan(channel.requests[0].length);
      if (request.opcode === Opcode.LOOKUP || request.opcode === Opcode.GETXATTR) {
        expect(request.nameStart).toBeGreaterThanOrEqual(IN_HEADER.SIZE);
        expect(request.nameEnd).toBeGreaterThan(request.nameStart);
        expect(request.nameEnd).toBeLessThan(request.bodyEnd);
      }
      return 0;
    };
    fc.assert(
      fc.property(opcodes, anyBytes, fc.nat(0xffff), (opcode, content, extensions) => {
        const bytes = requestBytes(opcode, 1, 2, content);
        viewOf(bytes).setUint16(IN_HEADER.total_extlen, extensions % 64, true);
        lengthBytes = bytes.length;
        channel.deliver(bytes);
        for (const message of channel.written.splice(0)) expect(parseReply(message).errno).not.toBe(5);
      }),
      { numRuns: 2000 },
    );
  });
});
