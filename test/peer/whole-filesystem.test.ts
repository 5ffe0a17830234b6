import { afterEach, describe, expect, test } from 'vitest';
import { Errno } from '../../shared/errno.ts';
import { CONFIGURATIONS, machineFor } from './configurations.ts';
import { runAlone } from './connection.ts';
import type { Machine } from './machine.ts';
import type { Mapping } from './mapping.ts';
import type { PeerInode } from './peer-inode.ts';
import type { PeerKernel } from './peer-kernel.ts';
import { IoendFlag, MappingFlag, MappingType, OpFlag, T5, V7 } from './profile.ts';
import { Op } from './wire.ts';

const MIB = 2 ** 20;
const BLOCK_BYTES = 4096;

const machines: Machine[] = [];
afterEach(async () => {
  for (const machine of machines.splice(0)) await machine.remove();
});

function started(name: string): { machine: Machine; kernel: PeerKernel } {
  const wanted = CONFIGURATIONS.find((configuration) => configuration.name === name);
  if (wanted === undefined) throw new Error(`there is no configuration ${name}`);
  const machine = machineFor(wanted);
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

function content(kernel: PeerKernel, inode: PeerInode): Uint8Array {
  const found = new Uint8Array(inode.size);
  expect(runAlone(kernel.read(inode, 0, found))).toBe(inode.size);
  return found;
}

async function unmounted(machine: Machine, kernel: PeerKernel): Promise<void> {
  kernel.unmount();
  expect(machine.fsck()).toBe('');
  expect(await machine.stop()).toBe(0);
}

describe('a swap file', () => {
  /** As swapon(8) has the kernel ask: extents, or why there are none. */
  function activate(kernel: PeerKernel, inode: PeerInode, swapFlag: number): Mapping[] {
    expect(runAlone(kernel.fsync(inode))).toBe(0);
    const found: Mapping[] = [];
    for (let at = 0; at < inode.size; ) {
      const mapping = runAlone(kernel.requests.begin(inode, at, inode.size - at, (OpFlag.REPORT | swapFlag) >>> 0));
      if (typeof mapping === 'number') throw new Error(`BEGIN: errno ${mapping}`);
      found.push(mapping);
      at = mapping.offset + mapping.length;
    }
    return found;
  }

  function deactivate(kernel: PeerKernel, inode: PeerInode): number {
    return runAlone(
      kernel.requests.ioend(inode, { pos: 0, written: 0, flags: IoendFlag.SWAPOFF, errno: 0, device: 0, address: -1 }),
    );
  }

  test.each([
    ['V7, blocks and folios of 4 KiB', V7],
    ['T5, blocks of 4 KiB, folios of 16 KiB', T5],
  ])('is told in whole extents that are on the disk already: %s', async (name, profile) => {
    const { machine, kernel } = started(name);
    const inode = opened(kernel, 'swap');
    for (let mib = 0; mib < 4; mib++) expect(runAlone(kernel.write(inode, mib * MIB, bytes(MIB)))).toBe(MIB);
    const before = kernel.requests.freeBlocks();
    const extents = activate(kernel, inode, profile.iomap?.SWAPFILE ?? 0);
    expect(extents.length).toBeLessThanOrEqual(2);
    for (const extent of extents) {
      expect([MappingType.MAPPED, MappingType.UNWRITTEN]).toContain(extent.type);
      expect(extent.flags & (MappingFlag.DIRTY | MappingFlag.SHARED)).toBe(0);
    }
    expect(kernel.requests.freeBlocks()).toBe(before);
    expect(deactivate(kernel, inode)).toBe(0);
    expect(kernel.connection.trace.at(-1)).toBe(`  IOMAP_IOEND ${inode.nodeId}: done`);
    await unmounted(machine, kernel);
  });

  test('with a hole is told with its hole, and gets no blocks by that', async () => {
    const { machine, kernel } = started('T5, blocks of 4 KiB, folios of 16 KiB');
    const inode = opened(kernel, 'swap');
    expect(runAlone(kernel.write(inode, 0, bytes(BLOCK_BYTES)))).toBe(BLOCK_BYTES);
    expect(runAlone(kernel.write(inode, 9 * BLOCK_BYTES, bytes(BLOCK_BYTES)))).toBe(BLOCK_BYTES);
    expect(runAlone(kernel.fsync(inode))).toBe(0);
    const before = kernel.requests.freeBlocks();
    const types = activate(kernel, inode, T5.iomap?.SWAPFILE ?? 0).map(({ type }) => type);
    expect(types).toEqual([MappingType.MAPPED, MappingType.HOLE, MappingType.MAPPED]);
    expect(kernel.requests.freeBlocks()).toBe(before);
    expect(deactivate(kernel, inode)).toBe(0);
    expect(kernel.connection.trace.at(-1)).toBe(`  IOMAP_IOEND ${inode.nodeId}: done`);
    await unmounted(machine, kernel);
  });
});

describe('an inline file', () => {
  const INLINE = 'T5, inline data';

  test('is read as a whole block, also where it is empty, and grows out of the inode', async () => {
    const { machine, kernel } = started(INLINE);
    const inode = opened(kernel, 'small');
    expect(runAlone(kernel.requests.begin(inode, 0, 1, 0))).toMatchObject({
      type: MappingType.INLINE,
      offset: 0,
      length: BLOCK_BYTES,
      device: 0,
    });
    const empty = kernel.connection.begin(40);
    empty.setUint32(16, BLOCK_BYTES, true);
    const reply = kernel.connection.askNow(Op.READ, inode.nodeId, 40, BLOCK_BYTES);
    expect(reply.length).toBe(BLOCK_BYTES);
    expect(reply.bytes.subarray(reply.at, reply.at + reply.length).every((byte) => byte === 0)).toBe(true);
    for (const size of [20, 60, 130, 5000]) {
      expect(runAlone(kernel.write(inode, inode.size, bytes(size - inode.size)))).toBeGreaterThan(0);
      expect(runAlone(kernel.fsync(inode))).toBe(0);
      kernel.shrink(() => 0, 1);
      expect(content(kernel, inode)).toEqual(bytes(size));
      kernel.checkAttributes(inode);
    }
    await unmounted(machine, kernel);
  });

  test('becomes longer and shorter by truncation, and shows zeros behind its old end', async () => {
    const { machine, kernel } = started(INLINE);
    const inode = opened(kernel, 'small');
    expect(runAlone(kernel.write(inode, 0, bytes(50)))).toBe(50);
    expect(runAlone(kernel.truncate(inode, 20))).toBe(0);
    expect(runAlone(kernel.truncate(inode, 55))).toBe(0);
    kernel.shrink(() => 0, 1);
    const expected = new Uint8Array(55);
    expected.fill(0x5a, 0, 20);
    expect(content(kernel, inode)).toEqual(expected);
    expect(runAlone(kernel.truncate(inode, 9000))).toBe(0);
    kernel.shrink(() => 0, 1);
    expect(content(kernel, inode).subarray(0, 55)).toEqual(expected);
    expect(
      content(kernel, inode)
        .subarray(55)
        .every((byte) => byte === 0),
    ).toBe(true);
    await unmounted(machine, kernel);
  });
});

describe('a second name', () => {
  test('is of the same inode, whose content stays when the first goes', async () => {
    const { machine, kernel } = started('T5, blocks of 4 KiB, folios of 16 KiB');
    const inode = opened(kernel, 'first');
    expect(runAlone(kernel.write(inode, 0, bytes(10_000)))).toBe(10_000);
    const linked = kernel.link(inode, kernel.rootNodeId, 'second');
    expect(linked).toBe(inode);
    kernel.connection.begin(0);
    const nameBytes = kernel.connection.putName(0, 'first');
    expect(kernel.connection.askNow(Op.UNLINK, kernel.rootNodeId, nameBytes).errno).toBe(0);
    expect(runAlone(kernel.fsync(inode))).toBe(0);
    expect(kernel.lookup(kernel.rootNodeId, 'first')).toBe(-Errno.ENOENT);
    expect(kernel.lookup(kernel.rootNodeId, 'second')).toBe(inode);
    await unmounted(machine, kernel);
    const again = machine.start();
    const found = again.lookup(again.rootNodeId, 'second');
    if (typeof found === 'number') throw new Error(`LOOKUP: ${found}`);
    expect(again.open(found)).toBe(0);
    expect(content(again, found)).toEqual(bytes(10_000));
    await unmounted(machine, again);
  });
});

describe('a shutdown', () => {
  test('ends all changes, and leaves what was synced for the next mount', async () => {
    const { machine, kernel } = started('T5, blocks of 4 KiB, folios of 16 KiB');
    const inode = opened(kernel, 'a');
    expect(runAlone(kernel.write(inode, 0, bytes(10_000)))).toBe(10_000);
    expect(runAlone(kernel.fsync(inode))).toBe(0);
    kernel.connection.begin(8);
    expect(kernel.connection.askNow(Op.SHUTDOWN_FS, kernel.rootNodeId, 8).errno).toBe(0);
    expect(kernel.create(kernel.rootNodeId, 'b')).toBeLessThan(0);
    const begin = runAlone(kernel.requests.begin(inode, 64 * BLOCK_BYTES, BLOCK_BYTES, OpFlag.WRITE));
    expect(begin).toBe(Errno.EIO);
    const append = { pos: 0, written: 20_000, flags: IoendFlag.APPEND, errno: 0, device: 0, address: -1 };
    expect(runAlone(kernel.requests.ioend(inode, append))).not.toBe(0);
    kernel.shrink(() => 0, 1);
    expect(runAlone(kernel.read(inode, 0, new Uint8Array(10)))).toBe(-Errno.EIO);
    await machine.kill();
    const again = machine.start();
    const found = again.lookup(again.rootNodeId, 'a');
    if (typeof found === 'number') throw new Error(`LOOKUP: ${found}`);
    expect(again.open(found)).toBe(0);
    expect(content(again, found)).toEqual(bytes(10_000));
    expect(again.lookup(again.rootNodeId, 'b')).toBe(-Errno.ENOENT);
    await unmounted(machine, again);
  });
});
