import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fstatSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { addon } from '../../native/addon.ts';
import { descriptorFlags } from '../../native/descriptor.ts';
import {
  AF_UNIX,
  connectSeqpacket,
  disallowRights,
  peerCredentials,
  receivePacket,
  SOCK_SEQPACKET,
  sendPacket,
  shutdownSocket,
  socketInfo,
  socketPair,
} from '../../native/seqpacket.ts';
import { Errno } from '../../shared/errno.ts';
import { compiledTool } from '../support/compiled-tool.ts';
import { descriptorsLeaked, openDescriptorCount, scratchDirectory } from './fixtures/scratch.ts';

const text = (value: string) => new TextEncoder().encode(value);
const withErrno = (errno: number) => expect.objectContaining({ name: 'SystemError', errno });

function pairForTest(): [number, number] {
  const pair = socketPair();
  onTestFinished(() => pair.forEach(closeSync));
  return pair;
}

describe('packets', () => {
  it('arrive whole, one by one, with their boundaries', () => {
    const [a, b] = pairForTest();
    sendPacket(a, text('first'));
    sendPacket(a, text('the second'));
    expect(receivePacket(b, 100, 1000)).toEqual({ bytes: text('first'), fd: -1 });
    expect(receivePacket(b, 100, 1000)).toEqual({ bytes: text('the second'), fd: -1 });
  });

  it('can be measured before they are taken', () => {
    const [a, b] = pairForTest();
    sendPacket(a, new Uint8Array(70_000));
    expect(addon.peekPacket(b, 0)).toBe(70_000);
    expect(addon.peekPacket(b, 0)).toBe(70_000);
    expect(receivePacket(b, 70_000, 0)?.bytes.length).toBe(70_000);
  });

  it('above the limit are thrown away as a whole, with their descriptor', () => {
    const [a, b] = pairForTest();
    sendPacket(a, text('too long'), a);
    sendPacket(a, text('ok'));
    const before = openDescriptorCount();
    expect(() => receivePacket(b, 7, 1000)).toThrow(withErrno(Errno.EMSGSIZE));
    expect(openDescriptorCount()).toBe(before);
    expect(receivePacket(b, 7, 1000)?.bytes).toEqual(text('ok'));
  });

  it('that do not come end in ETIMEDOUT', () => {
    const [, b] = pairForTest();
    expect(() => receivePacket(b, 10, 0)).toThrow(withErrno(Errno.ETIMEDOUT));
    expect(() => receivePacket(b, 10, 5)).toThrow(withErrno(Errno.ETIMEDOUT));
  });

  it('end with null when the peer has closed or shut down', () => {
    const [a, b] = socketPair();
    closeSync(a);
    expect(receivePacket(b, 10, 1000)).toBeNull();
    closeSync(b);
    const [c, d] = pairForTest();
    shutdownSocket(c);
    expect(receivePacket(d, 10, 1000)).toBeNull();
  });

  it('to a peer that has gone raise EPIPE and no signal', () => {
    const [a, b] = socketPair();
    closeSync(b);
    expect(() => sendPacket(a, text('x'))).toThrow(withErrno(Errno.EPIPE));
    closeSync(a);
  });
});

describe('descriptors', () => {
  /** With the packet "packet". */
  function sendDescriptors(socket: number, count: number): void {
    const words = [String(count), Buffer.from('packet').toString('hex')];
    execFileSync(compiledTool('send-descriptors'), words, { stdio: ['ignore', 'inherit', 'inherit', socket] });
  }

  it('arrive as a working copy that is closed on exec', () => {
    const [a, b] = pairForTest();
    const fd = openSync('/etc/passwd', 'r');
    sendPacket(a, text('here'), fd);
    const packet = receivePacket(b, 10, 1000);
    const received = packet?.fd ?? -1;
    expect(received).toBeGreaterThanOrEqual(0);
    expect(received).not.toBe(fd);
    expect(fstatSync(received).ino).toBe(fstatSync(fd).ino);
    const flags = execFileSync('cat', [`/proc/${process.pid}/fdinfo/${received}`], { encoding: 'utf8' });
    expect(flags).toMatch(/^flags:\s+02\d{6}$/m); // O_CLOEXEC
    closeSync(fd);
    closeSync(received);
  });

  it.each([0, 1])('%i in a packet are accepted', (count) => {
    const [a, b] = pairForTest();
    sendDescriptors(a, count);
    const packet = receivePacket(b, 10, 1000);
    expect(packet?.bytes).toEqual(text('packet'));
    if (count === 0) expect(packet?.fd).toBe(-1);
    else closeSync(packet?.fd ?? -1);
  });

  it.each([2, 3, 253])('%i in one packet are refused with EPROTO and all closed', (count) => {
    const [a, b] = pairForTest();
    sendDescriptors(a, count);
    const before = openDescriptorCount();
    expect(() => receivePacket(b, 10, 1000)).toThrow(withErrno(Errno.EPROTO));
    expect(openDescriptorCount()).toBe(before);
  });

  it('that are not open are refused by the sender with EBADF', () => {
    const [a] = pairForTest();
    expect(() => sendPacket(a, text('x'), 9999)).toThrow(withErrno(Errno.EBADF));
  });

  it('can be forbidden for the peer, where the kernel knows how', () => {
    const [a, b] = pairForTest();
    const supported = addon.disallowRights(b) !== -Errno.ENOPROTOOPT;
    disallowRights(b);
    if (supported) expect(() => sendPacket(a, text('x'), a)).toThrow(withErrno(Errno.EPERM));
    else expect(() => sendPacket(a, text('x'), a)).not.toThrow();
    sendPacket(b, text('other direction'), b);
    closeSync(receivePacket(a, 100, 1000)?.fd ?? -1);
  });

  it('leak on no path', () => {
    const [a, b] = pairForTest();
    expect(
      descriptorsLeaked(200, () => {
        sendPacket(a, text('x'), a);
        closeSync(receivePacket(b, 10, 1000)?.fd ?? -1);
        sendPacket(a, text('x'));
        receivePacket(b, 10, 1000);
        expect(() => receivePacket(b, 10, 0)).toThrow();
        expect(() => connectSeqpacket('/nonexistent/socket')).toThrow();
        socketPair().forEach(closeSync);
      }),
    ).toBe(0);
  });
});

describe('sockets', () => {
  it('tell who the peer is', () => {
    const [a] = pairForTest();
    expect(peerCredentials(a)).toEqual({ pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() });
  });

  it('tell family, type and buffer size; others raise ENOTSOCK', () => {
    const [a] = pairForTest();
    const info = socketInfo(a);
    expect(info).toMatchObject({ family: AF_UNIX, type: SOCK_SEQPACKET });
    expect(info.sendBufferBytes).toBeGreaterThan(65_536);
    const file = openSync('/etc/passwd', 'r');
    expect(() => socketInfo(file)).toThrow(withErrno(Errno.ENOTSOCK));
    expect(() => peerCredentials(file)).toThrow(withErrno(Errno.ENOTSOCK));
    closeSync(file);
    expect(descriptorFlags(a) & 0o3).toBe(2); // O_RDWR
  });

  it('connect by path to a listening program', async () => {
    const directory = scratchDirectory();
    const path = join(directory, 'socket');
    const greeter = spawn(compiledTool('greet-one'), [path], { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = once(greeter, 'exit');
    await once(greeter.stdout, 'data');
    const socket = connectSeqpacket(path);
    onTestFinished(() => closeSync(socket));
    expect(receivePacket(socket, 10, 10_000)).toEqual({ bytes: text('hello'), fd: -1 });
    expect(peerCredentials(socket)).toMatchObject({ pid: greeter.pid, uid: process.getuid?.() });
    expect(await ended).toEqual([0, null]);
    expect(receivePacket(socket, 10, 10_000)).toBeNull();
    expect(() => connectSeqpacket(path)).toThrow(withErrno(Errno.ECONNREFUSED));
  });

  it('that cannot connect say why', () => {
    const directory = scratchDirectory();
    expect(() => connectSeqpacket(join(directory, 'absent'))).toThrow(withErrno(Errno.ENOENT));
    expect(() => connectSeqpacket('')).toThrow(withErrno(Errno.ENOENT));
    expect(() => connectSeqpacket(`/${'x'.repeat(108)}`)).toThrow(withErrno(Errno.ENAMETOOLONG));
  });
});
