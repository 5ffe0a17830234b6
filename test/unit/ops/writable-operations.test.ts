import { writeFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { InodeFlag } from '../../../service/ext4/layout/inode.ts';
import { InitFlag, NotifyCode, Opcode, OpenFlag, SetattrValid, WriteFlag } from '../../../service/fuse/abi.ts';
import { Errno } from '../../../shared/errno.ts';
import { ImageDirectory } from '../../support/ext4-image.ts';
import {
  body,
  cString,
  type FuseReply,
  OFFERED_FLAGS,
  parseReply,
  requestBytes,
  u32,
  u64,
  zeros,
} from '../../support/fuse-client.ts';
import { nodeIdIn } from '../../support/mounted-image.ts';
import { e2fsckComplaints } from '../../support/writable-image.ts';
import { APPEND_FLAG, DIRECT_FLAG, WritableSession } from '../../support/writable-session.ts';

const images = new ImageDirectory();
afterAll(() => images.remove());

const ROOT = 1;
const REGULAR = 0o100644;
const KIB = 1024;
const SEEK_DATA = 3;

const open = (options: { readonly flags?: number; readonly sync?: boolean } = {}): WritableSession =>
  new WritableSession(images.make(8 * KIB * KIB, ['-t', 'ext4', '-b', '1024']), options);

/** Ends the session; e2fsck must be content with what it leaves. */
function settle(session: WritableSession): void {
  const path = images.file('settled');
  writeFileSync(path, session.close());
  expect(e2fsckComplaints(path)).toBe('');
}

const mknodBody = (name: string, mode = REGULAR, umask = 0o22): Uint8Array =>
  body(u32(mode), u32(0), u32(umask), u32(0), cString(name));

function create(session: WritableSession, name: string): number {
  return nodeIdIn(session.client.call(Opcode.MKNOD, ROOT, mknodBody(name)));
}

function writeBody(offset: number, data: Uint8Array, writeFlags = 0, fileFlags = 0): Uint8Array {
  return body(u64(0), u64(offset), u32(data.length), u32(writeFlags), u64(0), u32(fileFlags), u32(0), data);
}

const setattrBody = (valid: number, fields: { readonly size?: number; readonly uid?: number }): Uint8Array =>
  body(u32(valid), u32(0), u64(0), u64(fields.size ?? 0), zeros(52), u32(fields.uid ?? 0), zeros(8));

const forgetBody = (lookups: number): Uint8Array => u64Body(lookups);
const u64Body = (value: number): Uint8Array => body(u64(value));
const attribute = (reply: FuseReply, at: number): number => Number(reply.view.getBigUint64(16 + at, true));
const sizeOf = (session: WritableSession, node: number): number =>
  attribute(session.client.call(Opcode.GETATTR, node, zeros(16)), 8);
const pattern = (bytes: number, seed: number): Uint8Array =>
  Uint8Array.from({ length: bytes }, (_, index) => (index * 31 + seed) & 0xff);

function contentOf(session: WritableSession, node: number): Uint8Array {
  const inode = session.image.fs.inode(node);
  const bytes = new Uint8Array(inode.sizeBytes);
  session.image.fs.readFile(inode, 0, bytes);
  return bytes;
}

const lastReply = (session: WritableSession): FuseReply => parseReply(session.channel.written.at(-1) ?? zeros(0));

describe('names', () => {
  it('are made, linked, moved and removed', () => {
    const session = open();
    const { client } = session;
    const file = create(session, 'file');
    const directory = nodeIdIn(client.call(Opcode.MKDIR, ROOT, body(u32(0o755), u32(0o22), cString('directory'))));
    expect(nodeIdIn(client.call(Opcode.LINK, directory, body(u64(file), cString('second'))))).toBe(file);
    const link = client.call(Opcode.SYMLINK, ROOT, body(cString('link'), cString('target')));
    expect(Buffer.from(client.call(Opcode.READLINK, nodeIdIn(link), zeros(0)).payload).toString()).toBe('target');
    const renamed = client.call(Opcode.RENAME, ROOT, body(u64(directory), cString('file'), cString('third')));
    expect(renamed.errno).toBe(0);
    expect(client.call(Opcode.RMDIR, ROOT, cString('directory')).errno).toBe(Errno.ENOTEMPTY);
    expect(client.call(Opcode.UNLINK, directory, cString('second')).errno).toBe(0);
    expect(client.call(Opcode.UNLINK, directory, cString('third')).errno).toBe(0);
    expect(client.call(Opcode.RMDIR, ROOT, cString('directory')).errno).toBe(0);
    settle(session);
  });

  it('of 256 bytes are refused by every request that takes one', () => {
    const session = open();
    const { client } = session;
    const file = create(session, 'file');
    const long = cString('x'.repeat(256));
    const requests: [number, Uint8Array][] = [
      [Opcode.MKNOD, body(zeros(16), long)],
      [Opcode.MKDIR, body(zeros(8), long)],
      [Opcode.SYMLINK, body(long, cString('target'))],
      [Opcode.LINK, body(u64(file), long)],
      [Opcode.UNLINK, long],
      [Opcode.RMDIR, long],
      [Opcode.RENAME, body(u64(ROOT), cString('file'), long)],
      [Opcode.RENAME, body(u64(ROOT), long, cString('file'))],
      [Opcode.RENAME2, body(u64(ROOT), zeros(8), cString('file'), long)],
      [Opcode.LOOKUP, long],
    ];
    for (const [opcode, content] of requests) {
      expect(client.call(opcode, ROOT, content).errno).toBe(Errno.ENAMETOOLONG);
    }
    settle(session);
  });

  it('are made and opened by CREATE at once', () => {
    const session = open();
    const content = (name: string) => body(u32(2), u32(REGULAR | 0o2), u32(0o22), u32(0), cString(name));
    const reply = session.client.call(Opcode.CREATE, ROOT, content('file'));
    expect(session.image.fs.inode(nodeIdIn(reply)).mode).toBe(REGULAR);
    expect(reply.payload.length).toBe(128 + 16);
    expect(reply.view.getUint32(128 + 8, true)).toBe(OpenFlag.KEEP_CACHE);
    expect(session.client.call(Opcode.CREATE, ROOT, content('file')).errno).toBe(Errno.EEXIST);
    expect(session.client.call(Opcode.CREATE, ROOT, content('x'.repeat(256))).errno).toBe(Errno.ENAMETOOLONG);
    settle(session);
  });

  it('that name devices get the numbers of the kernel', () => {
    const session = open();
    const rdev = (0x12 | (300 << 8) | (0x345 << 20)) >>> 0;
    const content = body(u32(0o060600), u32(rdev), u32(0), u32(0), cString('device'));
    const node = nodeIdIn(session.client.call(Opcode.MKNOD, ROOT, content));
    expect(session.image.fs.inode(node)).toMatchObject({ rdevMajor: 300, rdevMinor: 0x34512 });
  });
});

describe('an inode without a name', () => {
  it('lives until the kernel has forgotten it as often as it was told about it', () => {
    const session = open();
    const { client } = session;
    const node = create(session, 'file');
    client.call(Opcode.LOOKUP, ROOT, cString('file'));
    client.call(Opcode.UNLINK, ROOT, cString('file'));
    expect(client.call(Opcode.WRITE, node, writeBody(0, pattern(2000, 1), WriteFlag.CACHE)).errno).toBe(0);
    client.send(Opcode.FORGET, node, forgetBody(1));
    expect(sizeOf(session, node)).toBe(2000);
    client.send(Opcode.BATCH_FORGET, 0, body(u32(1), u32(0), u64(node), u64(1)));
    expect(client.call(Opcode.GETATTR, node, zeros(16)).errno).toBe(Errno.ESTALE);
    settle(session);
  });

  it('can be made without ever having one, and get one later', () => {
    const session = open();
    const { client } = session;
    const tmpfile = (): number =>
      nodeIdIn(client.call(Opcode.TMPFILE, ROOT, body(u32(0), u32(REGULAR), u32(0), u32(0), cString('/'))));
    const kept = tmpfile();
    const lost = tmpfile();
    expect(client.call(Opcode.LINK, ROOT, body(u64(kept), cString('kept'))).errno).toBe(0);
    client.send(Opcode.FORGET, kept, forgetBody(2));
    client.send(Opcode.FORGET, lost, forgetBody(1));
    expect(client.call(Opcode.GETATTR, lost, zeros(16)).errno).toBe(Errno.ESTALE);
    expect(nodeIdIn(client.call(Opcode.LOOKUP, ROOT, cString('kept')))).toBe(kept);
    settle(session);
  });

  it('is freed with the mount when the kernel never forgets it', () => {
    const session = open();
    create(session, 'file');
    session.client.call(Opcode.UNLINK, ROOT, cString('file'));
    settle(session);
  });
});

describe('space', () => {
  it('of what was deleted before is there for the next request, however many wait', () => {
    const session = open();
    const fill = (name: string): number => {
      const node = create(session, name);
      const piece = pattern(64 * KIB, 1);
      for (let at = 0; ; at += piece.length) {
        const reply = session.client.call(Opcode.WRITE, node, writeBody(at, piece, WriteFlag.CACHE));
        if (reply.errno === Errno.ENOSPC) break;
        expect(reply.errno).toBe(0);
      }
      // Room for a part of what comes next stays.
      const size = sizeOf(session, node) - 32 * KIB;
      session.client.call(Opcode.SETATTR, node, setattrBody(SetattrValid.SIZE, { size }));
      return node;
    };
    const full = fill('full');
    const next = create(session, 'next');
    const data = pattern(120 * KIB, 2);
    session.channel.deliver(
      requestBytes(Opcode.UNLINK, ROOT, 1000, body(cString('full'))),
      requestBytes(Opcode.FORGET, full, 1002, forgetBody(1)),
      requestBytes(Opcode.WRITE, next, 1004, writeBody(0, data, WriteFlag.CACHE)),
    );
    expect(lastReply(session)).toMatchObject({ errno: 0, unique: 1004 });
    expect(Buffer.compare(contentOf(session, next), data)).toBe(0);
    settle(session);
  });
});

describe('WRITE', () => {
  it('of little is done at once', () => {
    const session = open();
    const node = create(session, 'file');
    const data = pattern(5000, 3);
    const reply = session.client.call(Opcode.WRITE, node, writeBody(700, data, WriteFlag.CACHE));
    expect(reply.view.getUint32(0, true)).toBe(5000);
    expect(session.writer.underWay).toEqual([]);
    expect(Buffer.compare(contentOf(session, node).subarray(700), data)).toBe(0);
    settle(session);
  });

  it('of much is answered when the data is on the device, and others are not held up', () => {
    const session = open();
    const { client } = session;
    const node = create(session, 'file');
    const data = pattern(200 * KIB, 4);
    expect(client.send(Opcode.WRITE, node, writeBody(0, data, WriteFlag.CACHE))).toBeNull();
    expect(sizeOf(session, node)).toBe(0);
    create(session, 'another');
    session.endWrite();
    expect(lastReply(session)).toMatchObject({ errno: 0 });
    expect(lastReply(session).view.getUint32(0, true)).toBe(data.length);
    expect(Buffer.compare(contentOf(session, node), data)).toBe(0);
    settle(session);
  });

  it('past the page cache fills up the last block of the file with zeros', () => {
    const session = open();
    const node = create(session, 'file');
    expect(session.client.send(Opcode.WRITE, node, writeBody(0, pattern(1500, 1), 0, DIRECT_FLAG))).toBeNull();
    session.endWrite();
    expect(sizeOf(session, node)).toBe(1500);
    expect(Buffer.compare(contentOf(session, node), pattern(1500, 1))).toBe(0);
    const inside = writeBody(0, pattern(700, 2), 0, DIRECT_FLAG);
    expect(session.client.call(Opcode.WRITE, node, inside).errno).toBe(0);
    settle(session);
  });

  it('gives the errno of the device to the caller, and the file stays as it was', () => {
    const session = open();
    const node = create(session, 'file');
    session.client.send(Opcode.WRITE, node, writeBody(0, pattern(4 * KIB, 1), 0, DIRECT_FLAG));
    session.writer.nextErrno = Errno.EIO;
    session.endWrite();
    expect(lastReply(session).errno).toBe(Errno.EIO);
    expect(sizeOf(session, node)).toBe(0);
    settle(session);
  });

  it('waits for another one to the same block', () => {
    const session = open();
    const node = create(session, 'file');
    session.client.send(Opcode.WRITE, node, writeBody(0, pattern(4 * KIB, 1), 0, DIRECT_FLAG));
    const before = session.channel.written.length;
    session.client.channel.deliver();
    session.client.send(Opcode.GETATTR, node, zeros(16));
    expect(session.channel.written.length).toBe(before + 1);
    expect(session.writer.underWay.length).toBe(1);
    const second = writeBody(100, pattern(50, 9), WriteFlag.CACHE);
    expect(() => session.client.send(Opcode.WRITE, node, second)).toThrow(/2 replies/);
    const expected = pattern(4 * KIB, 1);
    expected.set(pattern(50, 9), 100);
    expect(Buffer.compare(contentOf(session, node), expected)).toBe(0);
    settle(session);
  });

  it('of more than there are buffers for waits until one is free', () => {
    const session = open();
    const nodes = ['a', 'b', 'c', 'd'].map((name) => create(session, name));
    nodes.forEach((node, index) => {
      const content = writeBody(0, pattern(4 * KIB, index), 0, DIRECT_FLAG);
      session.channel.deliver(requestBytes(Opcode.WRITE, node, 1000 + 2 * index, content));
    });
    expect(session.writer.underWay.length).toBeLessThan(session.channel.requests.length);
    while (session.writer.underWay.length > 0) session.endWrite();
    nodes.forEach((node, index) => {
      expect(Buffer.compare(contentOf(session, node), pattern(4 * KIB, index))).toBe(0);
    });
    settle(session);
  });

  it('is done on behalf of its own caller, whatever it has waited for', () => {
    const session = open();
    const node = create(session, 'file');
    const data = (seed: number): Uint8Array => writeBody(0, pattern(4 * KIB, seed), 0, DIRECT_FLAG);
    const caller = { uid: 1000, gid: 1001 };
    session.channel.deliver(requestBytes(Opcode.WRITE, node, 1000, data(1), caller));
    session.channel.deliver(requestBytes(Opcode.WRITE, node, 1002, data(2), caller));
    expect(session.writer.underWay.length).toBe(1);
    expect(session.image.fs.caller).toMatchObject(caller);
    settle(session);
  });

  it('is refused, and nothing is written, once the journal was aborted', () => {
    const session = open();
    const node = create(session, 'file');
    session.client.call(Opcode.WRITE, node, writeBody(0, pattern(8 * KIB, 1), WriteFlag.CACHE));
    session.image.fs.abort(Errno.EIO, 'a test');
    const overwrite = writeBody(0, pattern(4 * KIB, 2), 0, DIRECT_FLAG);
    expect(session.client.call(Opcode.WRITE, node, overwrite).errno).toBe(Errno.EROFS);
    expect(session.writer.underWay).toEqual([]);
  });

  it('is refused for what is no file, for impossible places and for data that is not there', () => {
    const session = open();
    const { client } = session;
    const node = create(session, 'file');
    expect(client.call(Opcode.WRITE, ROOT, writeBody(0, pattern(10, 1))).errno).toBe(Errno.EISDIR);
    expect(client.call(Opcode.WRITE, node, writeBody(2 ** 53 - 1, pattern(10, 1))).errno).toBe(Errno.EFBIG);
    expect(client.call(Opcode.WRITE, node, writeBody(2 ** 50, pattern(10, 1))).errno).toBe(Errno.EFBIG);
    const short = writeBody(0, pattern(10, 1)).slice(0, -1);
    expect(client.call(Opcode.WRITE, node, short).errno).toBe(Errno.EINVAL);
    expect(client.call(Opcode.WRITE, node, writeBody(0, zeros(0))).errno).toBe(0);
  });

  it('takes set-user-ID away when the kernel says so', () => {
    const session = open();
    const node = nodeIdIn(session.client.call(Opcode.MKNOD, ROOT, mknodBody('file', 0o106755)));
    session.client.call(Opcode.WRITE, node, writeBody(0, pattern(10, 1), WriteFlag.CACHE));
    expect(session.image.fs.inode(node).mode & 0o7000).toBe(0o6000);
    session.client.call(Opcode.WRITE, node, writeBody(0, pattern(10, 1), WriteFlag.KILL_SUIDGID));
    expect(session.image.fs.inode(node).mode & 0o7000).toBe(0);
  });
});

describe('SETATTR', () => {
  it('waits with a truncation until no data is on its way from the blocks, as FALLOCATE does', () => {
    const session = open();
    const node = create(session, 'file');
    session.client.call(Opcode.SETATTR, node, setattrBody(SetattrValid.UID, { uid: 1000 }));
    expect(session.waitsForReads).toBe(0);
    session.client.call(Opcode.SETATTR, node, setattrBody(SetattrValid.SIZE, { size: 100 }));
    expect(session.waitsForReads).toBe(1);
    const punch = body(u64(0), u64(0), u64(4 * KIB), u32(3), u32(0));
    expect(session.client.call(Opcode.FALLOCATE, node, punch).errno).toBe(0);
    expect(session.waitsForReads).toBe(2);
    settle(session);
  });

  it('waits with a truncation until no data is on its way to the blocks', () => {
    const session = open();
    const node = create(session, 'file');
    session.client.send(Opcode.WRITE, node, writeBody(0, pattern(8 * KIB, 1), 0, DIRECT_FLAG));
    const before = session.channel.written.length;
    expect(() => session.client.send(Opcode.SETATTR, node, setattrBody(SetattrValid.SIZE, { size: 100 }))).toThrow();
    const errnos = session.channel.written.slice(before).map((message) => parseReply(message).errno);
    expect(errnos).toEqual([0, 0]);
    expect(sizeOf(session, node)).toBe(100);
    settle(session);
  });

  it('takes set-user-ID away from files that are given to somebody else', () => {
    const session = open();
    const node = nodeIdIn(session.client.call(Opcode.MKNOD, ROOT, mknodBody('file', 0o104755)));
    session.client.call(Opcode.SETATTR, node, setattrBody(SetattrValid.UID, { uid: 1000 }));
    expect(session.image.fs.inode(node)).toMatchObject({ uid: 1000, mode: 0o100755 });
  });

  it('refuses sizes for what has none', () => {
    const session = open();
    const resize = setattrBody(SetattrValid.SIZE, { size: 5 });
    expect(session.client.call(Opcode.SETATTR, ROOT, resize).errno).toBe(Errno.EISDIR);
    const fifo = nodeIdIn(session.client.call(Opcode.MKNOD, ROOT, mknodBody('fifo', 0o010644)));
    expect(session.client.call(Opcode.SETATTR, fifo, resize).errno).toBe(Errno.EINVAL);
  });
});

describe('durability', () => {
  it('FSYNC commits what has changed, and only flushes the device when nothing has', () => {
    const session = open();
    const node = create(session, 'file');
    session.client.call(Opcode.FSYNC, node, zeros(16));
    expect(session.image.fs.hasChanges).toBe(false);
    expect(session.flushes.length).toBe(0);
    expect(session.client.send(Opcode.FSYNC, node, zeros(16))).toBeNull();
    session.flushes[0](Errno.EIO);
    expect(lastReply(session).errno).toBe(Errno.EIO);
  });

  it('of nothing is claimed after a flush has failed, whoever learnt of it', () => {
    const session = open();
    const [one, another] = ['one', 'another'].map((name) => create(session, name));
    session.client.call(Opcode.FSYNC, one, zeros(16));
    session.client.send(Opcode.FSYNC, one, zeros(16));
    session.flushes[0](Errno.EIO);
    expect(session.image.fs.isReadOnly).toBe(true);
    expect(session.client.call(Opcode.FSYNC, another, zeros(16)).errno).toBe(Errno.EIO);
    expect(session.client.call(Opcode.SYNCFS, ROOT, zeros(8)).errno).toBe(Errno.EIO);
  });

  it('of a mount with sync comes with each change', () => {
    const session = open({ sync: true });
    const node = create(session, 'file');
    expect(session.image.fs.hasChanges).toBe(false);
    const large = writeBody(0, pattern(200 * KIB, 1), WriteFlag.CACHE);
    expect(session.client.call(Opcode.WRITE, node, large).errno).toBe(0);
    expect(session.image.fs.hasChanges).toBe(false);
    const another = create(session, 'another');
    const copy = body(u64(0), u64(0), u64(another), u64(0), u64(0), u64(1000), u64(0));
    expect(session.client.call(Opcode.COPY_FILE_RANGE, node, copy).errno).toBe(0);
    expect(session.image.fs.hasChanges).toBe(false);
    settle(session);
  });

  it('of a directory with the attribute D comes with what goes into it, and what leaves it', () => {
    const session = open();
    const { fs } = session.image;
    const dir = nodeIdIn(session.client.call(Opcode.MKDIR, ROOT, body(u32(0o755), u32(0), cString('dir'))));
    fs.setFlags(fs.inode(dir), fs.inode(dir).flags | InodeFlag.DIRSYNC);
    session.client.call(Opcode.MKNOD, dir, mknodBody('name'));
    expect(fs.hasChanges).toBe(false);
    const out = body(u64(ROOT), cString('name'), cString('name'));
    expect(session.client.call(Opcode.RENAME, dir, out).errno).toBe(0);
    expect(fs.hasChanges).toBe(false);
    settle(session);
  });
});

describe('LSEEK', () => {
  const lseek = (offset: number, whence: number): Uint8Array => body(u64(0), u64(offset), u32(whence), u32(0));

  it('has the kernel write back what may be in a hole before it reports one', () => {
    const session = open();
    const node = create(session, 'file');
    expect(session.client.send(Opcode.LSEEK, node, lseek(0, SEEK_DATA))).toBeNull();
    const [{ message, done }] = session.notifications;
    const view = new DataView(message.buffer);
    expect([view.getInt32(4, true), Number(view.getBigUint64(16, true))]).toEqual([NotifyCode.INVAL_INODE, node]);
    session.client.call(Opcode.WRITE, node, writeBody(3 * KIB, pattern(10, 1), WriteFlag.CACHE));
    done(0);
    expect(lastReply(session).view.getBigUint64(0, true)).toBe(BigInt(3 * KIB));
  });

  it('answers at once where the kernel gathers nothing, and for data that is there', () => {
    const session = open();
    const node = create(session, 'file');
    session.client.call(Opcode.WRITE, node, writeBody(0, pattern(2 * KIB, 1), WriteFlag.CACHE));
    expect(session.client.call(Opcode.LSEEK, node, lseek(5, SEEK_DATA)).errno).toBe(0);
    const plain = open({ flags: OFFERED_FLAGS & ~InitFlag.WRITEBACK_CACHE });
    const other = create(plain, 'file');
    expect(plain.client.call(Opcode.LSEEK, other, lseek(0, SEEK_DATA)).errno).toBe(Errno.ENXIO);
  });
});

describe('other changes', () => {
  it('set and remove attributes, with and without the longer header', () => {
    for (const flags of [OFFERED_FLAGS, OFFERED_FLAGS & ~InitFlag.SETXATTR_EXT]) {
      const session = open({ flags });
      const node = create(session, 'file');
      const extension = (flags & InitFlag.SETXATTR_EXT) === 0 ? zeros(0) : zeros(8);
      const set = body(u32(5), u32(0), extension, cString('user.a'), Buffer.from('value'));
      expect(session.client.call(Opcode.SETXATTR, node, set).errno).toBe(0);
      const value = session.client.call(Opcode.GETXATTR, node, body(u32(100), u32(0), cString('user.a')));
      expect(Buffer.from(value.payload).toString()).toBe('value');
      expect(session.client.call(Opcode.SETXATTR, node, set.slice(0, -1)).errno).toBe(Errno.EINVAL);
      expect(session.client.call(Opcode.REMOVEXATTR, node, cString('user.a')).errno).toBe(0);
      expect(session.client.call(Opcode.REMOVEXATTR, node, cString('user.a')).errno).toBe(Errno.ENODATA);
      settle(session);
    }
  });

  it('allocate, and copy between files', () => {
    const session = open();
    const from = create(session, 'from');
    const to = create(session, 'to');
    const allocation = body(u64(0), u64(0), u64(4 * KIB), u32(0), u32(0));
    expect(session.client.call(Opcode.FALLOCATE, to, allocation).errno).toBe(0);
    session.client.call(Opcode.WRITE, from, writeBody(0, pattern(3000, 5), WriteFlag.CACHE));
    const copy = body(u64(0), u64(1000), u64(to), u64(0), u64(500), u64(100_000), u64(0));
    expect(session.client.call(Opcode.COPY_FILE_RANGE, from, copy).view.getUint32(0, true)).toBe(2000);
    expect(session.client.call(Opcode.COPY_FILE_RANGE_64, from, copy).view.getUint32(0, true)).toBe(2000);
    expect(Buffer.compare(contentOf(session, to).subarray(500, 2500), pattern(3000, 5).subarray(1000))).toBe(0);
    settle(session);
  });

  it('of an immutable file are refused, copying to it too', () => {
    const session = open();
    const { fs } = session.image;
    const [from, to] = ['from', 'to'].map((name) => create(session, name));
    session.client.call(Opcode.WRITE, from, writeBody(0, pattern(100, 5), WriteFlag.CACHE));
    fs.setFlags(fs.inode(to), fs.inode(to).flags | InodeFlag.IMMUTABLE);
    const copy = body(u64(0), u64(0), u64(to), u64(0), u64(0), u64(100), u64(0));
    expect(session.client.call(Opcode.COPY_FILE_RANGE, from, copy).errno).toBe(Errno.EPERM);
    expect(sizeOf(session, to)).toBe(0);
    settle(session);
  });

  it('are refused at the OPEN of a protected file, but for what its flag allows', () => {
    const session = open();
    const { fs } = session.image;
    const node = create(session, 'file');
    const openedWith = (flags: number) => session.client.call(Opcode.OPEN, node, body(u32(flags), u32(0))).errno;
    const refusals = (flag: number) => {
      fs.setFlags(fs.inode(node), fs.inode(node).flags | flag);
      const outcome = [0, 1, 2, APPEND_FLAG, APPEND_FLAG | 1, APPEND_FLAG | 2].map(openedWith);
      fs.setFlags(fs.inode(node), fs.inode(node).flags & ~flag);
      return outcome;
    };
    const { EPERM } = Errno;
    expect(refusals(0)).toEqual([0, 0, 0, 0, 0, 0]);
    expect(refusals(InodeFlag.IMMUTABLE)).toEqual([0, EPERM, EPERM, 0, EPERM, EPERM]);
    expect(refusals(InodeFlag.APPEND)).toEqual([0, EPERM, EPERM, 0, 0, 0]);
    settle(session);
  });

  it('are refused at the OPEN for writing after an abort', () => {
    const session = open();
    const node = create(session, 'file');
    session.image.fs.abort(Errno.EIO, 'a test');
    expect(session.client.call(Opcode.OPEN, node, body(u32(1), u32(0))).errno).toBe(Errno.EROFS);
    expect(session.client.call(Opcode.OPEN, node, body(u32(0), u32(0))).errno).toBe(0);
  });

  it('are written before a file is taken from its writers', () => {
    const session = open();
    const node = create(session, 'file');
    const setflags = (wanted: number) =>
      body(u64(0), u32(0), u32(0x40086602), u64(0), u32(8), u32(0), u32(wanted), u32(0));
    const { flags } = session.image.fs.inode(node);
    expect(session.client.call(Opcode.IOCTL, node, setflags(flags | InodeFlag.NOATIME)).errno).toBe(0);
    session.client.send(Opcode.IOCTL, node, setflags(flags | InodeFlag.APPEND | InodeFlag.IMMUTABLE));
    expect(session.notifications).toHaveLength(1);
    const { message, done } = session.notifications[0];
    expect(new DataView(message.buffer).getInt32(4, true)).toBe(NotifyCode.INVAL_INODE);
    const write = writeBody(0, pattern(100, 5), WriteFlag.CACHE);
    expect(session.client.call(Opcode.WRITE, node, write).errno).toBe(0);
    done(0);
    expect(lastReply(session).errno).toBe(0);
    expect(session.client.call(Opcode.WRITE, node, write).errno).toBe(Errno.EPERM);
    expect(sizeOf(session, node)).toBe(100);
    settle(session);
  });

  it('leave the times that the kernel has kept with a file that has become immutable, and no others', () => {
    const session = open();
    const node = create(session, 'file');
    const { fs } = session.image;
    fs.setFlags(fs.inode(node), fs.inode(node).flags | InodeFlag.IMMUTABLE);
    const { MTIME, CTIME, FH } = SetattrValid;
    const setTimes = (valid: number, seconds: number) =>
      session.client.call(
        Opcode.SETATTR,
        node,
        body(u32(valid), u32(0), zeros(32), u64(seconds), u64(seconds), u32(0), u32(5), u32(6), zeros(20)),
      ).errno;
    expect(setTimes(MTIME | CTIME, 1000)).toBe(Errno.EPERM);
    expect(setTimes(MTIME | CTIME | FH, 1000)).toBe(0);
    expect(fs.inode(node)).toMatchObject({ mtimeSec: 1000, mtimeNsec: 5, ctimeSec: 1000, ctimeNsec: 6 });
    expect(setTimes(MTIME | CTIME, 1000)).toBe(0);
    settle(session);
  });

  it('end when the file system is shut down', () => {
    const session = open();
    const node = create(session, 'file');
    const shutdown = body(u64(0), u32(0), u32(0x8004587d), u64(0), u32(0), u32(4));
    expect(session.client.call(Opcode.IOCTL, node, shutdown, { uid: 1000, gid: 1000 }).errno).toBe(Errno.EPERM);
    expect(session.client.call(Opcode.IOCTL, node, shutdown).errno).toBe(0);
    expect(session.client.call(Opcode.GETATTR, node, zeros(16)).errno).toBe(Errno.EIO);
  });
});
