import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { Opcode } from '../../../service/fuse/abi.ts';
import { AttributeFlag, IoendFlag, IomapOperation, RecordFlag, RecordType } from '../../../service/fuse/iomap-abi.ts';
import { IOMAP_PROFILES, IomapNotifyCode, IomapOpcode } from '../../../service/fuse/iomap-profile.ts';
import { Errno } from '../../../shared/errno.ts';
import { ImageDirectory } from '../../support/ext4-image.ts';
import { body, cString, type FuseReply, u32, u64, zeros } from '../../support/fuse-client.ts';
import { IomapSession } from '../../support/iomap-session.ts';
import { e2fsckComplaints } from '../../support/writable-image.ts';

const images = new ImageDirectory();
afterAll(() => images.remove());

const ROOT = 2;
const REGULAR = 0o100644;
const BLOCK = 4096;
const MIB = 2 ** 20;
const { V7, T5 } = IOMAP_PROFILES;
const Op = IomapOperation;

const open = (mkfs: readonly string[] = ['-t', 'ext4'], profile = T5): IomapSession =>
  new IomapSession(images.make(64 * MIB, [...mkfs, '-b', '4096']), profile);

function settle(session: IomapSession): void {
  const path = images.file('settled');
  writeFileSync(path, session.close());
  expect(e2fsckComplaints(path)).toBe('');
}

function create(session: IomapSession, name: string): number {
  const made = session.client.call(Opcode.MKNOD, ROOT, body(u32(REGULAR), u32(0), u32(0o22), u32(0), cString(name)));
  expect(made.errno).toBe(0);
  return u64At(made, 0);
}

const u64At = (reply: FuseReply, at: number): number => Number(reply.view.getBigUint64(at, true));
const sizeOf = (session: IomapSession, node: number): number =>
  u64At(session.client.call(Opcode.GETATTR, node, zeros(16)), 24);

const beginBody = (ino: number, flags: number, pos: number, count: number, reserved = 0): Uint8Array =>
  body(u32(flags >>> 0), u32(reserved), u64(ino), u64(pos), u64(count));

interface Answer {
  readonly offset: number;
  readonly length: number;
  readonly address: bigint;
  readonly type: number;
  readonly flags: number;
  readonly device: number;
}

const recordAt = ({ view }: FuseReply, at: number): Answer => ({
  offset: Number(view.getBigUint64(at, true)),
  length: Number(view.getBigUint64(at + 8, true)),
  address: view.getBigUint64(at + 16, true),
  type: view.getUint16(at + 24, true),
  flags: view.getUint16(at + 26, true),
  device: view.getUint32(at + 28, true),
});

/** The read record of an answer, after a look at the write record. */
function begin(session: IomapSession, node: number, flags: number, pos: number, count: number): Answer {
  const reply = session.client.call(IomapOpcode.IOMAP_BEGIN, node, beginBody(node, flags, pos, count));
  expect(reply.errno).toBe(0);
  expect(reply.payload.length).toBe(64);
  const read = recordAt(reply, 0);
  expect(recordAt(reply, 32)).toEqual({
    offset: read.offset,
    length: read.length,
    address: 2n ** 64n - 1n,
    type: session.profile.type.PURE_OVERWRITE,
    flags: 0,
    device: 0,
  });
  return read;
}

const errnoOfBegin = (session: IomapSession, node: number, content: Uint8Array): number =>
  session.client.call(IomapOpcode.IOMAP_BEGIN, node, content).errno;

function ioend(session: IomapSession, node: number, flags: number, pos: number, written: number, error = 0): FuseReply {
  const content = body(u32(flags), u32(error >>> 0), u64(node), u64(pos), u64(0), u64(written), u32(0), u32(0));
  return session.client.call(IomapOpcode.IOMAP_IOEND, node, content);
}

const openFile = (session: IomapSession, node: number): void =>
  expect(session.client.call(Opcode.OPEN, node, zeros(8)).errno).toBe(0);
const releaseFile = (session: IomapSession, node: number): void =>
  expect(session.client.call(Opcode.RELEASE, node, zeros(24)).errno).toBe(0);

describe('a connection with iomap', () => {
  it.each([V7, T5])('is configured with what the file system is ($name)', (profile) => {
    const session = open(['-t', 'ext4', '-U', '00112233-4455-6677-8899-aabbccddeeff'], profile);
    const { payload, view } = session.configured;
    expect(payload.length).toBe(104);
    expect(view.getUint32(0, true)).toBe(0x76);
    expect(payload.subarray(40, 57)).toEqual(Uint8Array.from(Buffer.from('00112233445566778899aabbccddeeff10', 'hex')));
    expect(view.getUint32(60, true)).toBe(BLOCK);
    expect(view.getUint32(68, true)).toBe(1);
    expect(view.getBigInt64(72, true)).toBe(-(2n ** 31n));
    expect(view.getBigInt64(80, true)).toBe(0x37fffffffn);
    expect(view.getBigInt64(88, true)).toBe((2n ** 32n - 1n) * 4096n);
    expect(session.kernel.calls).toEqual(['setNofs true', 'backingOpen 7', 'setBlockSize 1 4096']);
    settle(session);
  });

  it('shows its root under the node id that the mount gives it, and what the kernel owns', () => {
    const session = open();
    const attributes = session.client.call(Opcode.GETATTR, ROOT, zeros(16));
    expect(u64At(attributes, 16)).toBe(ROOT);
    expect(attributes.view.getUint32(16 + 84, true)).toBe(AttributeFlag.EXCLUSIVE);
    const node = create(session, 'a');
    const file = session.client.call(Opcode.LOOKUP, ROOT, cString('a'));
    expect(u64At(file, 0)).toBe(node);
    expect(u64At(file, 40)).toBe(node);
    expect(file.view.getUint32(40 + 84, true)).toBe(AttributeFlag.EXCLUSIVE | AttributeFlag.IOMAP);
    settle(session);
  });
});

describe('the root of a mount with iomap', () => {
  it('is known by the same id in headers and in what names two directories', () => {
    const session = open();
    const made = session.client.call(Opcode.MKDIR, ROOT, body(u32(0o755), u32(0), cString('d')));
    const directory = u64At(made, 0);
    expect(made.view.getUint32(40 + 84, true)).toBe(AttributeFlag.EXCLUSIVE);
    const child = session.client.call(Opcode.MKNOD, directory, body(u32(REGULAR), zeros(12), cString('a')));
    const rename = body(u64(ROOT), cString('a'), cString('b'));
    expect(session.client.call(Opcode.RENAME, directory, rename).errno).toBe(0);
    expect(u64At(session.client.call(Opcode.LOOKUP, ROOT, cString('b')), 0)).toBe(u64At(child, 0));
    expect(u64At(session.client.call(Opcode.LOOKUP, directory, cString('..')), 0)).toBe(ROOT);
    settle(session);
  });
});

describe('IOMAP_BEGIN', () => {
  it('shows a hole to those who read, zero and report, and allocates nothing for them', () => {
    const session = open();
    const node = create(session, 'a');
    for (const flags of [0, Op.DIRECT, Op.ZERO, Op.REPORT]) {
      session.kernel.refusal = Errno.ESTALE;
      const hole = begin(session, node, flags, 5000, 10_000);
      expect(hole).toMatchObject({ offset: 0, length: 16_384, type: RecordType.HOLE, device: 0, flags: 0 });
    }
    expect(session.image.fs.inode(node).allocatedBlocks512).toBe(0);
    settle(session);
  });

  it('allocates unwritten blocks for writes, and makes them part of the file when the kernel says so', () => {
    const session = open();
    const node = create(session, 'a');
    session.kernel.refusal = Errno.ESTALE;
    const place = begin(session, node, Op.WRITE, 0, 10_000);
    expect(place).toMatchObject({
      offset: 0,
      length: 12_288,
      type: RecordType.UNWRITTEN,
      flags: RecordFlag.DIRTY,
      device: 1,
    });
    expect(Number(place.address) % BLOCK).toBe(0);
    expect(sizeOf(session, node)).toBe(0);
    const flags = IoendFlag.WRITEBACK | IoendFlag.UNWRITTEN | IoendFlag.APPEND;
    expect(u64At(ioend(session, node, flags, 0, 10_000), 0)).toBe(10_000);
    expect(sizeOf(session, node)).toBe(10_000);
    const now = begin(session, node, session.profile.operation.WRITEBACK, 4096, 4096);
    expect(now).toMatchObject({ offset: 0, length: 12_288, type: RecordType.MAPPED, address: place.address });
    settle(session);
  });

  it('goes by way of the mapping cache where it can, and answers itself where the kernel would not have it', () => {
    const session = open();
    const node = create(session, 'a');
    const cached = begin(session, node, Op.WRITE, 0, 4096);
    expect(cached).toMatchObject({
      type: session.profile.type.RETRY_CACHE,
      device: 0,
      flags: 0,
      offset: 0,
      length: 4096,
    });
    const [upsert] = session.kernel.notified(IomapNotifyCode.UPSERT);
    expect(upsert.length).toBe(96);
    const view = new DataView(upsert.buffer);
    expect([view.getBigUint64(16, true), view.getBigUint64(24, true)]).toEqual([BigInt(node), BigInt(node)]);
    expect(view.getUint16(32 + 24, true)).toBe(RecordType.UNWRITTEN);
    for (const flags of [Op.REPORT, Op.REPORT | session.profile.operation.SWAPFILE])
      expect(begin(session, node, flags, 0, 4096).type).toBe(RecordType.UNWRITTEN);
    expect(session.kernel.notified(IomapNotifyCode.UPSERT)).toHaveLength(1);
    settle(session);
  });

  it('allocates ahead of appends to larger files, and takes back at the last close what is left', () => {
    const session = open();
    const node = create(session, 'a');
    openFile(session, node);
    openFile(session, node);
    session.kernel.refusal = Errno.ESTALE;
    expect(begin(session, node, Op.WRITE, 0, MIB).length).toBe(2 * MIB);
    ioend(session, node, IoendFlag.UNWRITTEN | IoendFlag.APPEND, 0, MIB - 10);
    session.kernel.refusal = Errno.OK;
    releaseFile(session, node);
    expect(session.kernel.notified(IomapNotifyCode.INVAL)).toHaveLength(0);
    releaseFile(session, node);
    const [inval] = session.kernel.notified(IomapNotifyCode.INVAL);
    expect(inval.length).toBe(64);
    expect(new DataView(inval.buffer).getBigUint64(32, true)).toBe(BigInt(MIB));
    expect(session.image.fs.inode(node).allocatedBlocks512).toBe(MIB / 512);
    settle(session);
  });

  it('keeps blocks behind the end that somebody has asked for', () => {
    const session = open();
    const node = create(session, 'a');
    openFile(session, node);
    begin(session, node, Op.WRITE, 0, 4096);
    ioend(session, node, IoendFlag.UNWRITTEN | IoendFlag.APPEND, 0, 4096);
    const fallocate = body(u64(0), u64(0), u64(65_536), u32(1), u32(0));
    expect(session.client.call(Opcode.FALLOCATE, node, fallocate).errno).toBe(0);
    releaseFile(session, node);
    expect(session.image.fs.inode(node).allocatedBlocks512).toBe(128);
    settle(session);
  });

  it('gives block maps zeroed blocks, which a crash takes back until the file has grown over them', () => {
    const session = open(['-t', 'ext3']);
    const node = create(session, 'a');
    session.kernel.refusal = Errno.ESTALE;
    const place = begin(session, node, Op.WRITE, 0, 10_000);
    expect(place).toMatchObject({ offset: 0, length: 12_288, type: RecordType.MAPPED });
    const at = Number(place.address);
    expect(session.image.bytes.subarray(at, at + 12_288).every((byte) => byte === 0)).toBe(true);
    expect(session.image.fs.orphans.has(node)).toBe(true);
    ioend(session, node, IoendFlag.APPEND, 0, 10_000);
    expect(session.image.fs.orphans.has(node)).toBe(false);
    settle(session);
  });

  it('waits for no flush of the device when it zeroes blocks smaller than a page', () => {
    const session = new IomapSession(images.make(16 * MIB, ['-t', 'ext3', '-b', '1024']), T5);
    const node = create(session, 'a');
    session.kernel.refusal = Errno.ESTALE;
    const run = vi.spyOn(session.image.device, 'run');
    const place = begin(session, node, Op.WRITE | Op.FAULT, 3072, 5000);
    expect(place).toMatchObject({ offset: 3072, length: 5120, type: RecordType.MAPPED });
    const steps = run.mock.calls.flatMap(([program]) => program);
    expect(steps).toMatchObject([{ kind: 'write', offsetBytes: Number(place.address), durable: false }]);
    settle(session);
  });

  it('moves inline data into a block before it is written, and lets it be read as a whole block', () => {
    const session = open(['-t', 'ext4', '-O', 'inline_data']);
    const node = create(session, 'a');
    expect(begin(session, node, 0, 0, 4096)).toMatchObject({
      offset: 0,
      length: BLOCK,
      type: RecordType.INLINE,
      device: 0,
    });
    expect(begin(session, node, Op.ZERO, 0, 100)).toMatchObject({ type: session.profile.type.RETRY_CACHE });
    const read = session.client.call(Opcode.READ, node, body(u64(0), u64(0), u32(BLOCK), zeros(20)));
    expect(read.payload).toEqual(new Uint8Array(BLOCK));
    session.kernel.refusal = Errno.ESTALE;
    expect(begin(session, node, Op.WRITE, 0, 10).type).toBe(RecordType.UNWRITTEN);
    settle(session);
  });

  it('says no to what makes no sense, with an errno that says why', () => {
    const session = open();
    const node = create(session, 'a');
    const refused = (content: Uint8Array, target = node): number => errnoOfBegin(session, target, content);
    expect(refused(beginBody(node, 2 ** 20, 0, 1))).toBe(Errno.EINVAL);
    expect(refused(beginBody(node, Op.UNSHARE, 0, 1))).toBe(Errno.EINVAL);
    expect(refused(beginBody(node, 0, 0, 1, 1))).toBe(Errno.EINVAL);
    expect(refused(beginBody(node + 1, 0, 0, 1))).toBe(Errno.EINVAL);
    expect(refused(beginBody(node, 0, 0, 0))).toBe(Errno.EINVAL);
    expect(refused(beginBody(ROOT, 0, 0, 1), ROOT)).toBe(Errno.EINVAL);
    expect(refused(beginBody(node, 0, 2 ** 52, 1))).toBe(Errno.EINVAL);
    expect(refused(beginBody(node, Op.WRITE, 2 ** 52, 1))).toBe(Errno.EFBIG);
    expect(refused(beginBody(99_999_999, 0, 0, 1), 99_999_999)).toBe(Errno.ESTALE);
    expect(refused(beginBody(node, 0, 0, 1).subarray(1))).toBe(Errno.EIO);
    expect(refused(body(beginBody(node, 0, 0, 1), zeros(8)))).toBe(Errno.EIO);
    expect(begin(session, node, Op.REPORT, 0, Number.MAX_SAFE_INTEGER).type).toBe(RecordType.HOLE);
    settle(session);
  });
});

describe('IOMAP_IOEND', () => {
  it('changes nothing when the device has failed, and says how long the file is', () => {
    const session = open();
    const node = create(session, 'a');
    begin(session, node, Op.WRITE, 0, 4096);
    const answer = ioend(session, node, IoendFlag.UNWRITTEN | IoendFlag.APPEND, 0, 4096, -Errno.EIO);
    expect([answer.errno, u64At(answer, 0), sizeOf(session, node)]).toEqual([0, 0, 0]);
    expect(begin(session, node, Op.REPORT, 0, 4096).type).toBe(RecordType.UNWRITTEN);
    settle(session);
  });

  it('may come twice, and for what is no longer mapped', () => {
    const session = open();
    const node = create(session, 'a');
    begin(session, node, Op.WRITE, 0, 4096);
    for (let round = 0; round < 2; round++)
      expect(u64At(ioend(session, node, IoendFlag.UNWRITTEN | IoendFlag.APPEND, 0, 4096), 0)).toBe(4096);
    expect(ioend(session, node, IoendFlag.UNWRITTEN, 8192, 4096).errno).toBe(0);
    expect(ioend(session, node, IoendFlag.SWAPOFF, 0, 0).errno).toBe(0);
    settle(session);
  });

  it('refuses copy-on-write, unknown flags, other files and lengths of another version', () => {
    const session = open();
    const node = create(session, 'a');
    expect(ioend(session, node, IoendFlag.SHARED, 0, 4096).errno).toBe(Errno.EUCLEAN);
    expect(ioend(session, node, 0x80, 0, 4096).errno).toBe(Errno.EINVAL);
    expect(ioend(session, node, IoendFlag.APPEND, 2 ** 52, 4096).errno).toBe(Errno.EFBIG);
    expect(session.client.call(IomapOpcode.IOMAP_IOEND, node, zeros(40)).errno).toBe(Errno.EIO);
    settle(session);
  });
});

describe('the other requests of iomap', () => {
  it('END is not wanted', () => {
    const session = open();
    expect(session.client.call(IomapOpcode.IOMAP_END, create(session, 'a'), zeros(72)).errno).toBe(Errno.ENOSYS);
    settle(session);
  });

  it('FREEZE_FS leaves an image in order, and nothing is given back before UNFREEZE_FS', () => {
    const session = open();
    const node = create(session, 'a');
    openFile(session, node);
    begin(session, node, Op.WRITE, 0, MIB);
    expect(session.client.call(IomapOpcode.FREEZE_FS, ROOT, u64Body(0)).errno).toBe(0);
    const path = images.file('frozen');
    writeFileSync(path, session.image.bytes);
    expect(e2fsckComplaints(path)).toBe('');
    releaseFile(session, node);
    expect(Buffer.compare(session.image.bytes, readFileSync(path))).toBe(0);
    expect(session.client.call(IomapOpcode.UNFREEZE_FS, ROOT, zeros(0)).errno).toBe(0);
    expect(session.image.fs.inode(node).allocatedBlocks512).toBe(0);
    settle(session);
  });

  it('SHUTDOWN_FS ends all changes', () => {
    const session = open();
    const node = create(session, 'a');
    expect(session.client.call(IomapOpcode.SHUTDOWN_FS, ROOT, zeros(8)).errno).toBe(0);
    expect(errnoOfBegin(session, node, beginBody(node, Op.WRITE, 0, 1))).toBe(Errno.EIO);
  });

  it('WRITE and COPY_FILE_RANGE are left to the kernel', () => {
    const session = open();
    const node = create(session, 'a');
    const write = body(u64(0), u64(0), u32(4), u32(0), u64(0), u32(0), u32(0), zeros(4));
    expect(session.client.call(Opcode.WRITE, node, write).errno).toBe(Errno.EIO);
    expect(session.client.call(Opcode.COPY_FILE_RANGE, node, zeros(56)).errno).toBe(Errno.ENOSYS);
    settle(session);
  });
});

const u64Body = (value: number): Uint8Array => body(u64(value));
