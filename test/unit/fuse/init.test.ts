import { describe, expect, it } from 'vitest';
import { InitFlag, Opcode } from '../../../service/fuse/abi.ts';
import { Session } from '../../../service/fuse/session.ts';
import { Errno } from '../../../shared/errno.ts';
import { body, FakeChannel, FuseClient, initBody, u32, zeros } from '../../support/fuse-client.ts';
import { RecordingLog, ScriptedOperations } from '../../support/fuse-operations.ts';

const ALL_ONES = 0xffffffff;

function connect(posixAcl = false, channel = new FakeChannel()) {
  const log = new RecordingLog();
  const operations = new ScriptedOperations();
  const session = new Session(channel, operations, {
    posixAcl,
    writable: false,
    writebackCache: false,
    trace: false,
    log,
  });
  const served = session.serve();
  return { client: new FuseClient(channel), log, operations, served };
}

/** The reply as hexadecimal words of 32 bits, to be read beside struct fuse_init_out. */
const words = (payload: Uint8Array): string[] =>
  Array.from({ length: payload.length / 4 }, (_, index) =>
    new DataView(payload.buffer, payload.byteOffset + 4 * index, 4).getUint32(0, true).toString(16).padStart(8, '0'),
  );

describe('INIT', () => {
  // ASYNC_READ, EXPORT_SUPPORT, HAS_IOCTL_DIR, DO_READDIRPLUS, READDIRPLUS_AUTO, ASYNC_DIO, NO_OPEN_SUPPORT,
  // PARALLEL_DIROPS, MAX_PAGES, CACHE_SYMLINKS, NO_OPENDIR_SUPPORT; INIT_EXT from 7.36 on.
  it.each([
    [31, 31, '01c6e811'],
    [36, 36, '41c6e811'],
    [45, 45, '41c6e811'],
    [99, 45, '41c6e811'],
  ])('from a kernel of minor %i is answered with exactly these bytes', (offered, agreed, flags) => {
    const { client } = connect();
    const reply = client.call(Opcode.INIT, 0, initBody(offered, offered < 36 ? 0x0fffffff : ALL_ONES, ALL_ONES));
    expect(reply.errno).toBe(0);
    expect(words(reply.payload)).toEqual([
      '00000007',
      agreed.toString(16).padStart(8, '0'),
      '00200000', // max_readahead 2 MiB, so that the kernel's own can be raised to that
      flags,
      '00300040', // congestion_threshold 48, max_background 64
      '00100000', // max_write 1 MiB
      '00000001', // time_gran
      '00000100', // map_alignment 0, max_pages 256
      '00000000', // flags2
      ...new Array(7).fill('00000000'),
    ]);
  });

  it('never echoes a flag that was not offered', () => {
    const { client, operations } = connect(true);
    const reply = client.call(Opcode.INIT, 0, initBody(45, InitFlag.ASYNC_READ | (2 ** 12)));
    expect(words(reply.payload)[3]).toBe('00000001');
    expect(words(reply.payload)[7]).toBe('00000000');
    expect(operations.connection).toEqual({ minor: 45, flags: InitFlag.ASYNC_READ, iomap: false });
  });

  it('takes up iomap from minor 99 with both flags, when that is wished, and from nobody else', () => {
    const offer = (minor: number, flags: number, flags2: number, iomap: 'default' | 'never'): string[] => {
      const channel = new FakeChannel();
      const settings = { posixAcl: true, writable: true, writebackCache: false, trace: false, log: new RecordingLog() };
      void new Session(channel, new ScriptedOperations(), { ...settings, iomap }).serve();
      return words(new FuseClient(channel).call(Opcode.INIT, 0, initBody(minor, flags, flags2)).payload);
    };
    const iomap = 2 ** 11;
    const agreed = offer(99, ALL_ONES, ALL_ONES, 'default');
    expect([agreed[1], agreed[8]]).toEqual(['00000063', '00000800']);
    // Without DONT_MASK, HANDLE_KILLPRIV_V2, SETXATTR_EXT and NO_OPEN_SUPPORT, which the kernel makes up for itself.
    expect(agreed[3]).toBe('41d5e831');
    for (const other of [
      offer(99, ALL_ONES, ALL_ONES, 'never'),
      offer(99, ALL_ONES & ~InitFlag.INIT_EXT, iomap, 'default'),
      offer(99, ALL_ONES, ALL_ONES & ~iomap, 'default'),
      offer(46, ALL_ONES, ALL_ONES, 'default'),
      offer(100, ALL_ONES, ALL_ONES, 'default'),
    ])
      expect([other[1], other[8]]).toEqual(['0000002d', '00000000']);
  });

  it('without iomap is refused where that is required', async () => {
    const channel = new FakeChannel();
    const log = new RecordingLog();
    const settings = { posixAcl: false, writable: true, writebackCache: true, trace: false, log };
    const served = new Session(channel, new ScriptedOperations(), { ...settings, iomap: 'require' }).serve();
    expect(new FuseClient(channel).call(Opcode.INIT, 0, initBody(46, ALL_ONES, ALL_ONES)).errno).toBe(Errno.EPROTO);
    await expect(served).rejects.toThrow('iomap is required');
  });

  it('asks for POSIX ACLs only when told to', () => {
    const withAcl = connect(true).client.call(Opcode.INIT, 0, initBody(45, ALL_ONES));
    const without = connect(false).client.call(Opcode.INIT, 0, initBody(45, ALL_ONES));
    expect(withAcl.view.getUint32(12, true) ^ without.view.getUint32(12, true)).toBe(InitFlag.POSIX_ACL);
  });

  it('lowers no read-ahead that the kernel offers', () => {
    const { client } = connect();
    const reply = client.call(Opcode.INIT, 0, body(u32(7), u32(45), u32(0xfffff000), u32(0), zeros(48)));
    expect(reply.view.getUint32(8, true)).toBe(0xfffff000);
  });

  it('promises no larger writes than fit into the request buffer beside the headers', () => {
    const small = connect(false, new FakeChannel(64 * 1024, 64 * 1024));
    expect(small.client.init().view.getUint32(20, true)).toBe(60 * 1024);
  });

  it('from a kernel older than 7.31 is refused, with a line that says why, and ends the session', async () => {
    const { client, log, served } = connect();
    const reply = client.call(Opcode.INIT, 0, body(u32(7), u32(30), u32(0), u32(0)));
    expect(reply.errno).toBe(Errno.EPROTO);
    expect(log.lines).toEqual(['cannot serve this kernel: the kernel speaks FUSE 7.30, at least 7.31 is needed']);
    await expect(served).rejects.toThrow('at least 7.31 is needed');
  });

  it('from a kernel of an older major version is refused', async () => {
    const { client, served } = connect();
    expect(client.call(Opcode.INIT, 0, body(u32(6), u32(40))).errno).toBe(Errno.EPROTO);
    await expect(served).rejects.toThrow('FUSE 6.40');
  });

  it('from a kernel of a newer major version is answered with ours, and the kernel asks again', () => {
    const { client, operations } = connect();
    const first = client.call(Opcode.INIT, 0, body(u32(8), u32(3), zeros(100)));
    expect(words(first.payload).slice(0, 4)).toEqual(['00000007', '0000002d', '00000000', '00000000']);
    expect(operations.connection).toBeNull();
    expect(client.init().errno).toBe(0);
    expect(operations.connection?.minor).toBe(45);
  });

  it('with a truncated body is refused', async () => {
    const { client, served } = connect();
    expect(client.call(Opcode.INIT, 0, body(u32(7), u32(45))).errno).toBe(Errno.EPROTO);
    await expect(served).rejects.toThrow('a body of 8 bytes');
  });
});
