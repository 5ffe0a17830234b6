import { closeSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { connectDatagram, SOCK_DGRAM, trySendDatagram } from '../../native/notify-socket.ts';
import { AF_UNIX, socketInfo } from '../../native/seqpacket.ts';
import { TestRoom } from '../support/test-room.ts';

const room = new TestRoom('notify-socket');
afterEach(() => room.reset());
afterAll(() => room.clear());

const LISTENING_MS = 10_000;

describe('a datagram socket', () => {
  it('reaches who listens at its path, and is no failure when nobody does any more', async () => {
    const path = room.path('notify');
    const listen = ['systemd-socket-activate', '--datagram', '-l', path];
    const listener = room.supervise([...listen, 'sh', '-c', 'dd bs=4096 count=1 status=none <&3']);
    await listener.waitForText('Listening on', LISTENING_MS);
    const socket = connectDatagram(path);
    const { family, type } = socketInfo(socket);
    expect([family, type]).toEqual([AF_UNIX, SOCK_DGRAM]);
    expect(trySendDatagram(socket, Buffer.from('STATUS=one\n'))).toBe(true);
    await listener.waitForEnd(LISTENING_MS);
    expect(listener.output).toContain('STATUS=one');
    expect(trySendDatagram(socket, Buffer.from('STATUS=two\n'))).toBe(false);
    closeSync(socket);
  });

  it('can only be made to a path where one listens', () => {
    expect(() => connectDatagram(room.path('nobody'))).toThrow(/ENOENT/);
    expect(() => connectDatagram(join('/', 'x'.repeat(200)))).toThrow(/ENAMETOOLONG/);
    expect(() => connectDatagram('')).toThrow(/ENOENT/);
  });
});
