import { closeSync, openSync, writeSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { debugfsWrite } from '../support/e2fsprogs.ts';
import { CONFIGURATIONS, machineFor } from './configurations.ts';
import { runAlone } from './connection.ts';
import { checkOnDisk } from './disk-check.ts';
import type { Machine } from './machine.ts';

const BLOCK_BYTES = 4096;
const SIZE_BYTES = 10_000;

describe('the comparison with what another reader finds on the disk', () => {
  let machine: Machine;
  let nodeId: number;

  beforeEach(async () => {
    machine = machineFor(CONFIGURATIONS[0]);
    const kernel = machine.start();
    const inode = kernel.create(kernel.rootNodeId, 'a');
    if (typeof inode === 'number') throw new Error(`MKNOD: ${inode}`);
    nodeId = inode.nodeId;
    expect(kernel.open(inode)).toBe(0);
    expect(runAlone(kernel.write(inode, 0, new Uint8Array(SIZE_BYTES).fill(7)))).toBe(SIZE_BYTES);
    kernel.unmount();
    expect(await machine.stop()).toBe(0);
  });
  afterEach(() => machine.remove());

  const check = (): void => checkOnDisk(machine.imagePath, BLOCK_BYTES, [nodeId], machine.ledger);

  test('has nothing to say of a file in order', () => {
    expect(machine.ledger.writtenBlocks(nodeId).map(([block]) => block)).toEqual([0, 1, 2]);
    expect(check).not.toThrow();
  });

  test('finds blocks that are elsewhere or not there at all: B-5', () => {
    debugfsWrite(machine.imagePath, [`sif <${nodeId}> block[5] 4000`]);
    expect(check).toThrow(/^B-5: block 0 of inode \d+ is device block 4000, the kernel was told/);
    debugfsWrite(machine.imagePath, [`punch <${nodeId}> 1 1`]);
    expect(check).toThrow(/^B-5/);
  });

  test('finds blocks that are written behind the end: B-6', () => {
    debugfsWrite(machine.imagePath, [`sif <${nodeId}> size ${BLOCK_BYTES}`]);
    expect(check).toThrow(/^B-6: block 1 of inode \d+ is written, the file has 4096 bytes/);
  });

  test('finds what is left behind the end in the last block: D-4', () => {
    const [, , [, device]] = machine.ledger.writtenBlocks(nodeId);
    const fd = openSync(machine.imagePath, 'r+');
    writeSync(fd, Uint8Array.of(9), 0, 1, device * BLOCK_BYTES + (SIZE_BYTES % BLOCK_BYTES) + 5);
    closeSync(fd);
    expect(check).toThrow(/^D-4: inode \d+ has 10000 bytes, byte 1813 of its last block is 9/);
  });
});
