import { afterEach, describe, expect, test } from 'vitest';
import { Errno } from '../../shared/errno.ts';
import { CONFIGURATIONS, machineFor } from './configurations.ts';
import { runAlone, ServerGone } from './connection.ts';
import type { Machine } from './machine.ts';
import type { PeerInode } from './peer-inode.ts';
import type { PeerKernel } from './peer-kernel.ts';
import { Op } from './wire.ts';

const machines: Machine[] = [];
afterEach(async () => {
  for (const machine of machines.splice(0)) await machine.remove();
});

function started(index = 0): { machine: Machine; kernel: PeerKernel } {
  const machine = machineFor(CONFIGURATIONS[index]);
  machines.push(machine);
  return { machine, kernel: machine.start() };
}

function opened(kernel: PeerKernel, name: string): PeerInode {
  const inode = kernel.create(kernel.rootNodeId, name);
  if (typeof inode === 'number') throw new Error(`MKNOD: ${inode}`);
  expect(kernel.open(inode)).toBe(0);
  return inode;
}

const bytes = (length: number): Uint8Array => new Uint8Array(length).fill(0x5a);

async function unmounted(machine: Machine, kernel: PeerKernel): Promise<void> {
  kernel.unmount();
  expect(machine.fsck()).toBe('');
  expect(await machine.stop()).toBe(0);
  expect(machine.fsck()).toBe('');
}

describe('when something fails', () => {
  test.each([0, 1])('data that the device does not take becomes no part of the file: %i', async (index) => {
    const { machine, kernel } = started(index);
    const inode = opened(kernel, 'a');
    expect(runAlone(kernel.write(inode, 0, bytes(5000)))).toBe(5000);
    machine.device.fault = (kind) => (kind === 'write' ? Errno.EIO : 0);
    expect(runAlone(kernel.fsync(inode))).toBe(Errno.EIO);
    machine.device.fault = () => 0;
    expect(inode.serverSize).toBe(0);
    kernel.checkAttributes(inode);
    expect(runAlone(kernel.directWrite(inode, 0, bytes(4096)))).toBe(4096);
    kernel.checkAttributes(inode);
    expect(inode.serverSize).toBe(4096);
    await unmounted(machine, kernel);
  });

  test('a direct write that fails is no part of the file', async () => {
    const { machine, kernel } = started();
    const inode = opened(kernel, 'a');
    machine.device.fault = (kind) => (kind === 'write' ? Errno.EIO : 0);
    expect(runAlone(kernel.directWrite(inode, 0, bytes(8192)))).toBe(-Errno.EIO);
    machine.device.fault = () => 0;
    const into = new Uint8Array(8192);
    expect(runAlone(kernel.read(inode, 0, into))).toBe(0);
    await unmounted(machine, kernel);
  });

  test('a server that is killed at any request leaves a disk that a new one mounts', async () => {
    const { machine } = started();
    for (let requests = 3; requests < 40; requests += 4) {
      const kernel = machine.kernel ?? machine.start();
      let left = requests;
      const work = (): void => {
        for (let number = 0; ; number++) {
          const inode = opened(kernel, `k${requests}-${number}`);
          runAlone(kernel.write(inode, 3000 * number, bytes(9000)));
          if (--left === 0) return;
          runAlone(kernel.fsync(inode));
          runAlone(kernel.truncate(inode, 700));
        }
      };
      work();
      await machine.kill();
    }
    const kernel = machine.start();
    await unmounted(machine, kernel);
  });

  test('who asks a server that has gone hears of it', async () => {
    const { machine, kernel } = started();
    const inode = opened(kernel, 'a');
    await machine.end();
    expect(() => runAlone(kernel.fsync(inode))).toThrow(ServerGone);
  });
});

describe('the whole file system', () => {
  test('is in order on the disk while it is frozen, and goes on after the thaw', async () => {
    const { machine, kernel } = started();
    const inode = opened(kernel, 'a');
    expect(runAlone(kernel.write(inode, 0, bytes(100_000)))).toBe(100_000);
    expect(runAlone(kernel.freeze())).toBe(0);
    expect(machine.fsck()).toBe('');
    expect(runAlone(kernel.thaw())).toBe(0);
    expect(runAlone(kernel.write(inode, 50_000, bytes(100_000)))).toBe(100_000);
    await unmounted(machine, kernel);
  });

  test('takes SYNCFS before the data, as some kernels send it', async () => {
    const { machine, kernel } = started(1);
    const inode = opened(kernel, 'a');
    expect(runAlone(kernel.write(inode, 0, bytes(30_000)))).toBe(30_000);
    kernel.connection.begin(8);
    expect(kernel.connection.askNow(Op.SYNCFS, kernel.rootNodeId, 8).errno).toBe(0);
    expect(runAlone(kernel.fsync(inode))).toBe(0);
    await unmounted(machine, kernel);
  });
});

describe('requests that no kernel sends', () => {
  test.each([Op.IOMAP_BEGIN, Op.IOMAP_IOEND, Op.IOMAP_END, Op.FALLOCATE, Op.SETATTR])(
    'are refused and do no harm: opcode %i of each length',
    async (opcode) => {
      const { machine, kernel } = started();
      const inode = opened(kernel, 'a');
      for (let length = 40; length < 140; length += 4) {
        const body = kernel.connection.begin(128);
        for (let at = 0; at < 128; at += 4) body.setUint32(at, 0xffffffff, true);
        const reply = kernel.connection.askBroken(opcode, inode.nodeId, length - 40, (packet) => {
          packet.setUint32(0, length, true);
          return length;
        });
        expect(reply.errno).toBeGreaterThan(0);
      }
      expect(runAlone(kernel.write(inode, 0, bytes(5000)))).toBe(5000);
      await unmounted(machine, kernel);
    },
  );
});

describe('a mapping that the kernel takes its time to take', () => {
  test('holds up requests about other files no longer than that', async () => {
    const { machine, kernel } = started();
    const other = opened(kernel, 'other');
    const inode = opened(kernel, 'a');
    kernel.connection.traceLength = 100_000;
    let asked = 0;
    kernel.control.refuseUpserts = () => {
      for (const opcode of [Op.GETATTR, Op.FSYNC]) {
        kernel.connection.begin(16);
        kernel.connection.tell(opcode, other.nodeId, 16);
        asked++;
      }
      return 0;
    };
    for (let piece = 0; piece < 50; piece++) {
      expect(runAlone(kernel.write(inode, piece * 20_000, bytes(10_000)))).toBe(10_000);
      if (piece % 10 === 9) expect(runAlone(kernel.fsync(inode))).toBe(0);
    }
    kernel.control.refuseUpserts = () => 0;
    expect(runAlone(kernel.fsync(other))).toBe(0);
    const answered = kernel.connection.trace.filter((line) => line.endsWith(` ${other.nodeId}: done`));
    expect(asked).toBeGreaterThan(50);
    // And those for the opening and the last sync.
    expect(answered.length).toBe(asked + 2);
    await unmounted(machine, kernel);
  });
});

describe('requests that are spared', () => {
  const MIB = 2 ** 20;
  const MIBS = 1024;
  /** A kernel writes back while the program goes on. */
  const WRITEBACK_MIBS = 16;

  test('reading again what is mapped asks nothing, and writing 1 GiB asks little', async () => {
    const machine = machineFor(CONFIGURATIONS[1], { sizeBytes: 1200 * MIB });
    machines.push(machine);
    const kernel = machine.start();
    const inode = opened(kernel, 'a');
    const piece = bytes(MIB);
    for (let mib = 0; mib < MIBS; mib++) {
      expect(runAlone(kernel.write(inode, mib * MIB, piece))).toBe(MIB);
      if (mib % WRITEBACK_MIBS !== WRITEBACK_MIBS - 1) continue;
      runAlone(kernel.buffered.writeback.run(inode));
      kernel.shrink(() => 0, 1);
    }
    expect(runAlone(kernel.fsync(inode))).toBe(0);
    expect(kernel.connection.count(Op.IOMAP_BEGIN)).toBeLessThanOrEqual(MIBS / 8);
    expect(kernel.connection.count(Op.IOMAP_IOEND)).toBeLessThanOrEqual(MIBS / 4);
    for (let round = 0; round < 2; round++) {
      kernel.shrink(() => 0, 1);
      const before = kernel.connection.count(Op.IOMAP_BEGIN);
      for (let mib = 0; mib < 64; mib++) expect(runAlone(kernel.read(inode, mib * MIB, piece))).toBe(MIB);
      if (round === 1) expect(kernel.connection.count(Op.IOMAP_BEGIN)).toBe(before);
    }
    await unmounted(machine, kernel);
  });
});
