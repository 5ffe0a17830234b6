import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { CorruptionError, DeviceError, FsError } from '../../../service/ext4/errors.ts';
import { Opcode } from '../../../service/fuse/abi.ts';
import { DEFERRED } from '../../../service/fuse/operations.ts';
import { Session } from '../../../service/fuse/session.ts';
import { Errno } from '../../../shared/errno.ts';
import {
  body,
  cString,
  FakeChannel,
  FuseClient,
  parseReply,
  requestBytes,
  u32,
  u64,
  zeros,
} from '../../support/fuse-client.ts';
import { RecordingLog, ScriptedOperations } from '../../support/fuse-operations.ts';

function connect(trace = false) {
  const channel = new FakeChannel();
  const log = new RecordingLog();
  const operations = new ScriptedOperations();
  const session = new Session(channel, operations, {
    posixAcl: false,
    writable: false,
    writebackCache: false,
    trace,
    log,
  });
  const served = session.serve();
  const client = new FuseClient(channel);
  client.init();
  return { channel, client, log, operations, session, served };
}

const READ_BODY = body(u64(0), u64(0), u32(4096), zeros(20));

/** A sound body for every opcode that is answered, and the operation that it must reach (null: none). */
const SOUND: readonly (readonly [keyof typeof Opcode, Uint8Array, string | null, number])[] = [
  ['LOOKUP', cString('name'), 'lookup', 0],
  ['GETATTR', zeros(16), 'getattr', 0],
  ['SETATTR', zeros(88), 'setattr', 0],
  ['READLINK', zeros(0), 'readlink', 0],
  ['SYMLINK', body(cString('new'), cString('target')), 'symlink', 0],
  ['MKNOD', body(zeros(16), cString('new')), 'mknod', 0],
  ['MKDIR', body(zeros(8), cString('new')), 'mkdir', 0],
  ['UNLINK', cString('name'), 'unlink', 0],
  ['RMDIR', cString('name'), 'rmdir', 0],
  ['RENAME', body(u64(1), cString('a'), cString('b')), 'rename', 0],
  ['LINK', body(u64(12), cString('b')), 'link', 0],
  ['OPEN', zeros(8), 'open', 0],
  ['READ', READ_BODY, 'read', 0],
  ['WRITE', body(zeros(40), zeros(512)), 'write', 0],
  ['STATFS', zeros(0), 'statfs', 0],
  ['RELEASE', zeros(24), 'release', 0],
  ['FSYNC', zeros(16), 'fsync', 0],
  ['SETXATTR', body(zeros(8), cString('user.a'), zeros(3)), 'setxattr', 0],
  ['GETXATTR', body(zeros(8), cString('user.a')), 'getxattr', 0],
  ['LISTXATTR', zeros(8), 'listxattr', 0],
  ['REMOVEXATTR', cString('user.a'), 'removexattr', 0],
  ['FLUSH', zeros(24), null, Errno.ENOSYS],
  ['OPENDIR', zeros(8), 'opendir', 0],
  ['READDIR', READ_BODY, 'readdir', 0],
  ['RELEASEDIR', zeros(24), null, 0],
  ['FSYNCDIR', zeros(16), 'fsyncdir', 0],
  ['ACCESS', zeros(8), 'access', 0],
  ['CREATE', body(zeros(16), cString('new')), 'create', 0],
  ['INTERRUPT', u64Body(7), null, Errno.ENOSYS],
  ['BMAP', zeros(16), 'bmap', 0],
  ['DESTROY', zeros(0), null, 0],
  ['IOCTL', zeros(32), 'ioctl', 0],
  ['POLL', zeros(24), null, Errno.ENOSYS],
  ['FALLOCATE', zeros(32), 'fallocate', 0],
  ['READDIRPLUS', READ_BODY, 'readdirplus', 0],
  ['RENAME2', body(zeros(16), cString('a'), cString('b')), 'rename2', 0],
  ['LSEEK', zeros(24), 'lseek', 0],
  ['COPY_FILE_RANGE', zeros(56), 'copyFileRange', 0],
  ['SETUPMAPPING', zeros(40), null, Errno.ENOSYS],
  ['REMOVEMAPPING', zeros(4), null, Errno.ENOSYS],
  ['SYNCFS', zeros(8), 'syncfs', 0],
  ['TMPFILE', body(zeros(16), cString('x')), 'tmpfile', 0],
  ['STATX', zeros(24), 'statx', 0],
  ['COPY_FILE_RANGE_64', zeros(56), 'copyFileRange64', 0],
];

function u64Body(value: number): Uint8Array {
  return body(u64(value));
}

describe('a session', () => {
  it('has a case here for every opcode that it knows', () => {
    const unanswered = ['FORGET', 'BATCH_FORGET', 'INIT'];
    const covered = [...SOUND.map(([name]) => name), ...unanswered];
    expect(new Set(covered)).toEqual(new Set(Object.keys(Opcode)));
  });

  it.each(SOUND)('hands %s to its operation', (name, content, operation, errno) => {
    const { client, operations } = connect();
    const reply = client.call(Opcode[name], 1, content);
    expect(reply.errno).toBe(errno);
    expect(reply.payload.length).toBe(0);
    expect(operations.calls).toEqual(operation === null ? [] : [operation]);
    expect(operations.begun).toBe(1);
  });

  it.each(SOUND.filter(([, content]) => content.length > 0))(
    'answers every truncation of %s without harm',
    (name, content) => {
      const { client, operations } = connect();
      for (let length = 0; length < content.length; length++) {
        const callsBefore = operations.calls.length;
        const reply = client.call(Opcode[name], 1, content.slice(0, length));
        expect([0, Errno.EINVAL, Errno.ENOSYS]).toContain(reply.errno);
        if (reply.errno === Errno.EINVAL) expect(operations.calls.length).toBe(callsBefore);
      }
    },
  );

  it('answers neither FORGET nor BATCH_FORGET, sound or not', () => {
    const { client } = connect();
    expect(client.send(Opcode.FORGET, 12, u64Body(3))).toBeNull();
    expect(client.send(Opcode.BATCH_FORGET, 0, body(u32(1), u32(0), u64(12), u64(1)))).toBeNull();
    expect(client.send(Opcode.FORGET, 12, zeros(0))).toBeNull();
    expect(client.send(Opcode.BATCH_FORGET, 0, body(u32(0xffffffff), u32(0)))).toBeNull();
  });

  it('answers unknown opcodes with ENOSYS, so that the kernel stops asking', () => {
    const { client, session } = connect();
    for (const opcode of [0, 7, 19, 31, 32, 33, 41, 54, 4096, 0xffffffff]) {
      expect(client.call(opcode, 1, zeros(64)).errno).toBe(Errno.ENOSYS);
    }
    expect(session.counts()).toContainEqual({ name: 'unknown', requests: 10, errors: 10 });
  });

  it('refuses names without NUL, and empty ones', () => {
    const { client, operations } = connect();
    expect(client.call(Opcode.LOOKUP, 1, new TextEncoder().encode('name')).errno).toBe(Errno.EINVAL);
    expect(client.call(Opcode.LOOKUP, 1, cString('')).errno).toBe(Errno.EINVAL);
    expect(client.call(Opcode.GETXATTR, 1, body(zeros(8), zeros(1))).errno).toBe(Errno.EINVAL);
    expect(operations.calls).toEqual([]);
  });

  it('shows an operation the bytes of the name and nothing around them', () => {
    const { client, operations } = connect();
    const seen: string[] = [];
    operations.handler = (request) => {
      seen.push(new TextDecoder().decode(request.name()));
      return Errno.OK;
    };
    client.call(Opcode.LOOKUP, 1, cString('a name that is longer'));
    client.call(Opcode.LOOKUP, 1, cString('b'));
    client.call(Opcode.GETXATTR, 1, body(zeros(8), cString('user.x')));
    expect(seen).toEqual(['a name that is longer', 'b', 'user.x']);
  });

  it('leaves extensions at the end of a request out of the body', () => {
    const { channel, operations } = connect();
    const seen: number[] = [];
    operations.handler = (request) => {
      seen.push(request.nameEnd - request.nameStart);
      return Errno.OK;
    };
    const bytes = requestBytes(Opcode.LOOKUP, 1, 1000, body(cString('abc'), zeros(16)));
    bytes[36] = 2; // total_extlen, in units of 8 bytes
    channel.deliver(bytes);
    expect(seen).toEqual([3]);
    bytes[36] = 200; // more than there is
    channel.deliver(bytes);
    expect(parseReply(channel.written[channel.written.length - 1]).errno).toBe(Errno.EINVAL);
  });

  it('gives an errno of an operation back, and drops what was built before it', () => {
    const { client, operations } = connect();
    operations.handler = (_request, reply) => {
      reply.data(new Uint8Array(100));
      return Errno.ENODATA;
    };
    const reply = client.call(Opcode.GETXATTR, 1, body(zeros(8), cString('user.a')));
    expect(reply).toMatchObject({ errno: Errno.ENODATA, payload: new Uint8Array(0) });
  });

  it('says nothing when a refusal is thrown', () => {
    const { client, log, operations } = connect();
    operations.handler = () => {
      throw new FsError(Errno.ESTALE, 'gone');
    };
    expect(client.call(Opcode.GETATTR, 99, zeros(16)).errno).toBe(Errno.ESTALE);
    expect(log.lines).toEqual([]);
  });

  it('answers corruption with EUCLEAN and one line that names inode, block and finding', () => {
    const { client, log, operations } = connect();
    operations.handler = () => {
      throw new CorruptionError('extent node', 'depth 9', { inode: 12, block: 77 });
    };
    expect(client.call(Opcode.GETATTR, 12, zeros(16)).errno).toBe(Errno.EUCLEAN);
    expect(log.lines).toEqual(['GETATTR on inode 12: corrupt extent node, inode 12, block 77: depth 9']);
  });

  it('answers a failing device with its errno and one line', () => {
    const { client, log, operations } = connect();
    operations.handler = () => {
      throw new DeviceError(Errno.EIO, 'read', 4096, 1024);
    };
    expect(client.call(Opcode.LOOKUP, 1, cString('x')).errno).toBe(Errno.EIO);
    expect(log.lines).toEqual(['LOOKUP on inode 1: device read of 1024 bytes at 4096 failed with errno 5']);
  });

  it('answers a bug of its own with EIO, logs where it was, and goes on', () => {
    const { client, log, operations } = connect();
    operations.handler = () => {
      throw new TypeError('undefined is not a function');
    };
    expect(client.call(Opcode.GETATTR, 1, zeros(16)).errno).toBe(Errno.EIO);
    expect(log.lines[0]).toContain('undefined is not a function');
    expect(log.lines[0]).toContain('session.test.ts');
    operations.handler = () => Errno.OK;
    expect(client.call(Opcode.GETATTR, 1, zeros(16)).errno).toBe(0);
  });

  it('sends the kernel no error number that it would refuse', () => {
    const { client, operations } = connect();
    for (const errno of [512, Errno.ENOPARAM, 100000]) {
      operations.handler = () => errno;
      expect(client.call(Opcode.GETATTR, 1, zeros(16)).errno).toBe(Errno.EIO);
    }
  });

  it('sends nothing for a request that is answered later', () => {
    const { client, operations } = connect();
    operations.handler = () => DEFERRED;
    expect(client.send(Opcode.READ, 12, READ_BODY)).toBeNull();
    operations.handler = () => Errno.OK;
    expect(client.call(Opcode.GETATTR, 1, zeros(16)).errno).toBe(0);
  });

  it('keeps all 64 bits of a request id', () => {
    const { channel, operations } = connect();
    operations.handler = (request) => {
      expect([request.uniqueHigh, request.uniqueLow]).toEqual([0x80000001, 0xfffffffe]);
      return Errno.OK;
    };
    const bytes = requestBytes(Opcode.GETATTR, 1, 0, zeros(16));
    new DataView(bytes.buffer).setBigUint64(8, 0x80000001fffffffen, true);
    channel.deliver(bytes);
    const message = channel.written[channel.written.length - 1];
    expect(new DataView(message.buffer).getBigUint64(8, true)).toBe(0x80000001fffffffen);
  });

  it('never writes a message for request 0, which would be a notification', () => {
    const { channel, log } = connect();
    const before = channel.written.length;
    channel.deliver(requestBytes(Opcode.GETATTR, 1, 0, zeros(16)));
    expect(channel.written.length).toBe(before);
    expect(log.lines).toEqual(['ignored a request without an id']);
  });

  it('ignores what is shorter than a header, and refuses a header that lies about its length', () => {
    const { channel, log } = connect();
    const before = channel.written.length;
    channel.deliver(new Uint8Array(39));
    expect(channel.written.length).toBe(before);
    expect(log.lines).toEqual(['ignored a request of 39 bytes']);
    const bytes = requestBytes(Opcode.GETATTR, 1, 50, zeros(16));
    bytes[0] += 8;
    channel.deliver(bytes);
    expect(parseReply(channel.written[channel.written.length - 1])).toMatchObject({ unique: 50, errno: Errno.EINVAL });
  });

  it('refuses everything before INIT', () => {
    const channel = new FakeChannel();
    const operations = new ScriptedOperations();
    void new Session(channel, operations, {
      posixAcl: false,
      writable: false,
      writebackCache: false,
      trace: false,
      log: new RecordingLog(),
    }).serve();
    expect(new FuseClient(channel).call(Opcode.GETATTR, 1, zeros(16)).errno).toBe(Errno.EIO);
    expect(operations.calls).toEqual([]);
  });

  it('resolves when the file system has been unmounted, and takes no more requests', async () => {
    const { channel, operations, served } = connect();
    channel.deliver(-Errno.ENODEV);
    await expect(served).resolves.toBeUndefined();
    channel.deliver(requestBytes(Opcode.GETATTR, 1, 8, zeros(16)));
    expect(operations.calls).toEqual([]);
  });

  it('rejects when reading fails for any other reason', async () => {
    const { channel, served } = connect();
    channel.deliver(-Errno.EPERM);
    await expect(served).rejects.toMatchObject({ errno: Errno.EPERM, syscall: 'read' });
  });

  it('goes on when a request was withdrawn while it was being read', () => {
    const { channel, operations } = connect();
    channel.deliver(-Errno.ENOENT, -Errno.EINTR, requestBytes(Opcode.GETATTR, 1, 8, zeros(16)));
    expect(operations.calls).toEqual(['getattr']);
  });

  it('gives others a turn after 64 requests, and then finishes the rest', async () => {
    const { channel, operations } = connect();
    const requests = Array.from({ length: 100 }, (_, index) => requestBytes(Opcode.GETATTR, 1, index + 1, zeros(16)));
    channel.deliver(...requests);
    expect(operations.calls.length).toBe(64);
    channel.deliver();
    expect(operations.calls.length).toBe(64);
    await nextTurn();
    expect(operations.calls.length).toBe(100);
    expect(channel.written.length).toBe(101);
  });

  it('tells the operations about DESTROY', () => {
    const { client, operations } = connect();
    client.call(Opcode.DESTROY, 0, zeros(0));
    expect(operations.destroyed).toBe(1);
  });

  it('counts requests and errors by opcode', () => {
    const { client, operations, session } = connect();
    client.call(Opcode.LOOKUP, 1, cString('x'));
    client.call(Opcode.LOOKUP, 1, cString('y'));
    operations.handler = () => Errno.ESTALE;
    client.call(Opcode.GETATTR, 1, zeros(16));
    expect(session.counts()).toEqual([
      { name: 'LOOKUP', requests: 2, errors: 0 },
      { name: 'GETATTR', requests: 1, errors: 1 },
      { name: 'INIT', requests: 1, errors: 0 },
    ]);
  });

  it('writes one debug line for each request when told to', () => {
    const { client, log, operations } = connect(true);
    operations.handler = () => Errno.ENODATA;
    client.call(Opcode.GETATTR, 12, zeros(16));
    expect(log.debugLines).toEqual(['INIT unique=2 node=0: 64 bytes', 'GETATTR unique=4 node=12: ENODATA']);
  });

  it('wants buffers that the kernel will read into', () => {
    const settings = { posixAcl: false, writable: false, writebackCache: false, trace: false, log: new RecordingLog() };
    expect(() => new Session(new FakeChannel(8191, 8192), new ScriptedOperations(), settings)).toThrow(RangeError);
    expect(() => new Session(new FakeChannel(8192, 8191), new ScriptedOperations(), settings)).toThrow(RangeError);
  });
});
